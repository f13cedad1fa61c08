"""The main subject of a picture as a soft mask."""

from typing import Any

import cv2
import numpy as np
from PIL import Image as PillowImage

from diptych.images import Mask, Pixels, flatten
from services.editor.context import EditContext
from services.editor.cutting.content import looks_drawn
from services.editor.cutting.matte_upsampling import WORTHWHILE, led_by_colors
from services.editor.cutting.plain_ground import mend
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.resampling import resample_plane

DEFAULT_MODEL = "isnet"
# A subject that fills less than this share of the picture is none.
_LEAST_SHARE = 1e-4
# Parts of a matte above this value are told apart; those smaller than both shares, of the picture and of the largest
# part, are specks.
_DOUBT = 0.1
_SPECK_SHARE, _SPECK_OF_LARGEST = 4e-4, 0.01


async def find_subject(pixels: Pixels, context: EditContext, model: str = "") -> Mask:
    """(H, W) float32, 1 where the main subject is. Transparent pixels are no subject."""
    opened = await context.model(model or DEFAULT_MODEL)
    defaults = opened.manifest.defaults
    side = opened.fixed_size[0] if opened.fixed_size is not None else int(defaults.get("side", 1024))
    mean, scale = float(defaults.get("mean", 0.0)), float(defaults.get("scale", 255.0))
    visible = await context.compute(_on_contrast, pixels)
    drawn = await context.compute(looks_drawn, visible)
    border = round(max(pixels.shape[:2]) * float(defaults.get("border", 0.0))) if drawn else 0
    planes = await context.compute(_enter, visible, side, border, mean, scale)
    answer = await opened.run(planes, context.deadline)
    matte = await context.compute(_leave, answer[0], pixels.shape[1], pixels.shape[0], border)
    ratio = max(pixels.shape[:2]) / side
    if not drawn and ratio >= WORTHWHILE:
        context.method("color-led-edge", "opencv")
        matte = await context.compute(led_by_colors, visible, matte, ratio)
    refined = await context.compute(lambda: mend(visible, matte, drawn=drawn))
    if refined is not None:
        context.method("plain-ground", "opencv")
        matte = refined
    if pixels.shape[2] == 4:
        matte = matte * opacity(pixels)
    return matte


async def subject_box(pixels: Pixels, context: EditContext) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of what is visible, or of the main subject when all is; None when there is nothing."""
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 128:
        context.method("alpha-box", "numpy")
        return box_of(opacity(pixels))
    return box_of(await find_subject(pixels, context))


def opacity(pixels: Pixels) -> Mask:
    """(H, W) float32 0..1: the alpha of (H, W, 4)."""
    share: Mask = pixels[..., 3].astype(np.float32) / np.float32(255)
    return share


def box_of(mask: Mask) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the part of a mask that is at least half selected; None when there is too little."""
    return extent(mask) if (mask >= 0.5).mean() >= _LEAST_SHARE else None


def extent(mask: Mask) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the part of a mask that is at least half selected, however small; None if none is."""
    selected = mask >= 0.5
    if not selected.any():
        return None
    rows, columns = np.flatnonzero(selected.any(1)), np.flatnonzero(selected.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _on_contrast(pixels: Pixels) -> Pixels:
    """The picture on a ground: what is already cut out is laid on white, or on black if it is bright."""
    if pixels.shape[2] == 3:
        return pixels
    seen = pixels[pixels[..., 3] > 127][:, :3]
    bright = seen.size > 0 and float(seen.mean()) > 170
    return flatten(pixels, (0, 0, 0) if bright else (255, 255, 255))


def _without_specks(matte: Floats) -> Floats:
    """The matte without what is small and lies apart: a network's doubts, not a subject."""
    found = (matte > _DOUBT).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    if count <= 2:
        return matte
    areas = stats[1:, cv2.CC_STAT_AREA]
    speck = areas < min(_SPECK_SHARE * matte.size, _SPECK_OF_LARGEST * int(areas.max()))
    unwanted = np.concatenate([[False], speck])[labels]
    # The soft rim of a speck goes with it.
    around = cv2.dilate(unwanted.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return np.where(around & (unwanted | (found == 0)), 0, matte).astype(np.float32)


def _enter(pixels: Pixels, side: int, border: int, mean: float, scale: float) -> Floats:
    """(3, side, side) float32: the picture, its edge repeated outwards by `border` pixels, squeezed to a square."""
    height, width = pixels.shape[:2]
    share = side / (max(height, width) + 2 * border)
    # Scaling first keeps a large picture's border from costing memory.
    inner_width, inner_height = max(1, round(width * share)), max(1, round(height * share))
    # A large picture is halved first as often as that does not show.
    picture = PillowImage.fromarray(np.ascontiguousarray(pixels[..., :3]))
    small = np.asarray(picture.resize((inner_width, inner_height), PillowImage.Resampling.LANCZOS, reducing_gap=2))
    x, y = round(border * share), round(border * share)
    widened = cv2.copyMakeBorder(small, y, y, x, x, cv2.BORDER_REPLICATE) if border else small
    square = cv2.resize(widened, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(((square.astype(np.float32) - mean) / scale).transpose(2, 0, 1))


def _leave(matte: Floats, width: int, height: int, border: int) -> Mask:
    """(height, width) float32 0..1: the square answer without its border and specks, at the picture's size."""
    matte = _without_specks(matte)
    side = matte.shape[0]
    share = side / (max(height, width) + 2 * border)
    inner_width, inner_height = max(1, round(width * share)), max(1, round(height * share))
    x, y = round(border * share), round(border * share)
    squeezed = cv2.resize(matte, (inner_width + 2 * x, inner_height + 2 * y), interpolation=cv2.INTER_LINEAR)
    inner: Any = squeezed[y : y + inner_height, x : x + inner_width]
    if width * height > inner.size:
        sized = cv2.resize(inner, (width, height), interpolation=cv2.INTER_CUBIC)
    else:
        sized = resample_plane(inner, width, height)
    # Networks of this kind leave a veil of a percent or two where nothing is.
    cleared: Mask = np.subtract(sized, np.float32(0.02), dtype=np.float32)
    del sized  # Of a large picture it is 100 MB.
    for step, value in ((np.divide, 0.96), (np.maximum, 0), (np.minimum, 1)):
        step(cleared, np.float32(value), out=cleared)
    return cleared
