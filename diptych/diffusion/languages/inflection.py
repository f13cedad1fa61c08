"""What an inflected word may be a form of: German, French and Spanish endings, most likely first."""

import unicodedata
from collections.abc import Iterator, Sequence

APOSTROPHE = "\u2019"  # as typesetters have it
_SHORTEST = 2
# Endings, and what stands in their place in the base: of things and of what describes them.
_ENDINGS: dict[str, Sequence[tuple[str, str]]] = {
    "de": tuple((ending, "") for ending in ("e", "n", "en", "er", "es", "em", "s", "ern", "nen")),
    "fr": (("s", ""), ("x", ""), ("aux", "al")),
    "es": (("s", ""), ("es", ""), ("ces", "z")),
}
# Of what describes things alone.
_GENDERS: dict[str, Sequence[tuple[str, str]]] = {
    "de": (),
    "fr": (("e", ""), ("es", ""), ("ve", "f"), ("ves", "f"), ("nne", "n"), ("nnes", "n"), ("euse", "eux")),
    "es": (("a", "o"), ("as", "o"), ("a", ""), ("as", "")),
}
_UMLAUTS = str.maketrans("äöü", "aou")
_SPELT_OUT = (("ae", "ä"), ("oe", "ö"), ("ue", "ü"), ("ss", "ß"))


def fold(word: str, language: str) -> str:
    """The word as it is looked up: in lower case and, but for German, without accents, which haste leaves out."""
    word = word.lower().replace(APOSTROPHE, "'")
    if language == "de":
        return word
    decomposed = unicodedata.normalize("NFD", word.replace("œ", "oe"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def bases(word: str, language: str) -> Iterator[tuple[str, bool]]:
    """The folded word, then what it may be a form of, with whether only a word that describes can be it: "äpfel" ->
    "apfel", "rouges" -> "rouge", "peces" -> "pez"."""
    spellings = [word]
    if language == "de":
        spellings += [word.replace(short, long) for short, long in _SPELT_OUT if short in word]
        spellings += [
            spelling.translate(_UMLAUTS) for spelling in spellings if spelling.translate(_UMLAUTS) != spelling
        ]
    for spelling in spellings:
        yield spelling, False
    for endings, describes in ((_ENDINGS[language], False), (_GENDERS[language], True)):
        for spelling in spellings:
            for ending, other in endings:
                if spelling.endswith(ending) and len(spelling) - len(ending) >= _SHORTEST:
                    yield spelling.removesuffix(ending) + other, describes
