"""Colour at soft and transparent edges: what lies under a matte, and what a network should see there."""

from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels
from services.editor.color_spaces import Floats

# Below this alpha a pixel's stored colour is mostly rounding, and is taken from its surroundings.
_TRUSTED_ALPHA = 26.0


def bleed(pixels: Pixels) -> Pixels:
    """(H, W, 3): the colours of (H, W, 4), those of visible pixels spread smoothly under the transparent ones.

    By a pyramid of alpha-weighted averages (push-pull, Gortler et al. 1996). Without any visible pixel, black.
    """
    weight = np.minimum(pixels[..., 3].astype(np.float32) / _TRUSTED_ALPHA, 1)
    if weight.min() == 1:
        return np.ascontiguousarray(pixels[..., :3])
    spread = _fill(pixels[..., :3].astype(np.float32) * weight[..., np.newaxis], weight)
    result: Pixels = np.rint(spread.clip(0, 255)).astype(np.uint8)
    return result


def _fill(lit: Floats, weight: Floats) -> Floats:
    """Colour everywhere from colour times weight, coarser levels first."""
    height, width = weight.shape
    if (height == 1 and width == 1) or weight.min() >= 1:
        return lit / np.maximum(weight, 1e-6)[..., np.newaxis]
    size = ((width + 1) // 2, (height + 1) // 2)
    coarse_weight: Floats = np.atleast_2d(cv2.resize(weight, size, interpolation=cv2.INTER_AREA))
    coarse_lit: Any = cv2.resize(lit, size, interpolation=cv2.INTER_AREA).reshape(*coarse_weight.shape, 3)
    # A half-seen coarse pixel is as good as a whole one: only the unseen are filled from further up.
    gain = np.where(coarse_weight > 1e-6, np.minimum(4 * coarse_weight, 1) / np.maximum(coarse_weight, 1e-6), 0)
    coarse = _fill(coarse_lit * gain[..., np.newaxis], (coarse_weight * gain).astype(np.float32))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    filled: Floats = lit + smooth * (1 - weight)[..., np.newaxis]
    return filled


def decontaminate(colors: Pixels, alpha: Floats) -> Pixels:
    """(H, W, 3): colours without the old background's share; `alpha` is (H, W) float32 0..1.

    Foreground estimated by blurred foreground and background (Forte 2021, Approximate Fast Foreground Colour
    Estimation): twice coarse, once fine. Opaque pixels stay as they are.
    """
    soft = (alpha > 0) & (alpha < 1)
    if not soft.any():
        return colors
    result = colors.copy()
    rows, columns = np.flatnonzero(soft.any(1)), np.flatnonzero(soft.any(0))
    radius = max(24, min(90, max(colors.shape[:2]) // 8))
    top, bottom = max(rows[0] - radius, 0), rows[-1] + radius + 1
    left, right = max(columns[0] - radius, 0), columns[-1] + radius + 1
    window = (slice(top, bottom), slice(left, right))
    inner = alpha[window]
    for channel in range(3):
        seen = colors[window][..., channel].astype(np.float32)
        front = back = seen
        for reach in (radius, radius, 6):
            front, back = _blur_fusion(seen, front, back, inner, reach)
        part = result[window][..., channel]
        part[soft[window]] = np.rint(front.clip(0, 255))[soft[window]]
    return result


def _blur_fusion(seen: Floats, front: Floats, back: Floats, alpha: Floats, radius: int) -> tuple[Floats, Floats]:
    """Estimates of foreground and background colour, one channel, from earlier ones."""
    size = (2 * radius + 1, 2 * radius + 1)
    share = cv2.blur(alpha, size)
    front = cv2.blur(front * alpha, size) / (share + 1e-5)
    back = cv2.blur(back * (1 - alpha), size) / ((1 - share) + 1e-5)
    return front + alpha * (seen - alpha * front - (1 - alpha) * back), back
