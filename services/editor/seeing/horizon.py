"""By how much a picture leans, seen from the lines in it.

Upright things are looked at first: a camera that looks up or down makes them converge, but evenly about the middle, so
their lean is fitted as `roll + convergence * x`. Level lines count only when one reaches across the picture: roofs and
kerbs seen at an angle lean in a level picture too. Without enough of either nothing is known, and 0 is said.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels, flatten

Numbers = np.ndarray[Any, np.dtype[np.float64]]

# A picture that leans by more is meant to; less than this is level.
_MOST, _LEAST = 12.0, 0.15
_LOOKED_AT = 1000
# Degrees by which lines of one lean differ.
_SPREAD = 0.35
_ROLLS = np.arange(-_MOST - 1, _MOST + 1.01, 0.1)
# Degrees of lean between the middle and an edge of the picture.
_CONVERGENCES = np.arange(-14.0, 15.0)
# Upright lines: how many, how far apart (share of the width), how strong, and how much above the rest.
_UPRIGHT_COUNT, _UPRIGHT_REACH, _UPRIGHT_WEIGHT, _UPRIGHT_RATIO = 10, 0.3, 0.25, 1.8
# One level line: its share of the width, its strength, and how much above other leans.
_LEVEL_REACH, _LEVEL_WEIGHT, _LEVEL_RATIO = 0.5, 0.45, 1.5


@dataclass(frozen=True)
class _Lines:
    """Line segments: their ends, lengths and centres in pixels, and a weight that grows faster than length."""

    ends: Numbers
    length: Numbers
    weight: Numbers
    size: tuple[int, int]

    @property
    def centre(self) -> tuple[Numbers, Numbers]:
        x1, y1, x2, y2 = self.ends.T
        return (x1 + x2) / 2, (y1 + y2) / 2

    @property
    def angle(self) -> Numbers:
        x1, y1, x2, y2 = self.ends.T
        angle: Numbers = np.degrees(np.arctan2(y2 - y1, x2 - x1))
        return angle


def find_tilt(image: Pixels) -> float:
    """Degrees clockwise by which the picture leans, -12 to 12; 0 when it is level, or when nothing in it tells."""
    lines = _detect(image)
    if not len(lines.length):
        return 0.0
    tilt = _from_uprights(lines)
    if tilt is None:
        tilt = _from_level_line(lines)
    return round(tilt, 2) if tilt is not None and _LEAST <= abs(tilt) <= _MOST else 0.0


def _detect(image: Pixels) -> _Lines:
    """Segments by LSD (von Gioi 2010) in the picture at 1000 pixels."""
    grey = cv2.cvtColor(flatten(np.ascontiguousarray(image)), cv2.COLOR_RGB2GRAY)
    shrink = min(1.0, _LOOKED_AT / max(grey.shape))
    if shrink < 1:
        grey = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    side = min(grey.shape)
    found = cv2.createLineSegmentDetector(0).detect(grey)[0] if side >= 16 else None
    ends = np.zeros((0, 4)) if found is None else found.reshape(-1, 4).astype(np.float64)
    length = np.hypot(ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1])
    long = length > 0.04 * side
    return _Lines(ends[long], length[long], (length[long] / side) ** 1.5, (grey.shape[1], grey.shape[0]))


def _from_uprights(lines: _Lines) -> float | None:
    """The lean of upright things in the middle of the picture; None when there are too few."""
    width = lines.size[0]
    lean = lines.angle % 180 - 90
    across = (lines.centre[0] - width / 2) / (width / 2)
    near = np.abs(lean) <= _MOST + 15
    votes = np.zeros((len(_CONVERGENCES), len(_ROLLS)))
    for one, x, weight in zip(lean[near], across[near], lines.weight[near], strict=True):
        votes += weight * _bell(_ROLLS[np.newaxis] - (one - _CONVERGENCES * x)[:, np.newaxis], _SPREAD)
    # Strong convergence is rare, and fits anything.
    votes *= _bell(_CONVERGENCES, 10)[:, np.newaxis]
    best = votes.max(axis=0)
    at = int(best.argmax())
    convergence, roll = _CONVERGENCES[int(votes[:, at].argmax())], _ROLLS[at]
    fits = near & (np.abs(lean - roll - convergence * across) < 0.8)
    if (
        fits.sum() < _UPRIGHT_COUNT
        or np.ptp(across[fits]) / 2 < _UPRIGHT_REACH
        or best[at] < max(_UPRIGHT_WEIGHT, _UPRIGHT_RATIO * float(np.median(best)))
    ):
        return None
    root = np.sqrt(lines.weight[fits])
    system = np.stack([root, root * across[fits]], axis=1)
    return float(np.linalg.lstsq(system, root * lean[fits], rcond=None)[0][0])


def _from_level_line(lines: _Lines) -> float | None:
    """The lean of a line that reaches across the picture, such as a horizon; None when there is none."""
    width, height = lines.size
    lean = (lines.angle + 90) % 180 - 90
    near = np.abs(lean) <= _MOST + 2
    votes = np.zeros(len(_ROLLS))
    for one, weight in zip(lean[near], lines.weight[near], strict=True):
        votes += weight * _bell(_ROLLS - one, _SPREAD)
    at = int(votes.argmax())
    elsewhere = votes[np.abs(_ROLLS - _ROLLS[at]) > 2]
    if votes[at] < max(_LEVEL_WEIGHT, _LEVEL_RATIO * elsewhere.max()):
        return None
    fits = near & (np.abs(lean - _ROLLS[at]) < 1)
    along, off = _turned(lines, _ROLLS[at])
    reach = 0.0
    for one in off[fits]:
        together = fits & (np.abs(off - one) < 0.006 * min(width, height) + 1)
        reach = max(reach, _covered(along[together], lines.length[together]) / width)
    if reach < _LEVEL_REACH:
        return None
    return float(np.average(lean[fits], weights=lines.weight[fits]))


def _turned(lines: _Lines, roll: float) -> tuple[Numbers, Numbers]:
    """The centres of the lines along and across a direction."""
    x, y = lines.centre
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    return x * cos + y * sin, y * cos - x * sin


def _covered(centre: Numbers, length: Numbers) -> float:
    """How much of a line its pieces cover, overlaps counted once."""
    total, end = 0.0, -np.inf
    for at in np.argsort(centre - length / 2):
        start, stop = centre[at] - length[at] / 2, centre[at] + length[at] / 2
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _bell(value: Numbers, spread: float) -> Numbers:
    bell: Numbers = np.exp(-0.5 * (value / spread) ** 2)
    return bell
