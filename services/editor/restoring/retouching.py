"""Skin, spots, eyes, teeth and light of one face. Sizes are shares of the face's, so that resolution makes no odds.

What is changed is worked out on a copy of at most 1000 pixels and added to the picture: finer texture than that is
never touched. Arrays are CIE L*a*b* float32, L* 0..100.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.guided import guided
from services.editor.seeing import face_regions as regions
from services.editor.seeing.face_regions import FaceWindow

_ROWS = 256
# Frequency bands: finer than _PORES is texture and stays; coarser than _FORM is the shape of the face and stays.
_PORES, _FORM = 0.006, 0.06
# Differences of L* well above this are edges, not blotches.
_EDGE = 8.0
_SPOT_SIZES = (0.007, 0.011, 0.017)
_LARGEST_SPOT = 0.05
# How far a spot differs from what is around it, in L* or a*, at full and at no strength.
_SPOT_LIMITS = (1.6, 5.0)
# Darker than this and not red: a mole, which belongs to the person.
_MOLE, _RED = 16.0, 3.0
_LIGHT_SIZE = 0.16


@dataclass(frozen=True)
class Amounts:
    """How much of each, 0 to 1."""

    skin: float
    blemishes: float
    eyes: float
    teeth: float
    relight: float


def retouch(picture: Pixels, window: FaceWindow, amounts: Amounts) -> int:
    """Retouches the face in place of (H, W, 3|4) `picture`; gives the number of spots healed."""
    part = picture[window.rows, window.columns]
    small, window = regions.worked_on(part, window)
    change, spots = _change(small, window, amounts)
    _add(part, change)
    return spots


def _change(pixels: Pixels, window: FaceWindow, amounts: Amounts) -> tuple[Floats, int]:
    """(h, w, 3) float32: what to add to L*, a*, b*; and the number of spots that are healed."""
    before = _lab(pixels)
    after = before.copy()
    skin = regions.skin(pixels, window)
    spots = 0
    if amounts.blemishes:
        spots = _heal(after, skin, window.size, amounts.blemishes)
    if amounts.skin:
        _smooth(after, skin, window.size, amounts.skin)
    if amounts.relight:
        _relight(after, skin, window, amounts.relight)
    if amounts.eyes:
        _brighten_eyes(after, window, amounts.eyes)
    if amounts.teeth:
        shown = amounts.teeth * regions.teeth(pixels, window)
        after[..., 0] += 9 * shown * _room(after[..., 0])
        after[..., 2] -= 0.75 * shown * after[..., 2].clip(0, None)
        after[..., 1] -= 0.4 * shown * after[..., 1].clip(0, None)
    return after - before, spots


def _smooth(lab: Floats, skin: Mask, size: float, amount: float) -> None:
    """Evens blotches, and colour more than light; texture and the face's form stay (frequency separation)."""
    radius = max(2, round(_FORM * size))
    for channel, strength in enumerate((0.85, 0.9, 0.9)):
        plane = lab[..., channel]
        form = guided(plane, plane, radius, _EDGE**2 if channel == 0 else (_EDGE * 0.75) ** 2)
        detail = plane - form
        blotches = _blurred(detail, max(0.6, _PORES * size))
        plane -= amount * strength * skin * blotches


def _heal(lab: Floats, skin: Mask, size: float, amount: float) -> int:
    """Fills spots with the tones around them; gives their number."""
    chosen = _spots(lab, skin, size, amount)
    count, _ = cv2.connectedComponents(chosen)
    if count < 2:
        return 0
    hole = cv2.dilate(chosen, _round(0.012 * size))
    soft = _blurred(hole.astype(np.float32), max(0.6, 0.004 * size))
    around = ((hole == 0) & (skin > 0.3)).astype(np.float32)
    for channel in range(3):
        plane = lab[..., channel]
        filled = _mean_of(plane, around, 0.02 * size)
        if channel == 0:  # Pores go on over the spot; of its colour nothing may be left.
            filled += plane - _blurred(plane, max(0.6, 0.004 * size))
        plane += soft * skin * (filled - plane)
    return count - 1


def _spots(lab: Floats, skin: Mask, size: float, amount: float) -> Pixels:
    """(h, w) uint8, 1 on small round places that are darker or redder than the skin around them; not on moles.

    Each size, and dark and red, are looked at apart: a spot beside a crease would else be one long mark with it.
    """
    firm = cv2.erode((skin > 0.6).astype(np.uint8), _round(0.012 * size))
    weight = firm.astype(np.float32)
    limit = _SPOT_LIMITS[1] + (_SPOT_LIMITS[0] - _SPOT_LIMITS[1]) * amount
    chosen = np.zeros(skin.shape, np.uint8)
    for share in _SPOT_SIZES:
        fine, wide = max(0.6, share * size), max(1.8, 3 * share * size)
        darker = _mean_of(lab[..., 0], weight, wide) - _blurred(lab[..., 0], fine)
        redder = _blurred(lab[..., 1], fine) - _mean_of(lab[..., 1], weight, wide)
        for difference in (darker, 1.3 * redder):
            marked = ((difference > limit) & (firm > 0)).astype(np.uint8)
            count, parts, stats, _ = cv2.connectedComponentsWithStats(marked)
            for index in range(1, count):
                if not _is_round(stats[index], _LARGEST_SPOT * size):
                    continue
                left, top, width, height = stats[index, :4]
                around = (slice(top, top + height), slice(left, left + width))
                place = parts[around] == index
                is_mole = float(darker[around][place].max()) > _MOLE and float(redder[around][place].max()) < _RED
                if not is_mole:
                    chosen[around][place] = 1
    return chosen


def _is_round(stats: np.ndarray[Any, Any], most: float) -> bool:
    """Whether a connected part, as OpenCV counts it, is no wider than `most` and about as wide as high."""
    keys = (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA)
    width, height, area = (int(stats[key]) for key in keys)
    return max(width, height) <= min(most, 2.5 * min(width, height)) and area >= 0.45 * width * height


def _relight(lab: Floats, skin: Mask, window: FaceWindow, amount: float) -> None:
    """Brings the light of the face's halves together; what is no face, such as hair, stays as it is."""
    spread = _LIGHT_SIZE * window.size
    level = _mean_of(lab[..., 0], skin, spread)
    sure = skin > 0.5
    if not sure.any():
        return
    aim = float(np.percentile(level[sure], 60))
    inside = regions.region(window, regions.OVAL, soft=0.02) * np.maximum(skin, regions.features(window))
    lab[..., 0] += amount * 0.7 * _blurred(inside, 0.02 * window.size) * (aim - level).clip(-6, 18)


def _brighten_eyes(lab: Floats, window: FaceWindow, amount: float) -> None:
    """Whites whiter, irises clearer; lashes and lids stay."""
    for ring in regions.EYES:
        eye = regions.region(window, ring, soft=0.004)
        inside = eye > 0.5
        if inside.sum() < 8:
            continue
        light, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
        dark, bright = (float(value) for value in np.percentile(light[inside], (10, 90)))
        if bright - dark < 8:
            continue
        level = ((light - dark) / (bright - dark)).clip(0, 1)
        white = eye * level**1.5 * ((28 - chroma) / 14).clip(0, 1)
        iris = eye * (1 - level) * level * 4
        lab[..., 0] += amount * (9 * white + 5 * iris) * _room(light)
        lab[..., 1] -= amount * 0.6 * white * lab[..., 1]
        lab[..., 2] -= amount * 0.5 * white * lab[..., 2]


def _add(part: Pixels, change: Floats) -> None:
    """Adds a change, at whatever size it is, to the colours of (h, w, 3|4); where it is nothing, not a bit changes."""
    height, width = part.shape[:2]
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        if change.shape[:2] == (height, width):
            here = change[rows]
        else:
            # The band's own part of the enlarged change: from the middles of its pixels.
            y, x = np.mgrid[rows.start : rows.stop, 0:width].astype(np.float32)
            to_y, to_x = change.shape[0] / height, change.shape[1] / width
            x, y = (x + 0.5) * to_x - 0.5, (y + 0.5) * to_y - 0.5
            here = np.asarray(cv2.remap(change, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
        touched = np.abs(here).max(axis=2) > 0.02
        if touched.any():
            colors = np.ascontiguousarray(part[rows, :, :3])
            done = cv2.cvtColor(_lab(colors) + here, cv2.COLOR_LAB2RGB)
            part[rows, :, :3][touched] = np.rint(done[touched].clip(0, 1) * 255)


def _room(light: Floats) -> Floats:
    """How much lighter a place may become: all of it up to L* 65, nothing at white."""
    room: Floats = ((100 - light) / 35).clip(0, 1)
    return room


def _lab(pixels: Pixels) -> Floats:
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _blurred(plane: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _mean_of(plane: Floats, weight: Mask, sigma: float) -> Floats:
    """The mean around each place of what has weight; the plane itself where nothing has."""
    total = _blurred(weight, sigma)
    mean = _blurred(plane * weight, sigma) / np.maximum(total, 1e-6)
    return np.where(total > 1e-3, mean, plane).astype(np.float32)


def _round(radius: float) -> np.ndarray[Any, Any]:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
