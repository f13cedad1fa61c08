# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Where in the goal each operation and each detail stands, by the head's tags."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from services.orchestrator.intent.decoding import Float32Array
from services.orchestrator.intent.features import Int64Array, word_span

# Parts that only tell the order or join: they go with what follows.
_LONE = re.compile(
    r"\W*(?:(?:but|and|then|also|first|firstly|secondly|next|finally|lastly|afterwards|"
    r"after (?:that|this|which)|please|ok|so|"
    r"before(?: (?:that|this|doing so|you do|(?:any|every)thing else))?|prior to that|"
    r"to (?:start|begin with|finish)|once done|when (?:done|ready|finished)|"
    r"though|yet|only|not|never|right|just|immediately|straight|naturally|obviously|of course|ideally|und|natürlich|"
    r"selbstverständlich|jedoch|allerdings|bitte|bien sûr|bien entendu|évidemment|claro|por supuesto|"
    r"dann|aber|zuerst|danach|vorher|davor|zum schluss|nur|erst|nicht|ensuite|puis|enfin|mais|pas|jamais|seulement|"
    r"d'abord|pero|luego|primero|después|solo|sólo|nunca|nie|先|然后|接着|最后|"
    r"(?:不过|但是?|可是)?(?:在?[这此那])?之[前后]|以后|随后)(?:\W+|$))*",
    re.IGNORECASE,
)
# Words that belong to what stands before them where a mark follows: "crop it afterwards, but first ...".
_TRAILS = re.compile(r"\s+(?:afterwards?|after|before|first|last|later|danach|vorher|ensuite|después)", re.IGNORECASE)
_LEAST = 0.5  # tags, added up over its words, that give a part of the goal to an operation
_JOINT = re.compile(
    r"[,;，。；、!?！？]|\.(?=\s|$)|\n|\s[-–—]\s|\s(?:->|=>|→|\+|&)(?=\s)|"
    r"\s+(?:and|then|und|dann|et|puis|y|luego|before|after|once|when|but|afterwards|until|as soon as|aber|danach|"
    r"anschließend|bevor|nachdem|sobald|vor dem|nach dem|mais|ensuite|avant de|après|pero|después|"
    r"antes de)\b|然后|再|并|接着|(?<!放在)(?<!放到)(?<!留到)最后|以及|随后|紧接着|"
    r"[～→（①-⑨]|(?<=以前)|(?<=之前)|(?<=以后)|(?<=之后)|\s(?:/|>+)(?=\s)",
    re.IGNORECASE,
)
# "Crop it plus sharpen it" joins; "rends-la plus claire" and "más" do not.
_PLUS = re.compile(r"\s+plus\b", re.IGNORECASE)
_FRENCH = re.compile(
    r"[éèêàçœ]|-(?:l[ae]s?|moi|nous|lui)\b|\b(?:les?|la|une?|des?|du|et|est|en|peu|beaucoup|bien|rends?|fais|mets|avec|"
    r"pour|puis|fond|ciel)\b|\b[dl]['’]",
    re.IGNORECASE,
)
_COLOR = (
    r"(?:black|white|gr[ae]y|red|orange|yellow|green|blue|purple|violet|pink|brown|gold|silver"
    r"|schwarz|wei(?:ß|ss)|rot|gelb|grün|blau|noir|blanc|rouge|jaune|vert|bleu|negro|blanco|rojo|amarillo|verde|azul)"
)
# "black and white" is one look, "red and blue" one thing's colours: no clause begins there.
_COLOR_PAIR = re.compile(rf"\b{_COLOR}\s+(?:and|und|et|y)\s+{_COLOR}\b", re.IGNORECASE)
_TRAILING = re.compile(r"\s(?:and|then|und|dann|et|puis|y|luego|but|before|after)$", re.IGNORECASE)
_ARTICLES = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these those my our your his her its their some all any der die das den dem des ein eine "
        "einen einem einer le la les un une des du el los las una unos unas mi ma mon",
    )
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


def clauses_of(goal: str, logits: Float32Array, offsets: Int64Array, wanted: list[int]) -> dict[int, Span]:
    """For each wanted operation the stretch of the goal that asks for it.

    The goal is cut at marks and joining words; each part goes to the operation whose tag its words carry most; parts
    beside one another with the same operation are one clause. `logits` (L, K + 1), the last: none.
    """
    parts = _parts(goal)
    weights = part_weights(parts, logits, offsets, wanted)
    owner = [int(row.argmax()) if row.max() >= _LEAST else -1 for row in weights]
    found: dict[int, Span] = {}
    for place, tag in enumerate(wanted):
        mine = [i for i, of in enumerate(owner) if of == place]
        best = max(mine or range(len(parts)), key=lambda i: float(weights[i, place]))
        first = last = best
        while mine and first - 1 >= 0 and owner[first - 1] in (place, -1) and any(i < first for i in mine):
            first -= 1
        while mine and last + 1 < len(parts) and owner[last + 1] in (place, -1):
            last += 1
        found[tag] = Span(parts[first].start, parts[last].end)
    return found


def part_weights(
    parts: Sequence[Span], logits: Float32Array, offsets: Int64Array, wanted: Sequence[int]
) -> npt.NDArray[np.float64]:
    """How much of each part (P, N) the words give to each wanted operation; `logits` (L, K + 1), the last: none."""
    kept = logits[:, [*wanted, -1]].astype(np.float64)
    share = np.exp(kept - kept.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    weights = np.zeros((len(parts), len(wanted)))
    for row, (start, end) in enumerate(offsets.tolist()):
        if start == end:
            continue
        part = next((i for i, span in enumerate(parts) if span.start <= start < span.end), None)
        if part is not None:
            weights[part] += share[row, :-1]
    return weights


def one_each(parts: Sequence[Span], logits: Float32Array, offsets: Int64Array, wanted: Sequence[int]) -> bool:
    """Whether each part of a goal asks for an operation of its own, and none of the wanted ones is left over."""
    if len(parts) != len(wanted):
        return False
    weights = part_weights(parts, logits, offsets, wanted)
    return bool(weights.max(1).min() >= _LEAST) and len(set(weights.argmax(1).tolist())) == len(parts)


def parts_of(goal: str) -> list[Span]:
    """The goal cut at marks and joining words, marks and lone order words ("but first,") left with what follows."""
    found: list[Span] = []
    start: int | None = None
    spans = _parts(goal)
    for span, after in itertools.zip_longest(spans, spans[1:]):
        begin = span.start if start is None else start
        text = goal[span.start : span.end]
        if found and start is None and _TRAILS.fullmatch(text) and (after is None or not goal[after.start].isspace()):
            found[-1] = Span(found[-1].start, span.end)
            continue
        if _LONE.fullmatch(text):
            start = begin
            continue
        found.append(Span(begin, span.end))
        start = None
    if start is not None and found:
        found[-1] = Span(found[-1].start, len(goal))
    return found or [Span(0, len(goal))]


@lru_cache(maxsize=64)
def _parts(goal: str) -> tuple[Span, ...]:
    """The goal cut at marks and joining words, but not between two colours."""
    pairs = [match.span() for match in _COLOR_PAIR.finditer(goal)]
    found = [*_JOINT.finditer(goal), *(() if _FRENCH.search(goal) else _PLUS.finditer(goal))]
    joints = sorted({match.start() for match in found if match.start() > 0})
    cuts = [0, *(cut for cut in joints if not any(start < cut < end for start, end in pairs)), len(goal)]
    return tuple(Span(start, end) for start, end in itertools.pairwise(cuts) if end > start)


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


def unjoined(text: str) -> str:
    """The clause without the mark or word that joins it to the one before."""
    match = _JOINT.match(text)
    while match and match.end() < len(text):
        text = text[match.end() :]
        match = _JOINT.match(text)
    return _TRAILING.sub("", text.strip(" \t\n,;.，。；、"))


def bare(text: str) -> str:
    """The text without leading articles and surrounding marks; empty when nothing else is there."""
    words = text.strip(_TRIMMED + "\"'“”‘’").split()
    while words and words[0].lower() in _ARTICLES:
        words.pop(0)
    return " ".join(words)
