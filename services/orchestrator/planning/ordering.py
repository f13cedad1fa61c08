"""A sensible order where the goal gives none: repairs first, the shape last. Said order is never changed."""

import re
from collections.abc import Sequence
from itertools import groupby

from services.orchestrator.planning.wanted import Wanted

# Words that give an order: English, German, French, Spanish, Chinese.
_SAID = re.compile(
    r"\b(?:then|first(?:ly)?|second(?:ly)?|before|after(?:wards|ward)?|finally|lastly|next|once|last|later|followed by|"
    r"step \d|dann|danach|zuerst|zunächst|anschließend|schließlich|zuletzt|bevor|nachdem|vorher|nachher|erst|"
    r"puis|ensuite|d'abord|enfin|avant|après|"
    r"luego|después|despues|primero|antes|finalmente|por último)\b|然后|再|先|之后|之前|最后|接着",
    re.IGNORECASE,
)
# Small goes first. What is not here keeps its place, and nothing passes it: it makes a picture, or only looks at one.
_RANK = {
    "denoise": 10,
    "deblur": 12,
    "remove_object": 20,
    "replace_object": 22,
    "retouch": 26,
    "enhance": 30,
    "color_correct": 34,
    "remove_background": 40,
    "blur_background": 41,
    "replace_background": 42,
    "add_object": 46,
    "match_style": 50,
    "style_transfer": 52,
    "upscale": 60,
    "rotate": 70,
    "extend": 72,
    "crop": 74,
    "resize": 76,
    "composite": 80,
    "write_text": 82,
    "animate": 90,
}
_REPAIRS = frozenset({"denoise", "deblur", "remove_object", "replace_object", "retouch"})
_SHAPES = frozenset({"rotate", "extend", "crop", "resize"})


def order_is_said(goal: str) -> bool:
    """Whether the goal's own words give an order."""
    return _SAID.search(goal) is not None


def _rank(operation: Wanted) -> int:
    # Corners are cut round where the picture ends, so once it has its size, and before it moves.
    return _RANK["animate"] - 1 if operation.slots.get("corner_radius") else _RANK[operation.name]


def in_order(goal: str, operations: Sequence[Wanted]) -> tuple[list[Wanted], str]:
    """The operations as they are best done, and why that order in a sentence; empty when the goal's own is kept."""
    if order_is_said(goal):
        return list(operations), ""
    kept: list[Wanted] = []
    for ranked, group in groupby(operations, key=lambda operation: operation.name in _RANK):
        beside = list(group)
        kept += sorted(beside, key=_rank) if ranked else beside
    if kept == list(operations):
        return kept, ""
    names = [operation.name for operation in kept]
    moved = {new.name for new, old in zip(kept, operations, strict=True) if new.name != old.name}
    said = []
    if "upscale" in names and moved & _REPAIRS:
        said.append("faults are mended before anything enlarges them")
    elif moved & _REPAIRS:
        said.append("faults are mended first")
    if moved & _SHAPES:
        said.append("the shape comes last, so that every step before it sees the whole picture")
    return kept, "No order is given: " + (", and ".join(said) or "what builds on another comes after it") + "."
