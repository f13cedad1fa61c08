"""Holes in a picture continued from what is around them: by pieces of it, or by a network that the user added."""

import asyncio
from dataclasses import dataclass

import cv2
import numpy as np
import patchmatch

from diptych.engines.base import TensorSpec
from diptych.errors import FailedPrecondition
from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.filling.completion import METHOD, completed, reduced
from services.editor.filling.harmonize import grain_of, with_grain
from services.editor.models import INPAINTING, OpenModel
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.dominant_shifts import Hole
from services.editor.pixels.resampling import resample

# What a network or PatchMatch makes is bounded by the pixels that must be made and by the window looked at.
_MOST_HOLE, _MOST_SIDE = 150_000, 1536
# Holes of no more pixels have no structure of their own: patches fill them as well as pieces, and sooner.
_SMALL_HOLE = 4000
# The patches compared span 2 * this + 1 pixels.
_PATCH_RADIUS = 4
# How much of the surroundings is looked at, as a share of the hole's longer side, and at least, in pixels.
_SURROUNDINGS, _LEAST_SURROUNDINGS = 0.75, 96
# Sides that a network without a fixed size takes are multiples of this.
_MULTIPLE = 8


@dataclass(frozen=True)
class _Window:
    """The part of the picture that is looked at, and the scale at which it is worked on."""

    rows: slice
    columns: slice
    width: int
    height: int


async def continued(colors: Pixels, hole: Hole, context: EditContext, model: str = "") -> Pixels:
    """(H, W, 3): what is around carried on where `hole`, (H, W) bool, is; bit for bit the same elsewhere.

    `model` names a network for inpainting; empty means the first such network of this machine, else pieces of the
    picture itself.
    """
    if not hole.any():
        return colors
    window = _window(hole)
    part = np.ascontiguousarray(colors[window.rows, window.columns])
    inner = np.ascontiguousarray(hole[window.rows, window.columns])
    name = model or await asyncio.to_thread(context.models.first_of, INPAINTING)
    if name:
        opened = await context.model(name)
        small, small_hole = await context.compute(reduced, part, inner, *_network_size(opened, window))
        made = await _by_network(small, small_hole, opened, context)
    else:
        is_small = np.count_nonzero(inner) <= _SMALL_HOLE
        whole = None if is_small else await context.compute(completed, part, inner)
        if whole is not None:
            context.method(METHOD, "numpy")
            return await context.compute(_put, colors, whole, inner, window)
        # Or hardly anything is known, and no piece reaches all of the hole.
        context.method("patchmatch", "pypatchmatch")
        picture, hole_of_it = await context.compute(reduced, part, inner, window.width, window.height)
        made = await context.compute(_by_patches, picture, hole_of_it)
    return await context.compute(_merged, colors, part, inner, window, made)


def _window(hole: Hole) -> _Window:
    height, width = hole.shape
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    longer = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1
    margin = max(_LEAST_SURROUNDINGS, round(_SURROUNDINGS * longer))
    top, bottom = max(int(rows[0]) - margin, 0), min(int(rows[-1]) + margin + 1, height)
    left, right = max(int(columns[0]) - margin, 0), min(int(columns[-1]) + margin + 1, width)
    size = int(np.count_nonzero(hole))
    share = min(1.0, _MOST_SIDE / max(bottom - top, right - left), float(np.sqrt(_MOST_HOLE / size)))
    return _Window(
        slice(top, bottom),
        slice(left, right),
        max(1, round((right - left) * share)),
        max(1, round((bottom - top) * share)),
    )


def _by_patches(picture: Pixels, hole: Hole) -> Pixels:
    """The picture with its hole filled. PatchMatch (Barnes et al. 2009), coarse to fine; the same every time."""
    if hole.all():
        return picture
    return patchmatch.inpaint(picture, hole, patch_size=min(_PATCH_RADIUS, max(1, min(picture.shape[:2]) // 4)))


def _merged(colors: Pixels, part: Pixels, hole: Hole, window: _Window, made: Pixels) -> Pixels:
    """The picture with what was made in its hole, at full resolution, and with the grain of what is around."""
    height, width = part.shape[:2]
    reduced = made.shape[:2] != (height, width)
    if reduced:
        made = resample(made, width, height)
        around = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=24) > 0
        grain = grain_of(part, (around & ~hole).astype(np.float32))
        own = grain_of(made, hole.astype(np.float32))
        made = with_grain(made, float(np.sqrt(max(grain**2 - own**2, 0))))
    return _put(colors, made, hole, window)


def _put(colors: Pixels, made: Pixels, hole: Hole, window: _Window) -> Pixels:
    """(H, W, 3): what was made in the hole, and the very same elsewhere."""
    result = colors.copy()
    target = result[window.rows, window.columns]
    target[hole] = made[hole]
    return result


def _network_size(opened: OpenModel, window: _Window) -> tuple[int, int]:
    """Width and height at which a network sees the window."""
    picture, _ = _inputs(opened)
    height, width = picture.shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        return width, height
    multiple = int(opened.manifest.defaults.get("multiple", _MULTIPLE))
    side = int(opened.manifest.defaults.get("side", 512))
    share = min(1.0, side / max(window.width, window.height))
    return _fitting(window.width * share, multiple), _fitting(window.height * share, multiple)


def _fitting(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)


async def _by_network(picture: Pixels, hole: Hole, opened: OpenModel, context: EditContext) -> Pixels:
    """What the network makes of the picture; its answer outside of the hole is not used."""
    image, mask = _inputs(opened)
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32) / 255
    row: dict[str, Floats] = {image.name: planes, mask.name: hole[np.newaxis].astype(np.float32)}
    answers = await opened.run_row(row, context.deadline)
    answer = next(iter(answers.values()))
    scale = 255 / float(opened.manifest.defaults.get("scale", 1.0))
    made: Pixels = np.rint((answer * scale).clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(np.where(hole[..., np.newaxis], made, picture))


def _inputs(opened: OpenModel) -> tuple[TensorSpec, TensorSpec]:
    """The inputs for the picture and for the hole; FailedPrecondition for a graph with others."""
    by_channels = {spec.shape[1]: spec for spec in opened.engine.inputs if len(spec.shape) == 4}
    if len(opened.engine.inputs) != 2 or 3 not in by_channels or 1 not in by_channels:
        taken = ", ".join(str(spec) for spec in opened.engine.inputs)
        raise FailedPrecondition(
            f"model {opened.manifest.name} takes {taken}; models for {INPAINTING} take a picture (N, 3, H, W) and a "
            "mask (N, 1, H, W)",
            reason="UNSUPPORTED_GRAPH",
        )
    return by_channels[3], by_channels[1]
