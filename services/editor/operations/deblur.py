"""Sharpness back, as much as the picture's own edges lack."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.models import OpenModel
from services.editor.operations.denoise import merge, needed_pixels, visible_colors
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.noise import Noise, measure_noise
from services.editor.pixels.smooth_parts import half, only_noise
from services.editor.pixels.tiling import count_tiles, run_tiled
from services.editor.restoring.deblurring import Deconvolution, measure_blur, sigmas
from services.editor.restoring.denoising import DEFAULT_MODEL, TileProgress, denoise_planes, denoise_smooth

# Large tiles: what they overlap by is worked on in every round.
_OVERLAP, _TILES = 48, 2
_NEUTRAL = 0.5
# Blurs outside are taken for the nearest of these, pixels: below, a picture is sharp; above, what is lost is lost.
_LEAST_BLUR, _MOST_BLUR = 0.6, 3.0
# At full strength the blur is taken for this much wider than it was measured.
_WIDER = 1.35
# From this blur on, nothing finer than two pixels is left to be found: half the size gives as good a result or a better
# one, at a quarter of the cost. There the blur is half as wide, but for what halving itself adds (a box of two pixels).
_HALF_FROM, _HALVING = 1.7, 0.25
# Rounding to whole numbers is noise, too.
_LEAST_NOISE = 1.2
_LEAST_SIDE = 128


@dataclass(frozen=True)
class Parameters:
    """`strength` 0.5 takes back what was measured; less is a share of it, more sharpens beyond. `model` denoises."""

    strength: float
    model: str


def read(message: editor_pb2.Deblur, faults: Faults) -> Parameters:
    """The parameters."""
    return Parameters(faults.number(message, "strength", 0, 1, _NEUTRAL), message.model or DEFAULT_MODEL)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture sharpened; alpha stays, and so does every pixel outside the selection."""
    context.note(strength=parameters.strength, model=parameters.model)
    noise = (await context.compute(measure_noise, image)).at_least(_LEAST_NOISE)
    blur = await context.compute(measure_blur, image, noise.typical)
    if parameters.strength == 0 or blur is None:
        return image
    beyond = max(0.0, parameters.strength - _NEUTRAL) / (1 - _NEUTRAL)
    blur = min(max(blur, _LEAST_BLUR), _MOST_BLUR) * (1 + (_WIDER - 1) * beyond)
    model = await context.model(parameters.model)
    context.method("half-quadratic-splitting", "opencv")
    colors = await context.compute(visible_colors, image)
    needed = needed_pixels(image, context.selection)
    if blur >= _HALF_FROM and min(image.shape[:2]) >= _LEAST_SIDE:
        sharp = await _at_half(colors, blur, model, context, needed)
    else:
        sharp = await _sharpened(colors, blur, noise, model, context, needed)
    share = min(1.0, parameters.strength / _NEUTRAL)
    return await context.compute(merge, image, sharp, share, context.selection)


async def _at_half(colors: Pixels, blur: float, model: OpenModel, context: EditContext, needed: Mask | None) -> Pixels:
    """The picture sharpened at half the size, and enlarged."""
    small = await context.compute(half, colors)
    noise = (await context.compute(measure_noise, small)).at_least(_LEAST_NOISE / 2)
    narrower = math.sqrt(blur**2 + _HALVING) / 2
    wanted = None if needed is None else half(needed)
    sharp = await _sharpened(small, narrower, noise, model, context, wanted)
    return await context.compute(_enlarged, sharp, colors.shape[1], colors.shape[0])


def _enlarged(picture: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


async def _sharpened(
    colors: Pixels, blur: float, noise: Noise, model: OpenModel, context: EditContext, needed: Mask | None
) -> Pixels:
    height, width = colors.shape[:2]
    tile = _TILES * context.tile
    overlap = min(_OVERLAP, tile // 2)
    progress = TileProgress(context.progress, count_tiles(width, height, tile=tile, overlap=overlap))
    told = noise.typical / 255

    async def sharpen(planes: Floats) -> Floats:
        rows, columns = planes.shape[1:]
        if min(rows, columns) >= _LEAST_SIDE and await context.compute(only_noise, planes, noise):
            return await denoise_smooth(planes, noise, Noise(), model, context)
        seen = np.pad(planes, ((0, 0), (0, rows % 2), (0, columns % 2)), mode="edge")
        deconvolution = await context.compute(Deconvolution, seen, blur, told)
        for sigma in sigmas(told, height * width):
            seen = await context.compute(deconvolution.step, seen, sigma)
            seen = await denoise_planes(seen, np.full(seen.shape[1:], sigma, np.float32), model, context.deadline)
        return seen[:, :rows, :columns]

    return await run_tiled(
        colors,
        1,
        sharpen,
        tile=tile,
        overlap=overlap,
        fallback=lambda part: part,
        wanted=lambda rows, columns: needed is None or bool(needed[rows, columns].any()),
        on_tile=progress.step,
    )
