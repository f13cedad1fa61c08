"""Prompts in other languages, put into the English that a model was taught, by the model's lexicon.

Which language a prompt is in is decided first, by all of its words; English ones come out as they went in.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

from diptych.diffusion.languages import chinese
from diptych.diffusion.languages.inflection import APOSTROPHE
from diptych.diffusion.languages.lexicon import MOST_WORDS, Lexicon, Piece, Tongue
from diptych.diffusion.languages.phrases import described_before, in_english, made_of, with_colours

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*['\u2019]?|(?<![\w.:,])[0-9]+(?![\w.:,])")
_KEPT = 256


class Translator:
    """Reads prompts by one lexicon. From any thread."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self.read = lru_cache(_KEPT)(self._read)

    def _read(self, prompt: str) -> str:
        """The prompt in English; the very same one where it is English, or in a language that the lexicon lacks.

        Unknown words stay as they are.
        """
        if chinese.HAN.search(prompt):
            tongue = self._lexicon.tongues.get("zh")
            return prompt if tongue is None or chinese.OTHER_SCRIPTS.search(prompt) else self._chinese(prompt, tongue)
        cuts = [
            (language, *_cut(prompt, tongue)) for language, tongue in self._lexicon.tongues.items() if language != "zh"
        ]
        language, pieces, end = max(cuts, key=lambda cut: self._evidence(cut[1]), default=("", [], ""))
        if not self._is_foreign(pieces):
            return prompt
        pieces = with_colours(pieces, after=language != "de")
        if language != "de":
            pieces = made_of(described_before(pieces))
        return in_english(pieces, self._lexicon, articles=False) + end

    def _chinese(self, prompt: str, tongue: Tongue) -> str:
        pieces, end = chinese.cut(prompt, tongue)
        if all(piece.kind == "unknown" or not piece.english for piece in pieces):
            return prompt
        return in_english(chinese.in_order(pieces), self._lexicon, articles=True) + end

    def _evidence(self, pieces: Sequence[Piece]) -> tuple[int, int]:
        """How many words are known, and how many of them are not English."""
        known = [piece for piece in pieces if piece.kind != "unknown"]
        return sum(len(piece.words) for piece in known), sum(self._is_clear(piece) for piece in known)

    def _is_foreign(self, pieces: Sequence[Piece]) -> bool:
        """Whether at least half of the words are the language's, more than are English, one is not English, and one
        names or describes a thing."""
        words = [word.lower() for piece in pieces for word in piece.words if not word.isdigit()]
        english = sum(word in self._lexicon.english for word in words)
        known, clear = self._evidence(pieces)
        drawn = any(piece.kind in ("thing", "quality") for piece in pieces)
        return drawn and clear > 0 and 2 * known >= len(words) and known > english

    def _is_clear(self, piece: Piece) -> bool:
        return any(not word.isdigit() and word.lower() not in self._lexicon.english for word in piece.words)


def words_of(text: str) -> list[str]:
    """The words of a text and its numbers, in order."""
    return _WORD.findall(text)


def _cut(text: str, tongue: Tongue) -> tuple[list[Piece], str]:
    """The text as pieces, and what stands after the last one."""
    found = list(_WORD.finditer(text))
    pieces: list[Piece] = []
    end = at = 0
    while at < len(found):
        word = found[at].group()
        piece = tongue.find(_phrase(text, found[at : at + MOST_WORDS]))
        piece = piece or Piece("number" if word.isdigit() else "unknown", word, (word,))
        gap = text[end : found[at].start()]
        if not gap and pieces and pieces[-1].words[-1][-1] in ("'", APOSTROPHE):
            gap = " "
        pieces.append(replace(piece, gap=gap))
        at += len(piece.words)
        end = found[at - 1].end()
    return pieces, text[end:]


def _phrase(text: str, found: Sequence[re.Match[str]]) -> list[str]:
    """The words up to the first that more than spaces part from the one before."""
    words = [found[0].group()]
    for before, match in pairwise(found):
        if text[before.end() : match.start()].strip():
            break
        words.append(match.group())
    return words
