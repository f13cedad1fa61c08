"""What can be measured in pictures by program: the ground, the pieces on it, their colour, distances between sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage

from training.generator.colours import BACKGROUNDS, hue_word, main_colour, to_hsv

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

BORDER = 6  # px of 256 that count as the border
APART = 40  # of 255: how far from the ground a pixel must be to be part of a thing
SMALLEST = 0.012  # of the canvas: smaller pieces are crumbs


def border(picture: Pixels) -> NDArray[np.uint8]:
    """(N, 3) pixels of the border of a (H, W, 3) picture."""
    inner = np.ones(picture.shape[:2], bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = False
    return picture[inner]


def ground(picture: Pixels) -> Floats:
    """(3,) the colour of the ground: the median of the border."""
    return np.asarray(np.median(border(picture), 0), dtype=np.float32)


def ground_word(picture: Pixels) -> str:
    """The background word of `colours.BACKGROUNDS` whose colour is nearest to the ground."""
    own = ground(picture)
    return min(BACKGROUNDS, key=lambda word: float(np.abs(own - np.asarray(BACKGROUNDS[word], np.float32)).sum()))


def unevenness(picture: Pixels) -> float:
    """Mean difference of the border from the ground, 0..255: how plain a plain ground is."""
    return float(np.abs(border(picture).astype(np.float32) - ground(picture)).mean())


def tone(pixels: Pixels) -> str:
    """One word for the main tone of some pixels: dark, white, grey or a hue."""
    hue, saturation, value = to_hsv(np.median(pixels.reshape(-1, 3), 0).astype(np.float32) / 255)
    if value < 0.36:
        return "dark"
    if saturation < 0.12:
        return "white" if value > 0.85 else "grey"
    return hue_word(float(hue), float(saturation), float(value))


def thing_mask(picture: Pixels) -> NDArray[np.bool_]:
    """(H, W): what differs from the ground."""
    return np.asarray(np.abs(picture.astype(np.float32) - ground(picture)).max(-1) > APART)


def pieces(picture: Pixels) -> int:
    """How many separate pieces lie on the ground; thin bridges between them are cut, crumbs do not count."""
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(thing_mask(picture), iterations=3))
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return int((sizes >= SMALLEST * mask.size).sum())


def colour(picture: Pixels) -> str:
    """The word of the main colour of the thing on a plain ground, empty where no one colour carries it."""
    alpha = thing_mask(picture)[..., None].astype(np.float32)
    main = main_colour(np.concatenate([picture.astype(np.float32) / 255, alpha], -1))
    return main.word if main else ""


def halves(picture: Pixels) -> tuple[Pixels, Pixels]:
    """The left and the right thing, each cut out square on the ground, parted at the emptiest column of the middle."""
    mask = thing_mask(picture)
    filled = ndimage.uniform_filter1d(mask.sum(0).astype(np.float32), 5)
    low, high = int(mask.shape[1] * 0.35), int(mask.shape[1] * 0.65)
    emptiest = np.flatnonzero(filled[low:high] <= filled[low:high].min()) + low
    split = int(np.median(emptiest))
    return squared(picture[:, :split], ground(picture)), squared(picture[:, split:], ground(picture))


def squared(picture: Pixels, around: Floats, inset: float = 0.9) -> Pixels:
    """A square picture of what differs from the ground `around`, centred, filling `inset` of the side."""
    mask = np.abs(picture.astype(np.float32) - around).max(-1) > APART
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        rows, columns = np.arange(picture.shape[0]), np.arange(picture.shape[1])
    cut = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = int(np.ceil(max(cut.shape[:2]) / inset))
    canvas = np.broadcast_to(np.clip(around + 0.5, 0, 255).astype(np.uint8), (side, side, 3)).copy()
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    canvas[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return canvas


def frechet(one: Floats, other: Floats) -> float:
    """Frechet distance between two (N, D) sets of features taken as normal (Heusel et al. 2017)."""
    means = one.mean(0).astype(np.float64) - other.mean(0)
    first, second = (np.cov(features.astype(np.float64), rowvar=False) for features in (one, other))
    middle = linalg.sqrtm(first @ second)
    return float(means @ means + np.trace(first + second - 2 * np.real(middle)))


def nearest(pictures: Floats, references: Floats) -> tuple[NDArray[np.int64], Floats]:
    """(place of the nearest reference (N,), root mean square difference (N,)) of flattened (N, D) and (M, D)."""
    squares = (references**2).sum(1)
    places, distances = [], []
    for start in range(0, len(pictures), 64):
        part = pictures[start : start + 64]
        gaps = (part**2).sum(1)[:, None] + squares - 2 * part @ references.T
        places.append(gaps.argmin(1))
        distances.append(np.sqrt(np.maximum(gaps.min(1), 0) / pictures.shape[1]))
    return np.concatenate(places), np.concatenate(distances)
