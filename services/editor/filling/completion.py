"""A hole completed from the picture it is in: pieces of it chosen, joined, and their seams healed."""

from typing import Any

import cv2
import numpy as np
import patchmatch

from diptych.images import Pixels
from services.editor.filling.joining import correction
from services.editor.filling.shifted_pieces import Pieces, chosen, finer, small_size
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.dominant_shifts import Hole
from services.editor.pixels.resampling import resample

METHOD = "shifted-pieces"
# Pieces are joined where the hole has at most this many pixels; larger ones take the difference that joining made.
_MOST_JOINED = 40_000
# A seam with a step above this, of 255, is healed, this far to both sides, by patches of the second's radius.
_STEP, _BAND, _PATCH_RADIUS = 14, 4, 3


def completed(picture: Pixels, hole: Hole) -> Pixels | None:
    """(H, W, 3): the picture with its hole filled from elsewhere in it; None where no piece of it reaches all of it."""
    sizes = _sizes(hole)
    small, small_hole = reduced(picture, hole, *sizes[0])
    pieces = chosen(small, small_hole)
    if pieces is None:
        return None
    joined, at = _joined(small, small_hole, pieces), pieces
    for size in sizes[1:]:
        small, small_hole = reduced(picture, hole, *size)
        pieces = finer(pieces, small, small_hole)
        if np.count_nonzero(small_hole) <= _MOST_JOINED:
            joined, at = _joined(small, small_hole, pieces), pieces
    return _with_detail(picture, hole, pieces, joined, at)


def reduced(picture: Pixels, hole: Hole, width: int, height: int) -> tuple[Pixels, Hole]:
    """Picture and hole at another size. What is even partly hole is hole."""
    if (width, height) == picture.shape[1::-1]:
        return picture, hole
    share: Any = cv2.resize(hole.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    small_hole = cv2.dilate((share > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return resample(picture, width, height), small_hole


def _sizes(hole: Hole) -> list[tuple[int, int]]:
    """Widths and heights at which pieces are placed, each about twice the one before; the last is the picture's."""
    height, width = hole.shape
    sizes = [small_size(hole)]
    while sizes[-1][0] * 2 < width * 0.8:
        sizes.append((sizes[-1][0] * 2, min(height, max(1, round(sizes[-1][0] * 2 * height / width)))))
    return sizes if sizes[-1] == (width, height) else [*sizes, (width, height)]


def _joined(picture: Pixels, hole: Hole, pieces: Pieces) -> Floats:
    """(H, W, 3) what joining and healing add to the pieces as they are."""
    laid = pieces.laid(picture)
    added = correction(picture.astype(np.float32), hole, pieces.labels, pieces.shifts)
    result: Pixels = np.rint((laid + added).clip(0, 255)).astype(np.uint8)
    band = _seams(result, pieces) & hole
    if band.any():
        result = patchmatch.inpaint(result, band, patch_size=_PATCH_RADIUS)
        added[band] = result[band].astype(np.float32) - laid[band]
    return added


def _seams(picture: Pixels, pieces: Pieces) -> Hole:
    """(H, W) bool, near seams that still show."""
    colors = picture.astype(np.float32)
    seam = np.zeros(pieces.labels.shape, bool)
    for axis in (0, 1):
        step = np.abs(np.diff(colors, axis=axis)).mean(2) > _STEP
        shown = step & (np.diff(pieces.labels, axis=axis) != 0)
        for part in (slice(None, -1), slice(1, None)):
            seam[(part, slice(None)) if axis == 0 else (slice(None), part)] |= shown
    wide: Hole = cv2.dilate(seam.astype(np.uint8), np.ones((2 * _BAND + 1,) * 2, np.uint8)) > 0
    return wide


def _with_detail(picture: Pixels, hole: Hole, pieces: Pieces, added: Floats, at: Pieces) -> Pixels:
    """The pieces at full size with what joining added at another: piece by piece, so that no level crosses a seam."""
    result = pieces.laid(picture)
    if pieces is at:
        result[hole] = np.rint((result[hole] + added[hole]).clip(0, 255))
        return result
    height, width = hole.shape
    for label, place in pieces.places():
        own = (at.labels == label).astype(np.float32)
        weight: Any = cv2.GaussianBlur(own, (0, 0), 1.0)
        summed: Any = cv2.GaussianBlur(added * own[..., np.newaxis], (0, 0), 1.0)
        difference = summed / np.maximum(weight, 1e-4)[..., np.newaxis]
        ratio = at.labels.shape[1] / width, at.labels.shape[0] / height
        rows, columns = (np.arange(part.start, part.stop, dtype=np.float32) for part in place)
        x, y = np.meshgrid((columns + 0.5) * ratio[0] - 0.5, (rows + 0.5) * ratio[1] - 0.5)
        enlarged: Any = cv2.remap(difference, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mine = pieces.labels[place] == label
        part = result[place]
        part[mine] = np.rint((part[mine] + enlarged[mine]).clip(0, 255))
    return result
