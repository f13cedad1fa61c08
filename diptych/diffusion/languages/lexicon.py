"""A model's lexicon: words of other languages for what the model was taught to draw in English.

`lexicon.json` in the model's folder: for each of `languages` four tables from its words to English ones, `things` (what
is drawn), `qualities` (what stands before a thing in English), `numbers`, and `particles` (what holds them together; an
empty English word is left out). `plurals` are the English ones, `bare` the things without an article, and `english` the
words that are English too, or only.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from diptych.diffusion.languages.inflection import APOSTROPHE, bases, fold
from diptych.errors import FailedPrecondition

Kind = Literal["thing", "quality", "number", "particle", "unknown"]
_LINKS = ("", "s", "n", "en", "er", "e")  # between the parts of a German compound
_SHORTEST_PART = 3
MOST_WORDS = 6  # of a phrase


@dataclass(frozen=True)
class Piece:
    """A word or phrase of a prompt: what it was, and what it is in English; `gap` is what stood before it."""

    kind: Kind
    english: str
    words: tuple[str, ...]
    plural: bool = False
    gap: str = ""
    quality: str = ""  # what it is in English where it describes: an orange, and orange


@dataclass(frozen=True)
class Entry:
    """What a phrase is in English; `quality` where a thing's name can describe as well."""

    kind: Kind
    english: str
    quality: str = ""


@dataclass
class _Node:
    """Where phrases go on, by the next word; `entry` is of the phrase that ends here."""

    after: "dict[str, _Node]" = field(default_factory=dict)
    entry: Entry | None = None


class Tongue:
    """One language's words. `entries`: by phrase, in lower case, words parted by single spaces."""

    def __init__(self, language: str, entries: Mapping[str, Entry]) -> None:
        self.language = language
        self.entries = entries
        self._root = _Node()
        for phrase, entry in entries.items():
            node = self._root
            for word in phrase.split(" "):
                node = node.after.setdefault(fold(word, language), _Node())
            if node.entry is None or fold(phrase, language) == phrase:  # "de" before "dé"
                node.entry = entry

    def find(self, words: Sequence[str]) -> Piece | None:
        """The longest phrase that `words` begin with, inflected or not; None where there is none."""
        folded = [fold(word, self.language) for word in words[:MOST_WORDS]]
        best = max(self._phrases(self._root, folded, ()), key=len, default=None)
        if best is None:
            return self._compound(words[0]) if self.language == "de" else None
        read = tuple(words[: len(best)])
        entry = self.entries.get(" ".join(read).lower().replace(APOSTROPHE, "'")) or self._entry(best)
        return Piece(entry.kind, entry.english, read, self._is_plural(folded, best), quality=entry.quality)

    def _phrases(self, node: _Node, words: Sequence[str], read: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The known phrases, as their own words, that `words` begin with; the likeliest of a length first."""
        if read and node.entry is not None:
            yield read
        if not words:
            return
        for number, (base, describes) in enumerate(bases(words[0], self.language)):
            if (after := node.after.get(base)) is None:
                continue
            for phrase in self._phrases(after, words[1:], (*read, base)):
                kind = self._entry(phrase).kind
                if number == 0 or kind == "quality" or (kind == "thing" and (not describes or len(phrase) > 1)):
                    yield phrase

    def _entry(self, words: Sequence[str]) -> Entry:
        node = self._root
        for word in words:
            node = node.after[word]
        assert node.entry is not None
        return node.entry

    def _is_plural(self, words: Sequence[str], known: Sequence[str]) -> bool:
        if self.language == "de":
            return words[len(known) - 1] != known[-1]
        return words[0][-1] in "sx" and words[0] != known[0]

    def _compound(self, word: str) -> Piece | None:
        """A German compound of two known words: "Apfelkuchen" is an apple cake."""
        lowered = fold(word, self.language)
        for at in range(_SHORTEST_PART, len(lowered) - _SHORTEST_PART + 1):
            first = next((self.entries[part] for part in _unlinked(lowered[:at]) if part in self.entries), None)
            last = next(self._phrases(self._root, [lowered[at:]], ()), None)
            if first and last and first.kind in ("thing", "quality") and self._entry(last).kind == "thing":
                english = f"{first.english} {self._entry(last).english}"
                return Piece("thing", english, (word,), plural=self._is_plural([lowered[at:]], last))
        return None


@dataclass(frozen=True)
class Lexicon:
    """What `lexicon.json` holds."""

    tongues: Mapping[str, Tongue]
    plurals: Mapping[str, str]
    bare: frozenset[str]
    english: frozenset[str]

    @classmethod
    def load(cls, path: Path) -> "Lexicon":
        """From a file; FailedPrecondition when it holds something else."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            tongues = {
                language: Tongue(language, entries_of(tables)) for language, tables in content["languages"].items()
            }
            return cls(tongues, content["plurals"], frozenset(content["bare"]), frozenset(content["english"].split()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FailedPrecondition(
                f"{path.name} is no lexicon; pull its model again", reason="UNSUPPORTED_MODEL"
            ) from error

    def plural(self, english: str) -> str:
        """More than one of a thing: "apple" -> "apples"."""
        words = english.split(" ")
        for at in range(len(words)):
            if (last := " ".join(words[at:])) in self.plurals:
                return " ".join((*words[:at], self.plurals[last]))
        return english

    def is_bare(self, english: str) -> bool:
        """Whether a thing has no indefinite article: glasses, jeans."""
        return english in self.bare or english.split(" ")[-1] in self.bare


def entries_of(tables: Mapping[str, Mapping[str, str]]) -> dict[str, Entry]:
    """What a language's tables say of each phrase."""
    things, qualities = tables["things"], tables["qualities"]
    entries = {word: Entry("thing", english, qualities.get(word, "")) for word, english in things.items()}
    entries |= {word: Entry("quality", english) for word, english in qualities.items() if word not in things}
    entries |= {word: Entry("number", english) for word, english in tables["numbers"].items()}
    return entries | {word: Entry("particle", english) for word, english in tables["particles"].items()}


def _unlinked(part: str) -> Iterator[str]:
    for link in _LINKS:
        if part.endswith(link):
            yield part.removesuffix(link)
    yield part + "e"
