"""What lies behind a subject, out of focus: discs in linear light, to which the subject gives nothing."""

from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, Floats, to_encoded

# A disc of this radius is fine enough: larger ones are drawn on a smaller picture.
_FINE_RADIUS = 8.0
_ROWS = 512
# Of the light, so that the weight of what is nearly unseen is not only rounding.
_LEAST_WEIGHT = 1e-3


def defocused(pixels: Pixels, seen: Mask, radius: float) -> Pixels:
    """(H, W, 3): blurred by a disc of `radius` pixels, each pixel counting as much as `seen`, (H, W) 0..1, says.

    Normalised convolution (Knutsson and Westin 1993): what is unseen is filled from around, further out where need be.
    """
    height, width = pixels.shape[:2]
    factor = max(1, int(radius / _FINE_RADIUS))
    lit, weight = _reduced(pixels, seen, factor)
    kernel = disc(radius / factor)
    blurred: Any = cv2.filter2D(lit, -1, kernel, borderType=cv2.BORDER_REFLECT)
    shares: Any = cv2.filter2D(weight, -1, kernel, borderType=cv2.BORDER_REFLECT).clip(0, 1)
    filled = _spread(blurred, shares)
    encoded: Pixels = np.rint(to_encoded(filled.clip(0, 1)) * 255).astype(np.uint8)
    if factor == 1:
        return encoded
    sized: Any = cv2.resize(encoded, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(sized, np.uint8)


def disc(radius: float) -> Floats:
    """A disc of `radius` pixels with a soft edge, its sum 1."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    weight = (radius + 0.5 - np.hypot(x, y)).clip(0, 1)
    kernel: Floats = (weight / max(float(weight.sum()), 1e-6)).astype(np.float32)
    return kernel


def _reduced(pixels: Pixels, seen: Mask, factor: int) -> tuple[Floats, Floats]:
    """Linear light times weight, and the weight, at 1 / factor of the size."""
    height, width = pixels.shape[:2]
    small = (-(-width // factor), -(-height // factor))
    lit = np.empty((small[1], small[0], 3), np.float32)
    weight = np.empty((small[1], small[0]), np.float32)
    rows = _ROWS // factor
    for top in range(0, small[1], rows):
        part = slice(top * factor, min((top + rows) * factor, height))
        shares = seen[part]
        light = LINEAR_OF_BYTE[pixels[part]] * shares[..., np.newaxis]
        size = (small[0], min(rows, small[1] - top))
        lit[top : top + rows] = cv2.resize(light, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
        weight[top : top + rows] = cv2.resize(shares, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0])
    return lit, weight


def _spread(lit: Floats, weight: Floats) -> Floats:
    """Light over weight; where there is hardly any weight, from the next coarser level (push-pull)."""
    trusted = np.minimum(weight / 0.05, 1)
    own = lit / np.maximum(weight, _LEAST_WEIGHT)[..., np.newaxis]
    height, width = weight.shape
    if float(trusted.min()) >= 1 or max(height, width) <= 2:
        return own
    size = ((width + 1) // 2, (height + 1) // 2)
    coarse_weight: Any = np.atleast_2d(cv2.resize(weight, size, interpolation=cv2.INTER_AREA))
    coarse_lit: Any = cv2.resize(lit, size, interpolation=cv2.INTER_AREA).reshape(*coarse_weight.shape, 3)
    coarse = _spread(coarse_lit, coarse_weight)
    smooth: Any = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    share = trusted[..., np.newaxis]
    mixed: Floats = own * share + smooth * (1 - share)
    return mixed
