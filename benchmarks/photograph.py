"""A photograph at any size, with what a camera leaves in it: detail of single pixels, a soft lens, noise."""

import math
from functools import cache

import cv2
import numpy as np
import skimage.data

from diptych.images import Pixels

# Standard deviation of the lens's blur, pixels; electrons that make white; noise of reading them, 0 to 255.
_LENS, _WHITE, _READING = 1.0, 900.0, 2.0
_FINE, _AROUND, _SMOOTH = 2.0, 6.0, 0.3
_ROWS = 256


@cache
def photograph(megapixels: float) -> Pixels:
    """(S, S, 3) of `megapixels`: a portrait that scikit-image ships (NASA, public domain), as a camera would give it.

    Enlarging leaves nothing fine, and an edit would find little to do. So the fine detail of a photograph of grass is
    laid in, mirrored over the whole, where the portrait is not smooth; then the lens softens it and the sensor adds its
    noise.
    """
    small = skimage.data.astronaut().astype(np.float32)  # type: ignore[no-untyped-call]
    side = round(math.sqrt(megapixels * 1e6))
    busy = cv2.GaussianBlur(np.abs(_fine(small)).mean(axis=2), (0, 0), _AROUND)
    share = np.clip(busy / np.percentile(busy, 80) - _SMOOTH, 0, 1)
    fine = _fine(skimage.data.grass().astype(np.float32))  # type: ignore[no-untyped-call]
    shares = cv2.resize(share, (side, side), interpolation=cv2.INTER_LINEAR)
    mirrored = np.abs((np.arange(side) + len(fine)) % (2 * len(fine) - 2) - len(fine) + 1)
    result = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    for top in range(0, side, _ROWS):
        rows = slice(top, top + _ROWS)
        result[rows] += shares[rows, :, np.newaxis] * fine[mirrored[rows]][:, mirrored, np.newaxis]
    return _seen_by_a_camera(result)


def _fine(light: np.ndarray) -> np.ndarray:
    detail: np.ndarray = light - cv2.GaussianBlur(light, (0, 0), _FINE)
    return detail


def _seen_by_a_camera(light: np.ndarray) -> Pixels:
    """(H, W, 3) uint8 of what is in front of it, 0 to 255."""
    soft = cv2.GaussianBlur(light, (0, 0), _LENS)
    random = np.random.default_rng(1)
    seen = np.empty(soft.shape, np.uint8)
    for top in range(0, len(soft), _ROWS):
        part = soft[top : top + _ROWS].clip(0, 255)
        spread = np.sqrt(part * (255 / _WHITE) + _READING**2)
        noisy = part + spread * random.standard_normal(part.shape, np.float32)
        seen[top : top + _ROWS] = np.rint(noisy.clip(0, 255))
    return seen
