"""Colour at soft and transparent edges: what lies under a matte, and what a network should see there."""

import itertools
from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels
from services.editor.pixels.color_spaces import Floats

# Below this alpha a pixel's stored colour is mostly rounding, and is taken from its surroundings.
_TRUSTED_ALPHA = 26.0
# Coarse estimates of colour need no more detail than a blur of the first radius leaves; fine ones use the second, and
# are made in tiles of this side.
_COARSE_RADIUS, _FINE, _TILE = 24, 6, 256


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
    Estimation): twice coarse, on a smaller picture where it is large, once fine. Opaque pixels stay as they are.
    """
    # What rounds to nothing or to all needs no estimate.
    soft = (alpha > 0.5 / 255) & (alpha < 1 - 0.5 / 255)
    if not soft.any():
        return colors
    result = colors.copy()
    rows, columns = np.flatnonzero(soft.any(1)), np.flatnonzero(soft.any(0))
    radius = max(24, min(90, max(colors.shape[:2]) // 8))
    top, bottom = max(int(rows[0]) - radius, 0), min(int(rows[-1]) + radius + 1, len(colors))
    left, right = max(int(columns[0]) - radius, 0), int(columns[-1]) + radius + 1
    wide = (slice(top, bottom), slice(left, right))
    part, share, chosen, made = colors[wide], alpha[wide], soft[wide], result[wide]
    front, back = _coarse(part, share, radius)
    height, width = share.shape
    # Edges are thin: only tiles with some of them are worked on, each with the few pixels that the fine step looks at.
    for top, left in itertools.product(range(0, height, _TILE), range(0, width, _TILE)):
        inner = (slice(top, top + _TILE), slice(left, left + _TILE))
        if not chosen[inner].any():
            continue
        y, x = max(top - _FINE, 0), max(left - _FINE, 0)
        outer = (slice(y, top + _TILE + _FINE), slice(x, left + _TILE + _FINE))
        seen, first, second = (one[outer].astype(np.float32) for one in (part, front, back))
        fine, _ = _blur_fusion(seen, first, second, share[outer], _FINE)
        fitting = fine[top - y : top - y + _TILE, left - x : left - x + _TILE]
        rounded: Any = cv2.convertScaleAbs(np.maximum(fitting, 0))
        np.copyto(made[inner], rounded, where=chosen[inner][..., np.newaxis])
    return result


def _coarse(colors: Pixels, alpha: Floats, radius: int) -> tuple[Pixels, Pixels]:
    """Foreground and background of (H, W, 3) uint8, from blurs of `radius` pixels."""
    height, width = alpha.shape
    factor = max(1, radius // _COARSE_RADIUS)
    size = (max(1, width // factor), max(1, height // factor))
    small: Any = cv2.resize(colors, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
    share: Any = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0])
    seen = small.astype(np.float32)
    front = back = seen
    for _ in range(2):
        front, back = _blur_fusion(seen, front, back, share, max(1, radius // factor))
    first, second = (
        cv2.resize(np.rint(one.clip(0, 255)).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
        for one in (front, back)
    )
    return first.reshape(height, width, 3), second.reshape(height, width, 3)


def _blur_fusion(seen: Floats, front: Floats, back: Floats, alpha: Floats, radius: int) -> tuple[Floats, Floats]:
    """Estimates of foreground and background colour from earlier ones, (H, W, 3); `alpha` is (H, W)."""
    size = (2 * radius + 1, 2 * radius + 1)
    # One plane for each colour: numpy is slow where it has to spread one over three.
    share: Any = cv2.merge([cv2.blur(alpha, size)] * 3)
    weight: Any = cv2.merge([alpha] * 3)
    rest: Any = cv2.subtract(np.ones_like(weight), weight)
    front_mean: Any = cv2.divide(cv2.blur(cv2.multiply(front, weight), size), share + np.float32(1e-5))
    back_mean: Any = cv2.divide(cv2.blur(cv2.multiply(back, rest), size), (1 - share) + np.float32(1e-5))
    mixed = cv2.add(cv2.multiply(weight, front_mean), cv2.multiply(rest, back_mean))
    found: Any = cv2.add(front_mean, cv2.multiply(weight, cv2.subtract(seen, mixed)))
    return found, back_mean
