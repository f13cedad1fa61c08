"""Holes filled with pieces of the picture itself, each shifted as a whole, joined where that is seen least.

After Pritch, Kav-Venaki and Peleg (2009), "Shift-Map Image Editing", and He and Sun (2012), "Statistics of Patch
Offsets for Image Completion". Pieces keep lines and texture whole; on a picture of any size they are its own pixels.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from diptych.images import Pixels
from services.editor.filling.joining import Labels, Places
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, Floats, to_oklab
from services.editor.pixels.dominant_shifts import Hole, Shifts, dominant_shifts
from services.editor.pixels.labelling import Problem, labelled

# Pieces are chosen where the hole has at most this many pixels, and the window this side; then brought to full size.
_MOST_HOLE, _MOST_SIDE = 4000, 360
_MOST_SHIFTS, _SWEEPS = 50, 3
# What is known counts this far into the hole, in pixels of that size, and so much more than a seam inside.
_RIM, _RIM_WEIGHT = 2, 2.0
_GRADIENT = 1.0
# Pieces are compared with what is this far around them, where at least this share of it can be.
_RING, _LEAST_RING = 3, 0.3
# Where common shifts do not reach, others are tried, this many from the middle to either side.
_LATTICE = 12


@dataclass(frozen=True)
class Pieces:
    """`labels`: (H, W) int16, which of the shifts, (K, 2), fills a place; -1 where there is no hole."""

    labels: Labels
    shifts: Shifts

    def places(self) -> list[tuple[int, tuple[slice, slice]]]:
        """The labels that are used, each with the smallest rectangle around its places."""
        return [(label, box) for label, box in enumerate(find_objects(self.labels.astype(np.int32) + 1)) if box]

    def laid(self, picture: Pixels) -> Pixels:
        """(H, W, 3): the picture with the pieces in its hole as they are."""
        result = picture.copy()
        for label, place in self.places():
            self.lay(picture, result, label, place)
        return result

    def lay(self, picture: Pixels, target: Pixels, label: int, place: tuple[slice, slice]) -> None:
        """Lays the pieces of one label, all in `place`, into `target`."""
        rows, columns = (
            np.arange(part.start + step, part.stop + step).clip(0, size - 1)
            for part, step, size in zip(place, self.shifts[label], self.labels.shape, strict=True)
        )
        own = self.labels[place] == label
        target[place][own] = picture[np.ix_(rows, columns)][own]


def small_size(hole: Hole) -> tuple[int, int]:
    """Width and height at which pieces are chosen."""
    height, width = hole.shape
    count = max(1, int(np.count_nonzero(hole)))
    share = min(1.0, _MOST_SIDE / int(max(height, width)), float(np.sqrt(_MOST_HOLE / count)))
    return max(1, round(width * share)), max(1, round(height * share))


def chosen(picture: Pixels, hole: Hole) -> Pieces | None:
    """Which pieces fill the hole of a small picture, (H, W, 3); None where no shift reaches all of it."""
    looks = _features(picture)
    closed = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    shifts = _reaching(dominant_shifts(looks[..., :3], closed, _MOST_SHIFTS), hole, closed)
    problem, useful = _problem(looks, hole, closed, shifts)
    if problem is None:
        return None
    found = labelled(problem, problem.alone.argmin(0), _SWEEPS)
    labels = np.full(hole.shape, -1, np.int16)
    labels[hole] = found
    return Pieces(labels, shifts[useful])


def _reaching(shifts: Shifts, hole: Hole, closed: Hole) -> Shifts:
    """The shifts, and as many of a lattice as it takes for every place of the hole to be filled from somewhere."""
    height, width = hole.shape
    rows, columns = np.nonzero(hole)

    def reached(shift: NDArray[np.int64]) -> Hole:
        inside, r, c = _moved(rows, columns, int(shift[0]), int(shift[1]), height, width)
        fits: Hole = inside & ~closed[r, c]
        return fits

    left = np.ones(len(rows), bool)
    for shift in shifts:
        left &= ~reached(shift)
    steps = np.linspace(-1, 1, 2 * _LATTICE + 1)
    lattice = [np.array((round(y * height), round(x * width)), np.int64) for y in steps for x in steps]
    while left.any():
        best = max(lattice, key=lambda shift: int(np.count_nonzero(reached(shift) & left)))
        gained = reached(best) & left
        if not gained.any():
            break
        left &= ~gained
        shifts = np.concatenate([shifts, best[np.newaxis]])
    return shifts


def _features(picture: Pixels) -> Floats:
    """(H, W, 5): lightness, colour, and how lightness changes down and across."""
    lab = to_oklab(LINEAR_OF_BYTE[picture]) * np.array((1, 2, 2), np.float32)
    down: Any = cv2.Sobel(lab[..., 0], cv2.CV_32F, 0, 1, scale=1 / 8)
    across: Any = cv2.Sobel(lab[..., 0], cv2.CV_32F, 1, 0, scale=1 / 8)
    return np.dstack([lab, _GRADIENT * down, _GRADIENT * across]).astype(np.float32)


def _problem(looks: Floats, hole: Hole, closed: Hole, shifts: Shifts) -> tuple[Problem | None, NDArray[np.int64]]:
    height, width = hole.shape
    rows, columns = np.nonzero(hole)
    ring = (cv2.dilate(hole.astype(np.uint8), np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)) > 0) & ~hole
    ring_rows, ring_columns = np.nonzero(ring)
    near: Any = cv2.boxFilter(ring.astype(np.float32), -1, (2 * _RIM + 1,) * 2, normalize=False)
    alone, shown, useful = [], [], []
    for number, (down, across) in enumerate(shifts):
        inside, r, c = _moved(rows, columns, down, across, height, width)
        fits = inside & ~closed[r, c]
        if not fits.any():
            continue
        cost = np.zeros(hole.shape, np.float32)
        seen, rr, rc = _moved(ring_rows, ring_columns, down, across, height, width)
        differs = np.abs(looks[rr, rc] - looks[ring_rows, ring_columns]).sum(1)
        differs[~seen | hole[rr, rc]] = 1.0
        cost[ring_rows, ring_columns] = differs
        summed: Any = cv2.boxFilter(cost, -1, (2 * _RIM + 1,) * 2, normalize=False)
        own = _RIM_WEIGHT * (summed / np.maximum(near, 1))[rows, columns]
        own[~fits] = np.inf
        alone.append(own)
        shown.append(looks[r, c])
        useful.append(number)
    if not alone or not np.isfinite(np.min(alone, 0)).all():
        return None, np.array(useful, np.int64)
    return Problem(np.array(alone), np.array(shown), _edges(hole)), np.array(useful, np.int64)


def _moved(
    rows: Places, columns: Places, down: int, across: int, height: int, width: int
) -> tuple[Hole, Places, Places]:
    r, c = rows + down, columns + across
    inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
    return inside, r.clip(0, height - 1), c.clip(0, width - 1)


def _edges(hole: Hole) -> NDArray[np.int64]:
    """(E, 2) pairs of places of the hole that are side by side, as numbers in the order of `np.nonzero`."""
    number = np.full(hole.shape, -1, np.int64)
    number[hole] = np.arange(np.count_nonzero(hole))
    pairs = [
        np.stack([number[:-1].ravel(), number[1:].ravel()], 1),
        np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], 1),
    ]
    both = np.concatenate(pairs)
    return both[(both >= 0).all(1)]


def finer(pieces: Pieces, picture: Pixels, hole: Hole) -> Pieces:
    """The pieces on a larger picture, their shifts moved by a pixel or two such that they meet what is around them."""
    height, width = hole.shape
    ratio = height / pieces.labels.shape[0], width / pieces.labels.shape[1]
    moved = Pieces(_enlarged(pieces.labels, hole), np.rint(pieces.shifts * ratio).astype(np.int64))
    composite = moved.laid(picture)
    reach = max(1, round(max(ratio)))
    for label, place in moved.places():
        moved.shifts[label] = _settled(composite, picture, hole, moved.labels, label, place, moved.shifts[label], reach)
        moved.lay(picture, composite, label, place)
    return moved


def _enlarged(labels: Labels, hole: Hole) -> Labels:
    """Labels at the size of `hole`, their borders rounded; every place of the hole has one."""
    size = hole.shape[1], hole.shape[0]
    best = np.full(hole.shape, -1, np.float32)
    result = np.full(hole.shape, -1, np.int16)
    for label in np.unique(labels[labels >= 0]):
        soft = cv2.GaussianBlur((labels == label).astype(np.float32), (0, 0), 0.7)
        share: Any = cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR)
        better = (share > best) & hole
        best[better] = share[better]
        result[better] = label
    return result


def _settled(
    composite: Pixels,
    picture: Pixels,
    hole: Hole,
    labels: Labels,
    label: int,
    place: tuple[slice, slice],
    shift: NDArray[np.int64],
    reach: int,
) -> NDArray[np.int64]:
    """The shift within `reach` at which the piece, gone on over its border, is most like what lies there."""
    height, width = hole.shape
    wide = tuple(slice(max(0, part.start - _RING), part.stop + _RING) for part in place)
    own = labels[wide] == label
    grown = cv2.dilate(own.astype(np.uint8), np.ones((2 * _RING + 1,) * 2, np.uint8)) > 0
    rows, columns = np.nonzero(grown & ~own)
    rows, columns = rows + wide[0].start, columns + wide[1].start
    there = composite[rows, columns].astype(np.float32)
    best, least = shift, np.inf
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            inside, r, c = _moved(rows, columns, int(shift[0]) + down, int(shift[1]) + across, height, width)
            valid = inside & ~hole[r, c]
            if np.count_nonzero(valid) < _LEAST_RING * len(rows):
                continue
            difference = picture[r[valid], c[valid]] - there[valid]
            # A level that is off is mended by joining; a line that is off is not.
            cost = float(np.abs(difference - np.median(difference, axis=0)).mean()) + 0.02 * (abs(down) + abs(across))
            if cost < least:
                best, least = shift + np.array((down, across)), cost
    return best
