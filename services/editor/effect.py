"""What an operation changed, measured on its input and output."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import image_pb2
from services.editor.pixels.likeness import LEAST_LIKENESS, likeness

# Differences up to this are rounding.
_ROUNDING = 1
_ROWS = 256


def measure(
    before: Pixels, after: Pixels, selection: Mask | None = None, *, keeps: bool = False
) -> image_pb2.EffectReport:
    """The report on two (H, W, 3|4) uint8; a selection is (H, W), 0 where nothing may change.

    `keeps`: whether the step must keep what the picture shows; then it is also told if it did.
    """
    report = _changes(before, after, selection)
    if keeps and report.effect == image_pb2.EFFECT_CHANGED:
        found = likeness(before, after, report.changed_region)
        if found is not None:
            report.likeness = found
            if found < LEAST_LIKENESS:
                report.effect = image_pb2.EFFECT_DAMAGED
    return report


def _changes(before: Pixels, after: Pixels, selection: Mask | None) -> image_pb2.EffectReport:
    height, width = after.shape[:2]
    report = image_pb2.EffectReport(effect=image_pb2.EFFECT_CHANGED)
    if before.shape[:2] != after.shape[:2]:
        report.changed_fraction = 1
        report.changed_region.CopyFrom(image_pb2.Box(width=width, height=height))
        return report
    found = _compare(before, after, selection)
    report.changed_fraction = found.changed / (height * width)
    report.mean_difference = found.total / (
        height * width * 4 if 4 in (before.shape[2], after.shape[2]) else height * width * 3
    )
    if selection is not None:
        report.max_difference_outside = found.outside
    if found.changed == 0:
        report.effect = image_pb2.EFFECT_NO_EFFECT
        return report
    rows, columns = np.flatnonzero(found.rows), np.flatnonzero(found.columns)
    report.changed_region.CopyFrom(
        image_pb2.Box(
            x=int(columns[0]),
            y=int(rows[0]),
            width=int(columns[-1] - columns[0]) + 1,
            height=int(rows[-1] - rows[0]) + 1,
        )
    )
    return report


@dataclass
class _Found:
    rows: np.ndarray
    columns: np.ndarray
    changed: int = 0
    total: int = 0
    outside: int = 0


def _compare(before: Pixels, after: Pixels, selection: Mask | None) -> _Found:
    """Counts band by band, so that a large picture costs little memory."""
    height, width = after.shape[:2]
    found = _Found(np.zeros(height, bool), np.zeros(width, bool))
    alpha = 4 in (before.shape[2], after.shape[2])
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        old, new = (_with_alpha(one[rows]) if alpha else one[rows] for one in (before, after))
        difference: Any = cv2.absdiff(new, old)
        outside = 0 if selection is None else difference[selection[rows] == 0].max(initial=0)
        if alpha:  # The colour of what cannot be seen is no change.
            seen = cv2.bitwise_or(old[..., 3], new[..., 3])
            difference = cv2.bitwise_and(difference, difference, mask=seen)
        changed = cv2.inRange(difference, (0,) * 4, (_ROUNDING,) * 4) == 0
        found.changed += int(np.count_nonzero(changed))
        found.total += int(sum(cv2.sumElems(difference)))
        found.outside = max(found.outside, int(outside))
        found.rows[rows] = changed.any(1)
        found.columns |= changed.any(0)
    return found


def _with_alpha(pixels: Pixels) -> Any:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA) if pixels.shape[2] == 3 else pixels
