# ruff: noqa: RUF001 - the marks of other scripts are meant
"""The order in which operations are wanted, by the words that tell it: "B, but A first", "after A, B", "B once A"."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.orchestrator.intent.clauses import Span, part_weights, parts_of
from services.orchestrator.intent.decoding import Float32Array
from services.orchestrator.intent.features import Int64Array

_WHITE = (
    r"^[\s,;.:(\-–—\"'，。；：（]*(?:and |but |then |only |please |though |und |aber |et |mais |y |pero |并|但|要)*"
)
# A subordinate clause that is wanted after the clause it belongs to ...
_BEFORE = re.compile(
    _WHITE + r"(?:right |just |long )?(?:before(?! (?:that|this|doing so|anything|everything))|prior to|ahead of|bevor|"
    r"ehe\b|vor dem\b|avant (?:de|d'|que)|antes de(?: que)?(?! eso)|在.{1,20}(?:之前|以前))",
    re.IGNORECASE,
)
# ... and one that is wanted before it.
_AFTER = re.compile(
    _WHITE + r"(?:right |just |immediately |soon )?(?:after(?!wards?| that| this|,)|once(?! (?:more|again))|as soon as|"
    r"when(?:ever)? (?:you|it|that|the|this|done|finished|i)|now that|having |upon |nachdem|sobald|nach dem\b|wenn|"
    r"après (?:avoir|l|que|\w+er\b|\w+ir\b)|une fois|dès que|después de(?! eso)|una vez|tras |等)",
    re.IGNORECASE,
)
_AFTER_TAIL = re.compile(r"(?:之后|以后|后)[\s，,。]*$")
_BEFORE_TAIL = re.compile(r"(?:之前|以前)[\s，,。]*$")
_FIRST = re.compile(
    r"\bfirst(?:ly)?\b(?! (?:one|picture|photo|image|letter|floor))|\bto begin with|\bto start\b|"
    r"\b(?:start|begin)(?:ning|ing)? (?:by|with|off)\b|"
    r"\bbefore (?:that|this|doing so|anything else|everything else|you do)\b|\bbeforehand\b|"
    r"\b(?:zuerst|zunächst|als erstes|erst|vorher|davor|anfangs)\b|\bd'abord\b|\bcommence[rz]? par\b|\bavant ça\b|"
    r"\bprimero\b|\bempieza (?:por|con)\b|\bantes de eso\b|^\W*(?:但)?(?:先|首先)|先",
    re.IGNORECASE,
)
_LAST = re.compile(
    r"\b(?:finally|lastly)\b|\b(?:at|in) the (?:very )?end\b|"
    r"\b(?:as )?(?:the|a|your) (?:very )?(?:last|final) (?:step|thing|touch)\b|"
    r"\b(?:comes?|goes|do(?:ne)?) last\b|\blast of all\b|\bto finish\b|\blast\W*$|"
    r"\b(?:zum schluss|zuletzt|am ende|als letztes|schließlich)\b|\b(?:enfin|à la fin|pour finir)\b|"
    r"\b(?:por último|al final|finalmente)\b|最后",
    re.IGNORECASE,
)
_UNTIL = re.compile(r"\b(?:until|till|before|bis|hasta)\b", re.IGNORECASE)
_HELD_BACK = re.compile(r"\b(?:don'?t|do not|never|wait|nicht|no)\b", re.IGNORECASE)


_SURE = 6.0  # gap between the order scores of neighbours in an order that the words tell
_LIKELY = 0.15  # presence from which an operation takes part


def scores(
    goal: str, tags: Float32Array, offsets: Int64Array, present: npt.NDArray[np.float64], learned: Float32Array
) -> Float32Array:
    """Order scores (K,), lower for earlier: by the words of the goal where the likely operations stand in parts of
    their own, else the `learned` ones. `tags` (L, K + 1) logits of each token, `present` (K,) probabilities."""
    likely = np.flatnonzero(present > _LIKELY)
    parts = parts_of(goal)
    if len(likely) < 2 or len(parts) < 2:
        return learned
    weights = part_weights(parts, tags, offsets, likely.tolist())
    home = weights.argmax(0)
    ranks = {part: rank for rank, part in enumerate(worded(goal, parts))}
    found = np.array(learned, np.float32)
    certain = [i for i, index in enumerate(likely) if present[index] > 0.5]
    if len({int(home[i]) for i in certain}) < len(certain):
        return learned
    found[likely] = [_SURE * ranks[int(part)] for part in home] + learned[likely] * 1e-3
    return found


def worded(goal: str, spans: Sequence[Span]) -> list[int]:
    """Indices of the spans in the order in which they are wanted. Without a word on it, the order of reading."""
    reading = sorted(range(len(spans)), key=lambda i: (spans[i].start, spans[i].end))
    texts = [goal[spans[i].start : spans[i].end] for i in reading]
    places = list(range(len(reading)))  # where each stands, in order of reading
    order = list(places)
    for place, text in enumerate(texts):
        partner = _partner(goal, [spans[i] for i in reading], place)
        if partner is None:
            continue
        main = texts[partner]
        held = _UNTIL.match(text.strip()) and _HELD_BACK.search(main)
        if held or _AFTER.search(text) or _AFTER_TAIL.search(text):
            _move(order, place, partner)
        elif _BEFORE.search(text) or _BEFORE_TAIL.search(text):
            _move(order, partner, place)
    firsts = [p for p in order if _FIRST.search(texts[p]) and not _LAST.search(texts[p])]
    lasts = [p for p in order if _LAST.search(texts[p])]
    middle = [p for p in order if p not in firsts and p not in lasts]
    if len(firsts) > 1:  # "first A, then B. First ...": said of more than one it tells nothing
        firsts, middle, lasts = [], [p for p in order if p not in lasts], lasts
    return [reading[p] for p in (*firsts, *middle, *lasts)]


def _partner(goal: str, spans: Sequence[Span], place: int) -> int | None:
    """The clause that a subordinate clause belongs to: the next where it opens its sentence, else the one before."""
    opens = place == 0 or re.search(r"[.!?;。！？]\s*$", goal[: spans[place].start].rstrip(" ") or ".") is not None
    partner = place + 1 if opens else place - 1
    return partner if 0 <= partner < len(spans) else None


def _move(order: list[int], earlier: int, later: int) -> None:
    """Puts `earlier` right before `later`, unless it is before it already."""
    if order.index(earlier) > order.index(later):
        order.remove(earlier)
        order.insert(order.index(later), earlier)
