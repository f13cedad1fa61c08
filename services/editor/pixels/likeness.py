"""Whether a result still shows what its input shows. A broken network gives black, noise or one colour; this tells."""

from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels
from diptych.v1 import image_pb2
from services.editor.pixels.color_spaces import Floats

# Below this a result is another picture, or none.
LEAST_LIKENESS = 0.3
# Compared at this size: noise that was taken away and detail that was added are no loss.
_SIDE = 48
# Standard deviation of lightness, 0 to 255, below which a picture has no structure to compare.
_FLAT = 1.5
_LEAST_REGION = 8
# Of a cut-out: the least that must be left, and the most that may be half there.
_LEAST_LEFT, _MOST_HALF = 1e-4, 0.6


def likeness(before: Pixels, after: Pixels, region: image_pb2.Box) -> float | None:
    """Correlation, -1 to 1, of the lightness of both in a region of `after`; None where there is nothing to compare.

    Sizes may differ. A cut-out is compared where it is visible; nothing left, or all of it half there, is 0.
    """
    if after.shape[2] == 4 and before.shape[2] == 3:
        left = after[..., 3]
        half = (left > 25) & (left < 230)
        if (left > 127).mean() < _LEAST_LEFT or half.mean() > _MOST_HALF:
            return 0.0
    share = (before.shape[1] / after.shape[1], before.shape[0] / after.shape[0])
    if min(region.width, region.height) < _LEAST_REGION:
        return None
    new, seen = _small(after, region, (1.0, 1.0))
    old, _ = _small(before, region, share)
    if not seen.all():  # The rim of a cut-out has lost the old ground's colour, and shall have.
        seen = cv2.erode(seen.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    if seen.sum() < _LEAST_REGION:
        return None
    return correlation(old[seen], new[seen], _FLAT)


def correlation(old: Floats, new: Floats, flat: float) -> float | None:
    """Correlation, -1 to 1, of two arrays of one shape; None when `old` varies by less than `flat`."""
    if old.std() < flat:
        return None
    if new.std() < flat / 4:
        return 0.0
    return float(np.corrcoef(old.ravel(), new.ravel())[0, 1])


def _small(pixels: Pixels, region: image_pb2.Box, share: tuple[float, float]) -> tuple[Floats, np.ndarray[Any, Any]]:
    """Lightness of a region at the size that is compared, and where it is visible."""
    left, top = int(region.x * share[0]), int(region.y * share[1])
    right = max(left + 1, round((region.x + region.width) * share[0]))
    bottom = max(top + 1, round((region.y + region.height) * share[1]))
    part = pixels[top:bottom, left:right]
    size = (min(_SIDE, region.width), min(_SIDE, region.height))
    small: Any = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small[..., :3] @ np.array([0.2126, 0.7152, 0.0722], np.float32), (
        small[..., 3] > 127 if small.shape[2] == 4 else np.ones(small.shape[:2], bool)
    )
