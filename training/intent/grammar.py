"""Phrase files to random sentences whose characters are labelled.

A phrase file holds word lists ("= name", then entries) and sections ("## operation kind", then templates), one a line:
(a|b) one of them · [a|b] one of them or nothing · {name} an entry of that list · <slot:list> the same, labelled with
the slot · <slot=...> a labelled expression. A bar outside brackets separates templates.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Label = str | None


@dataclass(frozen=True)
class Choice:
    """One of several sequences."""

    options: tuple["Sequence", ...]


@dataclass(frozen=True)
class Reference:
    """An entry of a word list; labelled when `slot` is set."""

    name: str
    slot: Label


@dataclass(frozen=True)
class Labelled:
    """An expression whose characters carry a slot."""

    slot: str
    body: "Sequence"


Node = str | Choice | Reference | Labelled
Sequence = tuple[Node, ...]
Pieces = list[tuple[str, Label]]

_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def options(self, end: str) -> tuple[Sequence, ...]:
        """The alternatives up to `end` (which is consumed), or up to the end of the text."""
        found: list[Sequence] = []
        nodes: list[Node] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if end and char == end:
                return (*found, tuple(nodes))
            if char == "|":
                found.append(tuple(nodes))
                nodes = []
            elif char == "(" or char == "[":
                inner = self.options(_CLOSING[char])
                nodes.append(Choice(inner if char == "(" else (*inner, ())))
            elif char == "{":
                nodes.append(Reference(self.until("}"), None))
            elif char == "<" and self.starts_slot():
                nodes.append(self.slot())
            else:
                nodes.append(char)
        if end:
            raise ValueError(f"missing {end!r} in template: {self.text}")
        return (*found, tuple(nodes))

    def starts_slot(self) -> bool:
        head, *rest = self.text[self.at :].split(">", 1)
        if rest and head.isalpha():
            raise ValueError(f"<{head}> names no list; write {{{head}}} or <{head}:list>: {self.text}")
        return ":" in head or "=" in head

    def until(self, end: str) -> str:
        stop = self.text.index(end, self.at)
        word, self.at = self.text[self.at : stop], stop + 1
        return word

    def slot(self) -> Node:
        start = self.at
        while self.text[self.at] not in ":=":
            self.at += 1
        name, kind = self.text[start : self.at], self.text[self.at]
        self.at += 1
        if kind == ":":
            return Reference(self.until(">"), name)
        return Labelled(name, (Choice(self.options(">")),))


def parse(text: str) -> tuple[Sequence, ...]:
    """The templates of one line: one for each alternative outside brackets."""
    return _Parser(text).options("")


@dataclass
class Grammar:
    """Word lists and templates of one language."""

    lists: dict[str, list[Sequence]] = field(default_factory=dict)
    sections: dict[tuple[str, str], list[Sequence]] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        """Adds one phrase file."""
        target: list[Sequence] | None = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith("# "):
                continue
            if line.startswith("= "):
                target = self.lists.setdefault(line[2:].strip(), [])
            elif line.startswith("## "):
                operation, kind = line[3:].split()
                target = self.sections.setdefault((operation, kind), [])
            elif target is None:
                raise ValueError(f"{path.name}: a template before the first heading: {line}")
            else:
                target.extend(parse(line))

    def expand(self, nodes: Sequence, rng: random.Random, slot: Label = None) -> Pieces:
        """Random pieces of text, each with the slot that it fills."""
        pieces: Pieces = []
        for node in nodes:
            if isinstance(node, str):
                pieces.append((node, slot))
            elif isinstance(node, Choice):
                pieces += self.expand(rng.choice(node.options), rng, slot)
            elif isinstance(node, Labelled):
                pieces += self.expand(node.body, rng, slot or node.slot)
            else:
                entry = rng.choice(self.lists[node.name])
                pieces += self.expand(entry, rng, slot or node.slot)
        return pieces


@dataclass
class Phrase:
    """Text with a slot and an operation for every character (None: neither)."""

    text: str
    slots: list[Label]
    operations: list[Label]

    @classmethod
    def plain(cls, text: str) -> "Phrase":
        return cls(text, [None] * len(text), [None] * len(text))

    @classmethod
    def of(cls, pieces: Pieces, operation: Label, *, english: bool = True) -> "Phrase":
        """The pieces joined, white space collapsed, English articles put right before vowels."""
        chars = [(char, slot) for text, slot in pieces for char in text]
        kept: list[tuple[str, Label]] = []
        for char, slot in chars:
            if char == " " and (not kept or kept[-1][0] == " "):
                continue
            if char in ",.;:?!" and kept and kept[-1][0] == " ":
                kept.pop()
            kept.append((char, slot))
        while kept and kept[-1][0] == " ":
            kept.pop()
        if english:
            kept = _right_articles(kept)
        return cls("".join(c for c, _ in kept), [s for _, s in kept], [operation] * len(kept))

    def __add__(self, other: "Phrase | str") -> "Phrase":
        if isinstance(other, str):
            other = Phrase.plain(other)
        return Phrase(self.text + other.text, self.slots + other.slots, self.operations + other.operations)

    def __radd__(self, other: str) -> "Phrase":
        return Phrase.plain(other) + self

    def lowered_start(self) -> "Phrase":
        """The phrase as it reads inside a sentence."""
        if self.text[:2].isupper() or not self.text or self.text.startswith("I "):
            return self
        return Phrase(self.text[0].lower() + self.text[1:], self.slots, self.operations)


def _right_articles(chars: list[tuple[str, Label]]) -> list[tuple[str, Label]]:
    text = "".join(c for c, _ in chars).lower()
    out: list[tuple[str, Label]] = []
    for at, (char, slot) in enumerate(chars):
        word_start = at == 0 or text[at - 1] in " (\"'"
        if word_start and text.startswith("a ", at) and at + 2 < len(text) and text[at + 2] in "aeio":
            out += [(char, slot), ("n", slot)]
            continue
        wrong_n = text[at - 1 : at + 2] == "an " and at >= 1 and (at == 1 or text[at - 2] in " (\"'")
        if wrong_n and at + 2 < len(text) and text[at + 2] in "bcdfgjklmnpqrstvwyz":
            continue
        out.append((char, slot))
    return out


def load(folder: Path, names: Mapping[str, list[str]]) -> dict[str, Grammar]:
    """A grammar for each language from its phrase files."""
    grammars = {}
    for language, files in names.items():
        grammars[language] = Grammar()
        for name in files:
            grammars[language].read(folder / f"{name}.txt")
    return grammars
