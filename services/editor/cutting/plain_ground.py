"""Mattes on a ground of one colour, mended: there the ground is known, and a network's holes can be seen as such."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.cutting.enclosed import Grid, enclosed_parts, is_figure, least_area, without_specks
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.edges import bleed

# Euclidean distances in 8-bit sRGB: as good as the ground, from a clean one to a noisy one; certainly not the ground,
# and the same, times the first, for a flat area of at least this share of the picture.
_CLEANEST, _NOISIEST = 6.0, 18.0
_OTHER, _FLAT_OTHER, _FLAT_AREA = 48.0, 1.6, 1e-3
# With more of the picture than this uneven and near the ground's colour, the ground is noisy.
_UNCLEAN = 4e-3
# Share of the picture's rim that must have the ground's colour, where a figure may stand on the lower edge: of a
# drawing, and of what may be a photograph.
_PLAIN_RIM = {True: 0.7, False: 0.85}
# Of a matte: nothing left. Of a pixel's distance from the ground, against its neighbours': none of the ground in it.
_GONE, _WHOLE = 0.05, 0.9
# Blur of ragged edges, pixels of a picture with sides of 512.
_EVEN = 0.8
# Of a matte: the network has no doubt.
_SURE = 0.9
# Widest gap in an outline that still encloses, as a share of the longer side.
_GAP = 0.04
# Rough drawings, as small networks paint them, are no larger; of larger pictures only clean drawings are mended: a
# photograph's highlights may be as bright as its ground, and are the network's to judge.
_MOST_ROUGH = 512
# Shadows and haze on the ground change by no more than this from pixel to pixel at this size, and stay this near to it.
_SOFT_STEP, _SOFT_SIDE, _SOFT_REACH = 3, 384, 90.0


@dataclass(frozen=True)
class _Ground:
    """`distance` (H, W) float32 from the ground's colour; up to `same` it is the ground."""

    distance: Floats
    same: float


def mend(pixels: Pixels, matte: Mask, *, drawn: bool) -> Mask | None:
    """The matte of (H, W, 3) with what differs from the ground filled in and the ground itself cleared.

    `drawn`: the picture is surely a drawing, else shadows that the network left out stay out. None where the rim is not
    of one colour, or where the picture may well be a photograph: then nothing is known that the network did not see.
    """
    ground = _ground(pixels, drawn)
    if ground is None:
        return None
    distance = ground.distance
    clean = ground.same == _CLEANEST
    around = _around(pixels, 2 if clean else 4)
    is_ground = distance <= ground.same
    flat = _flat(ground) if drawn else np.zeros_like(is_ground)
    certain = flat | _certain(pixels, ground, drawn)
    # A rough outline has gaps.
    bodies = np.zeros_like(is_ground)
    for part in enclosed_parts(is_ground, gap=0 if drawn else round(_GAP * max(matte.shape))):
        figure = is_figure(matte, part, certain)
        is_ground[part.window][part.inside] = not figure
        bodies[part.window][part.inside] = figure
    at_edge = cv2.dilate(is_ground.astype(np.uint8), around) > 0
    # An edge pixel mixes figure and ground: its distance against the nearest whole one is the figure's share.
    share = np.where(at_edge, distance / np.maximum(cv2.dilate(distance, around), 1), 1).astype(np.float32)
    share = np.maximum(share, _share_of_flat(distance, flat))
    # Between a body of the ground's colour and its outline there is no ground.
    beside_ground = cv2.dilate(is_ground.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    share[(cv2.dilate(bodies.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~beside_ground] = 1
    certain |= bodies
    filled = cv2.dilate(certain.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    mended = np.where(filled & ~is_ground, np.maximum(matte, share), matte)
    if not drawn:
        # What is as bright as a bright ground may still be the thing: well inside of what the network saw, it is.
        inside = cv2.erode((matte >= _SURE).astype(np.uint8), around, borderValue=1) > 0
        is_ground &= ~inside
        share[inside] = 1
    # And much more than its share it cannot be: soft edges end where the ground begins.
    mended = np.minimum(mended, 2 * share)
    # Specks of the ground may be highlights of the figure.
    mended[without_specks(is_ground, least_area(is_ground))] = 0
    # Beside the ground the share is near the truth, and a network's edge lies too far out.
    by_ground = cv2.dilate((mended < _GONE).astype(np.uint8), _around(pixels, 2)) > 0
    result: Mask = np.where(by_ground, np.minimum(mended, share / _WHOLE), mended).astype(np.float32)
    # Haze and noise leave a ragged edge.
    return result if clean else np.asarray(cv2.GaussianBlur(result, (0, 0), _EVEN * max(1, max(matte.shape) / 512)))


def inner_colors(pixels: Pixels, matte: Mask, *, drawn: bool) -> Pixels | None:
    """(H, W, 3) of a drawing: at the edges of the subject the colours of its inside, which the ground never reached.

    None where the ground is not of one colour.
    """
    ground = _ground(pixels, drawn)
    if ground is None:
        return None
    around = _around(pixels, 2)
    share = ground.distance / np.maximum(cv2.dilate(ground.distance, around), 1)
    seen = matte >= _GONE
    mixed = seen & (cv2.dilate((~seen).astype(np.uint8), around) > 0) & (share < _WHOLE)
    core = seen & ~mixed
    # A thin line has no inside: it keeps what it has.
    mixed &= cv2.dilate(core.astype(np.uint8), around) > 0
    spread = bleed(np.dstack([pixels, np.where(core, 255, 0).astype(np.uint8)]))
    return np.where(mixed[..., np.newaxis], spread, pixels)


def _ground(pixels: Pixels, drawn: bool) -> _Ground | None:
    if not drawn and max(pixels.shape[:2]) > _MOST_ROUGH:
        return None
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(np.float32)
    color: Floats = np.median(rim, axis=0)
    away = np.sqrt(np.square(rim - color).sum(axis=1))
    alike = away <= _NOISIEST
    if float(alike.mean()) < _PLAIN_RIM[drawn]:
        return None
    distance: Floats = np.sqrt(np.square(pixels.astype(np.float32) - color).sum(axis=2))
    return _Ground(distance, _CLEANEST if _is_clean(distance) else _NOISIEST)


def _is_clean(distance: Floats) -> bool:
    """Whether nothing is nearly of the ground's colour but flat areas that are meant: no noise and no haze."""
    three = np.ones((3, 3), np.uint8)
    uneven = cv2.dilate(distance, three) - cv2.erode(distance, three) > 1
    return float((uneven & (distance > 0.5) & (distance < _NOISIEST)).mean()) < _UNCLEAN


def _certain(pixels: Pixels, ground: _Ground, drawn: bool) -> Grid:
    """(H, W) bool: what is certainly no ground, whatever the network says."""
    two = np.ones((2, 2), np.uint8)
    certain: Grid = cv2.morphologyEx((ground.distance > _OTHER).astype(np.uint8), cv2.MORPH_OPEN, two) > 0
    return certain if drawn else certain & ~_softly_reached(pixels, ground)


def _flat(ground: _Ground) -> Grid:
    """(H, W) bool: areas of one flat colour that is not the ground's: they are meant, however pale."""
    other = max(_FLAT_OTHER * ground.same, ground.same + 4)
    three = np.ones((3, 3), np.uint8)
    spread = cv2.dilate(ground.distance, three) - cv2.erode(ground.distance, three)
    flat = (ground.distance > other) & (spread <= 2)
    opened = cv2.morphologyEx(flat.astype(np.uint8), cv2.MORPH_OPEN, three) > 0
    return without_specks(opened, max(9, round(_FLAT_AREA * flat.size)))


def _share_of_flat(distance: Floats, flat: Grid) -> Floats:
    """(H, W) float32 0..1: how much of a pixel is of the palest flat area beside it; 0 where there is none."""
    none = np.float32(1e6)
    palest = cv2.erode(np.where(flat, distance, none), np.ones((5, 5), np.uint8))
    share: Floats = np.where(palest < none, (distance / np.maximum(palest, 1)).clip(0, 1), 0).astype(np.float32)
    return share


def _softly_reached(pixels: Pixels, ground: _Ground) -> Grid:
    """(H, W) bool: what is reached from the ground without any edge: its shadows and its haze."""
    height, width = ground.distance.shape
    share = min(1.0, _SOFT_SIDE / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small: Any = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
    far: Any = cv2.resize(ground.distance, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0])
    reached = np.zeros((size[1] + 2, size[0] + 2), np.uint8)
    reached[1:-1, 1:-1] = far > _SOFT_REACH
    step = (_SOFT_STEP,) * 3
    for x, y in ((0, 0), (size[0] - 1, 0), (0, size[1] - 1), (size[0] - 1, size[1] - 1)):
        if reached[y + 1, x + 1] == 0 and far[y, x] <= ground.same:
            cv2.floodFill(small, reached, (x, y), (0, 0, 0), step, step, cv2.FLOODFILL_MASK_ONLY | (2 << 8) | 4)
    soft = (reached[1:-1, 1:-1] == 2).astype(np.uint8)
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_NEAREST) > 0)


def _around(pixels: Pixels, times: int) -> np.ndarray:
    """The neighbourhood in which the edges of a drawing of this size are soft, so many times."""
    reach = times * max(2, max(pixels.shape[:2]) // 128)
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
