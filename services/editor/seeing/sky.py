"""The sky of a photograph, or that there is none to be seen: by its place, its calm and its colour."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from diptych.images import Mask, Pixels
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, Floats, to_oklab
from services.editor.pixels.guided import guided
from services.editor.pixels.resampling import resample

Seen = NDArray[np.bool_]

# Skies hold nothing fine: they are looked for at this many pixels on the longer side.
_SIDE = 320
# The steps of lightness, per pixel of that size, that may end a sky from above; the best is found for each picture.
_STEPS = np.geomspace(0.01, 0.12, 14)
# Parts of a picture smaller than this are neither sky nor ground; of the upper edge, a sky has at least the second
# share: a wall or a backdrop beside something else has less, as has a strip of sky between houses.
_LEAST_PART, _LEAST_TOP = 0.03, 0.7
# A sky ends above the lower edge but for this share of it.
_MOST_BOTTOM = 0.1
# A horizon is a step of colour, from one row to a few below, along this share of what seemed sky,
# where that is this wide.
_HORIZON, _ALONG, _LEAST_ROW, _ROWS = 0.025, 0.6, 0.12, 3
# Hues of blue, degrees in Oklab, and the saturation from which they count.
_BLUE, _LEAST_BLUE = (-140.0, -60.0), 0.012
# A sky without colour is this light, and so much lighter than what is below; paper and studio walls are all one tone.
_LIGHT, _LIGHTER, _ONE_TONE, _WARM = 0.82, 0.2, 0.004, 0.006
# A sky is calm: its middle step of colour, per pixel, is no more than this.
_CALM = 0.006
# How far a colour may be from the sky around it and still be seen between branches.
_ALIKE = 0.05


def find_sky(pixels: Pixels) -> tuple[Mask, float]:
    """(H, W) 0..1, soft at edges, and how sure it is, 0 to 1; 0 and an empty mask where no sky can be believed.

    Found from above, column by column (after Shen and Wang 2013, "Sky Region Detection in a Single Image for
    Autonomous Ground Robot Navigation"), cut at the horizon, then judged by place, calm and colour. A sunset without
    blue above, a strip of sky between houses and a picture that is all sky are not believed.
    """
    height, width = pixels.shape[:2]
    nothing = np.zeros((height, width), np.float32)
    scale = min(1.0, _SIDE / max(height, width))
    small = resample(np.ascontiguousarray(pixels[..., :3]), max(8, round(width * scale)), max(8, round(height * scale)))
    lab = to_oklab(LINEAR_OF_BYTE[small])
    steps = _steps(lab)
    region = _from_above(lab, steps)
    if region is None:
        return nothing, 0.0
    region = _above_horizon(lab, region)
    score = _belief(lab, steps, region)
    if score <= 0:
        return nothing, 0.0
    region = _between(lab, steps, region)
    plane = np.asarray(
        cv2.resize(region.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    light = np.asarray(pixels[..., :3].mean(axis=2, dtype=np.float32) / 255, np.float32)
    mask = guided(light, plane, max(2, round(3 / scale)), 3e-4)
    # What is hardly selected is not, what is nearly is: edits of the sky leave the rest alone.
    return ((mask - 0.1) / 0.5).clip(0, 1).astype(np.float32), score


def _steps(lab: Floats) -> Floats:
    """(h, w) how much colour changes from pixel to pixel."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0)
    across: Any = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    down: Any = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(np.sqrt((across**2 + down**2).sum(axis=2)), np.float32)


def _from_above(lab: Floats, steps: Floats) -> Seen | None:
    """(h, w) bool: each column down to its first step; steps of the size that parts the picture best."""
    height, _ = steps.shape
    rows = np.arange(height)[:, np.newaxis]
    best: Seen | None = None
    most = 0.0
    for step in _STEPS:
        ends = steps > step
        region = rows < np.where(ends.any(0), ends.argmax(0), height)
        if not _LEAST_PART < region.mean() < 1 - _LEAST_PART:
            continue
        above, below = (np.cov(lab[part].T * 10) for part in (region, ~region))
        spread = 2 * np.linalg.det(above) + np.linalg.det(below)
        spread += 2 * np.linalg.eigvalsh(above)[-1] + np.linalg.eigvalsh(below)[-1]
        if 1 / spread > most:
            best, most = region, 1 / spread
    return best


def _above_horizon(lab: Floats, region: Seen) -> Seen:
    """The region down to the first row along which colour steps nearly everywhere in it."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.5, sigmaY=0.5)
    change = np.sqrt(((smooth[_ROWS:] - smooth[:-_ROWS]) ** 2).sum(axis=2)) > _HORIZON
    inside = region[_ROWS:] & region[:-_ROWS]
    along = (change & inside).sum(1) >= _ALONG * np.maximum(inside.sum(1), _LEAST_ROW * region.shape[1])
    if not along.any():
        return region
    result = region.copy()
    result[int(along.argmax()) + 2 :] = False
    return result


def _belief(lab: Floats, steps: Floats, region: Seen) -> float:
    """How sure it is that the region is sky, 0 to 1: it is above, ends above the bottom, is calm, and so coloured."""
    if region.mean() < _LEAST_PART or region[1].mean() < _LEAST_TOP or region[-1].mean() > _MOST_BOTTOM:
        return 0.0
    if np.median(steps[region]) > _CALM:
        return 0.0
    rows = np.flatnonzero(region.any(1))
    upper = region.copy()
    upper[rows[0] + max(2, len(rows) // 3) :] = False
    light, red, blue = np.median(lab[upper], axis=0)
    hue, colorful = np.degrees(np.arctan2(blue, red)), float(np.hypot(red, blue))
    sure = float(np.clip(region[1].mean(), 0, 1))
    if colorful >= _LEAST_BLUE and _BLUE[0] <= hue <= _BLUE[1]:
        return sure
    ground = float(np.median(lab[~region][:, 0]))
    one_tone = float(lab[region][:, 0].std()) < _ONE_TONE
    if light < _LIGHT or light - ground < _LIGHTER or one_tone or blue > _WARM:
        return 0.0
    return 0.6 * sure


def _between(lab: Floats, steps: Floats, region: Seen) -> Seen:
    """The region with what shows of it between branches and masts, as far down as it goes nearby."""
    height, width = region.shape
    known = region.astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), width / 12)
    around = (
        cv2.GaussianBlur(lab * known[..., np.newaxis], (0, 0), width / 12) / np.maximum(weight, 1e-4)[..., np.newaxis]
    )
    alike = np.abs(lab - around).sum(axis=2) < _ALIKE
    ends = np.where(region.any(0), height - region[::-1].argmax(0), 0).astype(np.float32)
    reach = np.ones((1, 2 * (width // 8) + 1), np.uint8)
    deep: Any = cv2.dilate(ends[np.newaxis], reach)
    above = np.arange(height)[:, np.newaxis] < deep
    # Steps were felt a pixel or two early.
    beside = cv2.dilate(region.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    found = region | (alike & beside) | (alike & above & (weight > 1e-3) & (steps < _STEPS[-1]))
    # Specks are no sky; nor are specks in it ground, but for birds.
    mended: Any = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    whole: Seen = (mended > 0) | region
    return whole
