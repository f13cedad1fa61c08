"""What the intent model sees of a goal: word pieces for the sentence encoder, hashed letter groups for the head."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

MAX_TOKENS = 128
GROUPS_PER_TOKEN = 14
GROUP_BUCKETS = 8192  # bucket 0 is padding
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Features:
    """One goal as the two graphs take it.

    `ids` (L,) int64 word pieces with [CLS] and [SEP]; `groups` (L, 14) int64 buckets of the letter groups of each
    piece's word, 0 where none; `offsets` (L, 2) int64 characters of each piece, (0, 0) for the special ones.
    """

    ids: Int64Array
    groups: Int64Array
    offsets: Int64Array


class FeatureReader:
    """Turns goals into features with the encoder's own tokenizer."""

    def __init__(self, tokenizer: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def read(self, goal: str) -> Features:
        """The features of a goal; of a long one, its first 126 word pieces."""
        encoding = self._tokenizer.encode(goal)
        offsets = np.asarray(encoding.offsets, np.int64).reshape(-1, 2)
        return Features(np.asarray(encoding.ids, np.int64), letter_groups(goal, encoding.offsets), offsets)


def letter_groups(goal: str, offsets: Sequence[tuple[int, int]]) -> Int64Array:
    """Buckets (L, 14) of the letter groups around each piece: they carry languages and slips the encoder cannot."""
    lowered = goal.lower()
    text = lowered if len(lowered) == len(goal) else goal  # a few capitals lower to two characters
    groups = np.zeros((len(offsets), GROUPS_PER_TOKEN), np.int64)
    first = last = 0  # of the word that the piece is part of; pieces of one word follow one another
    for row, (start, end) in enumerate(offsets):
        if start == end or end > len(text):
            continue
        if not first <= start < last:
            first, last = word_span(text, start)
            buckets = _around(text, first) if _is_ideograph(text[first]) else _buckets(text[first:last])
        groups[row, : len(buckets)] = buckets
    return groups


def word_span(text: str, at: int) -> tuple[int, int]:
    """The start and end of the word at a position; an ideograph or a mark is a word by itself."""
    if not _joins(text[at]):
        return at, at + 1
    start, end = at, at + 1
    while start > 0 and _joins(text[start - 1]):
        start -= 1
    while end < len(text) and _joins(text[end]):
        end += 1
    return start, end


def _joins(char: str) -> bool:
    return (char.isalnum() or char == "'") and not _is_ideograph(char)


def _is_ideograph(char: str) -> bool:
    return "\u2e80" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"


def letters(text: str) -> int:
    """How much a text says, in letters; an ideograph counts for two."""
    return sum(1 + _is_ideograph(char) for char in text)


def _around(text: str, at: int) -> list[int]:
    """Buckets of an ideograph by itself and with its neighbours."""
    end = at + 1
    around = [text[at], text[at - 1 : end] if at else "", text[at : end + 1]]
    around += [text[at - 1 : end + 1] if at else "", text[max(0, at - 2) : end], text[at : end + 2]]
    return [_bucket(group) for group in dict.fromkeys(around) if group]


@lru_cache(maxsize=8192)
def _buckets(word: str) -> tuple[int, ...]:
    """Buckets of a word and its parts."""
    framed = f"^{word}$"
    parts = [framed]
    parts += [framed[i : i + 4] for i in range(len(framed) - 3)]
    parts += [framed[i : i + 3] for i in range(len(framed) - 2)]
    return tuple(_bucket(group) for group in list(dict.fromkeys(parts))[:GROUPS_PER_TOKEN])


def _bucket(group: str) -> int:
    return zlib.crc32(group.encode()) % (GROUP_BUCKETS - 1) + 1
