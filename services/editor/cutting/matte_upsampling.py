"""A matte from a smaller picture brought to full size, its edge led by the full picture's colours."""

import itertools
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.pixels.color_spaces import Floats

# Mattes enlarged by less leave nothing to lead.
WORTHWHILE = 1.25
# Below and above, a matte is thought to be sure.
_NONE, _ALL = 0.03, 0.97
# Pixels of the small matte: how far away colours of either side are looked for, and how far an edge may be moved.
_REACH, _DRIFT = 4.0, 1.5
_MOST_REACH, _TILE = 24, 256
# Variance of colour, 8-bit, that is in every picture, and how much more than it the two sides must differ to be told.
_LEAST_VARIANCE, _DISTINCT = 60.0, 4.0


def led_by_colors(pixels: Pixels, matte: Mask, ratio: float) -> Mask:
    """(H, W) float32: `matte`, enlarged by `ratio`, with each soft pixel's share told from the colours on both sides.

    A pixel's colour lies between those of the nearby sure subject and sure background; where it lies is its share, as
    in sampling-based matting (Chuang et al. 2001, Gastal and Oliveira 2010). Sides of one colour tell nothing, and
    wide soft edges such as hair have no sure pixels near: these keep what the network said.
    """
    soft = (matte > _NONE) & (matte < _ALL)
    reach = min(_MOST_REACH, round(_REACH * ratio))
    drift = max(1, round(_DRIFT * ratio))
    margin = 2 * reach
    result = matte.copy()
    height, width = matte.shape
    for top, left in itertools.product(range(0, height, _TILE), range(0, width, _TILE)):
        inner = (slice(top, top + _TILE), slice(left, left + _TILE))
        if not soft[inner].any():
            continue
        y, x = max(top - margin, 0), max(left - margin, 0)
        outer = (slice(y, top + _TILE + margin), slice(x, left + _TILE + margin))
        led = _led(pixels[outer][..., :3].astype(np.float32), matte[outer], reach, drift)
        fitting = led[top - y : top - y + _TILE, left - x : left - x + _TILE]
        result[inner][soft[inner]] = fitting[soft[inner]]
    return result


def _led(colors: Floats, matte: Mask, reach: int, drift: int) -> Mask:
    squares = _total(cv2.multiply(colors, colors))
    front, front_spread, front_sure = _side(colors, squares, matte >= _ALL, reach)
    back, back_spread, back_sure = _side(colors, squares, matte <= _NONE, reach)
    apart = cv2.subtract(front, back)
    distance = _total(cv2.multiply(apart, apart))
    along = _total(cv2.multiply(cv2.subtract(colors, back), apart))
    share = (along / np.maximum(distance, 1)).clip(0, 1)
    doubt = _DISTINCT * (front_spread + back_spread + _LEAST_VARIANCE)
    trust = distance / (distance + doubt) * front_sure * back_sure
    kernel = np.ones((2 * drift + 1, 2 * drift + 1), np.uint8)
    led = matte + (share - matte) * trust
    # An edge may move, but nothing may appear where there was none.
    bound: Mask = np.minimum(np.maximum(led, cv2.erode(matte, kernel)), cv2.dilate(matte, kernel)).astype(np.float32)
    return bound


def _side(colors: Floats, squares: Floats, sure: Any, reach: int) -> tuple[Floats, Floats, Floats]:
    """Mean colour (h, w, 3) of the sure pixels nearby, their variance (h, w), and whether there are any (h, w)."""
    size = (2 * reach + 1, 2 * reach + 1)
    weight = sure.astype(np.float32)
    share: Any = cv2.blur(weight, size)
    fair = 1 / np.maximum(share, 1e-4)
    mean: Any = cv2.multiply(cv2.blur(cv2.multiply(colors, cv2.merge([weight] * 3)), size), cv2.merge([fair] * 3))
    square = cv2.blur(squares * weight, size) * fair
    variance = np.maximum(square - _total(cv2.multiply(mean, mean)), 0)
    return mean, variance, np.minimum(share / 0.02, 1)


def _total(values: Any) -> Floats:
    """(h, w): the sum over the last axis of (h, w, 3)."""
    total: Any = cv2.transform(values, np.ones((1, 3), np.float32))
    return np.asarray(total, np.float32)
