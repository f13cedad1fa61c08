"""Blurs what lies behind the subject, more where it is further away."""

import asyncio
from dataclasses import dataclass

import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.cutting.foreground import subject_colors
from services.editor.cutting.matting import DEFAULT_MODEL, box_of, find_subject
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.models import DEPTH
from services.editor.moving.layers import behind
from services.editor.pixels.edges import bleed
from services.editor.pixels.lens_blur import defocused
from services.editor.seeing.depth import find_depth

_MOST_RADIUS = 200.0
_DEFAULT_SHARE = 0.02
# Radii that are drawn, as shares of the full one; between them pixels are mixed.
_STEPS = (0.0, 0.25, 0.5, 1.0)
# A subject that comes this near to the lower edge, as a share of the height, is cut by it: all else is behind.
_STANDING_ROOM = 0.02
_ROWS = 256


@dataclass(frozen=True)
class Parameters:
    """`radius` in pixels, None for the default; `model` empty for the default."""

    radius: float | None
    model: str


def read(message: editor_pb2.BlurBackground, faults: Faults) -> Parameters:
    """The parameters."""
    radius = faults.number(message, "radius", 0, _MOST_RADIUS, 0) if message.HasField("radius") else None
    return Parameters(radius, message.model)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with its subject sharp and the rest out of focus; alpha stays."""
    radius = parameters.radius
    if radius is None:
        radius = min(_MOST_RADIUS, _DEFAULT_SHARE * max(image.shape[:2]))
    context.note(radius=radius, model=parameters.model or DEFAULT_MODEL)
    matte = await find_subject(image, context, parameters.model)
    context.progress(0.6)
    context.method("lens-blur", "opencv")
    if radius < 0.5:
        return image
    away = await _distance(image, matte, context)
    blurred = await context.compute(refocus, image, matte, radius, away)
    return blurred if context.selection is None else await context.compute(blend, image, blurred, context.selection)


async def _distance(image: Pixels, matte: Mask, context: EditContext) -> Mask:
    """How far all is from the plane in focus: as a model for depth sees it if there is one, else a guess."""
    models = await asyncio.to_thread(context.models.ready, DEPTH)
    if not models:
        return await context.compute(distance_behind, matte)
    depth = await find_depth(image, context, models[0])
    return await context.compute(distance_by_depth, depth, matte)


def refocus(image: Pixels, matte: Mask, radius: float, away: Mask) -> Pixels:
    """(H, W, 3|4): sharp where `matte` is 1, else blurred by up to `radius` pixels, as far as `away` 0..1 says."""
    # First of all, for of a large picture it needs most memory.
    front = subject_colors(image, matte)
    colors = np.ascontiguousarray(image[..., :3])
    # What the matte even grazes is mixed with the subject: it would bring a halo along.
    seen: Mask = np.subtract(1, matte, dtype=np.float32)
    seen[matte >= 0.1] = 0
    if image.shape[2] == 4:
        seen *= image[..., 3] / np.float32(255)
    levels = [colors, *(defocused(colors, seen, radius * step) for step in _STEPS[1:])]
    del seen
    result = image.copy()
    for top in range(0, image.shape[0], _ROWS):
        rows = slice(top, top + _ROWS)
        share = matte[rows, :, np.newaxis]
        behind = _between([level[rows] for level in levels], away[rows])
        result[rows, :, :3] = np.rint(front[rows] * share + behind * (1 - share))
    return result


def distance_behind(matte: Mask) -> Mask:
    """(H, W) 0..1: how far from the plane in focus each pixel is guessed to be, from where the subject is.

    A subject that stands in the picture stands on something: that is in focus at its foot and recedes upwards to the
    subject's own height, and less below. A subject that the lower edge cuts has everything behind it.
    """
    height, width = matte.shape
    box = box_of(matte)
    if box is None or box[3] >= height * (1 - _STANDING_ROOM):
        return np.ones_like(matte)
    left, top, right, foot = box
    reach = max(0.5 * (foot - top), 0.08 * height)
    y = np.arange(height, dtype=np.float32)[:, np.newaxis] + 0.5
    vertical = np.where(y < foot, (foot - y) / reach, (y - foot) / (1.4 * reach))
    x = np.arange(width, dtype=np.float32)[np.newaxis] + 0.5
    aside = np.maximum(np.maximum(left - x, x - right), 0) / max(width, height)
    far = np.hypot(vertical, aside).clip(0, 1)
    # Smooth at both ends.
    smooth: Mask = (far * far * (3 - 2 * far)).astype(np.float32)
    return smooth


def distance_by_depth(depth: Pixels, matte: Mask) -> Mask:
    """(H, W) 0..1 from depth, (H, W) uint8, near is bright: the difference from the subject's, 1 where it is greatest.

    Depth of this kind is one over the distance, and a lens blurs in proportion to just that.
    """
    subject = matte >= 0.5
    focus = float(np.median(depth[subject])) if subject.any() else float(depth.max())
    # A network's edges are soft: what is right behind the subject has the depth of what is beside it.
    seen = np.where(behind(matte), 0, 255).astype(np.uint8)
    ground = bleed(np.dstack([depth, depth, depth, seen]))[..., 0].astype(np.float32) if seen.any() else depth
    difference: Mask = np.abs(ground - np.float32(focus)).astype(np.float32)
    return difference / np.float32(max(float(difference.max()), 1.0))


def _between(levels: list[Pixels], depth: Mask) -> np.ndarray:
    """(h, w, 3) float32: the blurred pictures mixed so that each pixel has the blur of its depth."""
    result = levels[0].astype(np.float32)
    for low, high, level in zip(_STEPS, _STEPS[1:], levels[1:], strict=False):
        share = ((depth - low) / (high - low)).clip(0, 1)[..., np.newaxis]
        if share.any():
            result += (level - result) * share
    return result
