"""The shifts at which a picture repeats itself: where what is missing at a place is likely to be found.

After He and Sun (2012), "Statistics of Patch Offsets for Image Completion".
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.editor.pixels.color_spaces import Floats

Hole = NDArray[np.bool_]
# (K, 2) int: rows and columns from a place to the place that looks alike.
Shifts = NDArray[np.int64]

_PATCH = 8
# Places that ask where else they could be, at most, and how many are asked for at a time.
_QUERIES, _ROWS = 2500, 128
# A patch is alike to those beside it; shifts below this share of the longer side say nothing.
_LEAST = 1 / 15
# Counts of shifts are smoothed by this, in pixels; peaks closer than the second are one.
_SMOOTH, _APART = 1.4, 3


def dominant_shifts(picture: Floats, hole: Hole, most: int) -> Shifts:
    """(K, 2) at most `most` shifts, the commonest first, from patches of (H, W, C) near `hole` to those like them."""
    places, looks = _patches(picture, hole)
    if len(places) < 2:
        return np.zeros((0, 2), np.int64)
    near = np.argsort(_distance(hole)[tuple((places + _PATCH // 2).T)], kind="stable")[: 4 * _QUERIES]
    queries = np.sort(near[:: max(1, len(near) // _QUERIES)])
    least = max(2, int(_LEAST * max(hole.shape)))
    shifts = [_nearest(places, looks, queries[start : start + _ROWS], least) for start in range(0, len(queries), _ROWS)]
    return _peaks(np.concatenate(shifts), hole.shape, most)


def _patches(picture: Floats, hole: Hole) -> tuple[NDArray[np.int64], Floats]:
    """Top left corners, (N, 2), of the patches without hole, and what they look like: (N, D), their coarse waves."""
    seen = cv2.erode((~hole).astype(np.uint8), np.ones((_PATCH, _PATCH), np.uint8), anchor=(0, 0), borderValue=0)
    seen[-_PATCH + 1 :], seen[:, -_PATCH + 1 :] = 0, 0
    places = np.argwhere(seen > 0)
    waves = []
    x = np.pi * (np.arange(_PATCH) + 0.5) / _PATCH
    for channel in range(picture.shape[2]):
        count = 4 if channel == 0 else 2
        for down in range(count):
            for across in range(count):
                wave = np.outer(np.cos(down * x), np.cos(across * x)).astype(np.float32) / _PATCH
                answer: Any = cv2.filter2D(picture[..., channel], -1, wave, anchor=(0, 0))
                waves.append(answer[seen > 0])
    return places, np.stack(waves, 1)


def _distance(hole: Hole) -> Floats:
    far: Any = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(far, np.float32)


def _nearest(places: NDArray[np.int64], looks: Floats, asked: NDArray[np.int64], least: int) -> Shifts:
    """(len(asked), 2) shifts from the patches asked for to the most similar ones that are not beside them."""
    distance = (looks**2).sum(1) - 2 * looks[asked] @ looks.T
    for row, place in enumerate(places[asked]):
        beside = (np.abs(places - place) < least).all(1)
        distance[row, beside] = np.inf
    shifts: Shifts = places[distance.argmin(1)] - places[asked]
    return shifts


def _peaks(shifts: Shifts, shape: tuple[int, ...], most: int) -> Shifts:
    height, width = shape
    counts = np.zeros((2 * height + 1, 2 * width + 1), np.float32)
    np.add.at(counts, (shifts[:, 0] + height, shifts[:, 1] + width), 1)
    smooth: Any = cv2.GaussianBlur(counts, (0, 0), _SMOOTH)
    highest: Any = cv2.dilate(smooth, np.ones((2 * _APART + 1, 2 * _APART + 1), np.uint8))
    peaks = np.argwhere((smooth >= highest) & (smooth > 0.05))
    order = np.argsort(-smooth[tuple(peaks.T)], kind="stable")[:most]
    found: Shifts = peaks[order] - (height, width)
    return found
