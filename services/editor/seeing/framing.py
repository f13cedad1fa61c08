"""A picture as a network sees it: small, whole, on a ground; and the way back from what it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels, flatten
from services.editor.pixels.color_spaces import Floats

_GREY = (127, 127, 127)


@dataclass(frozen=True)
class Framed:
    """A picture shrunk by `scale` and laid at (`x`, `y`) of a frame. `pixels` is (h, w, 3) uint8."""

    pixels: Pixels
    scale: float
    x: float
    y: float

    def back(self, points: Floats) -> Floats:
        """(..., 2) places in the picture, for places in the frame. A pixel's middle is at half."""
        moved: Floats = (points - np.array([self.x, self.y], np.float32)) / np.float32(self.scale)
        return moved


def shrunk(pixels: Pixels, side: int) -> Pixels:
    """(h, w, 3) uint8 whose longer side is at most `side`; what is transparent is laid on grey."""
    height, width = pixels.shape[:2]
    share = side / max(height, width)
    if share >= 1:
        return flatten(pixels, _GREY)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    if pixels.shape[2] == 3:
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    # Colour first weighted by alpha: what cannot be seen must not bleed into what can.
    alpha = cv2.resize(pixels[..., 3], size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    planes = [
        cv2.resize(
            cv2.multiply(pixels[..., channel], pixels[..., 3], scale=1 / 255), size, interpolation=cv2.INTER_AREA
        )
        for channel in range(3)
    ]
    lit = np.stack(planes, axis=2) + (1 - alpha[..., np.newaxis]) * _GREY[0]
    result: Pixels = np.rint(lit.clip(0, 255)).astype(np.uint8)
    return result


def framed(pixels: Pixels, side: int) -> Framed:
    """The whole picture in the middle of a grey square of `side`, its aspect kept."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = shrunk(pixels, side)
    if small.shape[1::-1] != size:
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR))
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    square = np.full((side, side, 3), _GREY, np.uint8)
    square[top : top + size[1], left : left + size[0]] = small
    return Framed(square, scale, left, top)


def planes(pixels: Pixels, defaults: Mapping[str, Any]) -> Floats:
    """(3, h, w) float32 as the manifest's `mean` and `scale`, numbers or one for each channel, say."""
    mean = np.asarray(defaults.get("mean", 0.0), np.float32)
    scale = np.asarray(defaults.get("scale", 255.0), np.float32)
    return np.ascontiguousarray(((pixels.astype(np.float32) - mean) / scale).transpose(2, 0, 1))


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + e^-x)."""
    result: Floats = 1 / (1 + np.exp(-values.clip(-50, 50)))
    return result


def apart(boxes: Floats, scores: Floats, most: float) -> list[int]:
    """Which of the boxes (N, 4: left, top, right, bottom) to keep, best first, none over another by more than `most`.

    Overlap is intersection over union: non-maximum suppression.
    """
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if all(overlap(boxes[index], boxes[one]) <= most for one in kept):
            kept.append(int(index))
    return kept


def overlap(one: Floats, other: Floats) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    total = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    return float(shared / total) if total > 0 else 0.0
