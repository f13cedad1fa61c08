"""Where in the goal each operation and each detail stands, by the head's tags."""

from dataclasses import dataclass

import numpy as np

from services.orchestrator.intent.features import Int64Array, word_span

_GAP = 3  # tokens that may lie between two parts of one clause
_ARTICLES = frozenset(
    "a an the this that these those my our your his her its their some all any der die das den dem des ein eine einen "
    "einem einer le la les un une des du el los las una unos unas mi ma mon".split()
)
_TRIMMED = " \t\n,.;:!?-–—、，。；：！？"


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of the goal."""

    start: int
    end: int


def runs(tags: Int64Array, offsets: Int64Array, tag: int, gap: int = 0) -> list[Span]:
    """Spans of the tokens that carry this tag; `gap` other tokens may lie within a span."""
    rows = [int(row) for row in np.flatnonzero(tags == tag) if offsets[row, 0] != offsets[row, 1]]
    spans: list[tuple[int, int]] = []
    for row in rows:
        if spans and row - spans[-1][1] <= gap + 1:
            spans[-1] = (spans[-1][0], row)
        else:
            spans.append((row, row))
    return [Span(int(offsets[first, 0]), int(offsets[last, 1])) for first, last in spans]


def clause(goal: str, tags: Int64Array, offsets: Int64Array, tag: int) -> Span | None:
    """The longest stretch of the goal that asks for this operation; None if no word was tagged with it."""
    found = runs(tags, offsets, tag, _GAP)
    if not found:
        return None
    span = max(found, key=lambda s: s.end - s.start)
    return whole_words(goal, span)


def whole_words(goal: str, span: Span) -> Span:
    """The span grown to the words it touches."""
    start, _ = word_span(goal, span.start)
    _, end = word_span(goal, span.end - 1)
    return Span(start, end)


def phrases(goal: str, tags: Int64Array, offsets: Int64Array, tag: int, within: Span) -> list[str]:
    """The words of this slot inside a clause, without article and marks, one entry for each stretch."""
    found = []
    for run in runs(tags, offsets, tag, 1):
        span = whole_words(goal, run)
        if within.start <= span.start < within.end and (text := bare(goal[span.start : span.end])):
            found.append(text)
    return found


def bare(text: str) -> str:
    """The text without leading articles and surrounding marks."""
    words = text.strip(_TRIMMED + "\"'“”‘’").split()
    while len(words) > 1 and words[0].lower() in _ARTICLES:
        words.pop(0)
    return " ".join(words)
