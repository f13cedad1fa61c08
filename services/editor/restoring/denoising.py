"""Noise taken away by a network that is told how strong it is, at one scale after another.

The noise of a camera's finished picture is spread over several pixels, which a network for independent noise takes for
detail. At half the size the same noise is fine again: what is taken away there is taken from the whole as well.
"""

from collections.abc import Callable

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.context import EditContext
from services.editor.models import OpenModel
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.noise import Noise, measure_noise
from services.editor.pixels.smooth_parts import doubled, half, only_noise
from services.editor.pixels.tiling import count_tiles, run_tiled

DEFAULT_MODEL = "ffdnet"
# The network looks 24 pixels around itself; what is beyond the nearest nine changes a pixel by an eighth of a level.
_OVERLAP = 24
_SCALES = 3
_LEAST_SIDE = 64
# Less than this at a smaller scale is texture as often as noise.
COARSE_NOISE = 3.0


async def remove_noise(
    colors: Pixels, noise: Noise, model: OpenModel, context: EditContext, *, needed: Mask | None = None
) -> Pixels:
    """(H, W, 3) uint8 without `noise`, and without what is then found at smaller scales.

    Where `needed`, (H, W) float32, is 0 over a whole tile, that tile is left alone. Tells the context's progress.
    """
    height, width = colors.shape[:2]
    # A quarter of the work is left for each smaller scale.
    progress = TileProgress(context.progress, count_tiles(width, height, tile=context.tile, overlap=_OVERLAP) * 4 / 3)
    return await _at_scale(colors, noise, model, context, needed, progress, _SCALES)


async def _at_scale(
    colors: Pixels,
    noise: Noise,
    model: OpenModel,
    context: EditContext,
    needed: Mask | None,
    progress: "TileProgress",
    scales: int,
) -> Pixels:
    done = await _run(colors, noise, model, context, needed, progress)
    if scales == 1 or min(colors.shape[:2]) < 2 * _LEAST_SIDE:
        return done
    small = await context.compute(half, done)
    coarse = await context.compute(measure_noise, small)
    if coarse.typical < COARSE_NOISE:
        return done
    wanted = None if needed is None else half(needed)
    cleaned = await _at_scale(small, coarse, model, context, wanted, progress, scales - 1)
    return await context.compute(_add_difference, done, small, cleaned)


async def _run(
    colors: Pixels,
    noise: Noise,
    model: OpenModel,
    context: EditContext,
    needed: Mask | None,
    progress: "TileProgress",
) -> Pixels:
    def wanted(rows: slice, columns: slice) -> bool:
        return needed is None or bool(needed[rows, columns].any())

    coarse = await context.compute(lambda: measure_noise(half(colors)))

    async def clean(planes: Floats) -> Floats:
        if min(planes.shape[1:]) >= _LEAST_SIDE and await context.compute(only_noise, planes, noise):
            return await denoise_smooth(planes, noise, coarse, model, context)
        sigmas = await context.compute(_sigmas, planes, noise)
        return await denoise_planes(planes, sigmas, model, context.deadline)

    return await run_tiled(
        colors, 1, clean, tile=context.tile, overlap=_OVERLAP, fallback=lambda part: part, wanted=wanted,
        on_tile=progress.step,
    )  # fmt: skip


async def denoise_planes(planes: Floats, sigmas: Floats, model: OpenModel, deadline: float | None) -> Floats:
    """(3, H, W) without noise of (H, W) `sigmas`, all 0 to 1; the network wants even sides and gets them."""
    height, width = planes.shape[1:]
    told = np.concatenate([planes, sigmas[np.newaxis]]).astype(np.float32)
    told = np.pad(told, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    return (await model.run_row({"image": told}, deadline))["denoised"][:, :height, :width]


async def denoise_smooth(planes: Floats, noise: Noise, coarse: Noise, model: OpenModel, context: EditContext) -> Floats:
    """(3, H, W) without `noise`, 0 to 1, by way of half the size, where it is no less than `coarse`."""
    height, width = planes.shape[1:]
    small = await context.compute(lambda: half(np.ascontiguousarray(planes.transpose(1, 2, 0))).transpose(2, 0, 1))
    sigmas = await context.compute(lambda: np.maximum(_sigmas(small, noise) / 2, _sigmas(small, coarse)))
    clean = await denoise_planes(small, sigmas, model, context.deadline)
    return await context.compute(lambda: doubled(clean.transpose(1, 2, 0), width, height).transpose(2, 0, 1))


def _sigmas(planes: Floats, noise: Noise) -> Floats:
    """(H, W) float32, 0 to 1: the noise to expect in (3, H, W)."""
    return noise.map(planes.transpose(1, 2, 0) * 255) / np.float32(255)


def _add_difference(whole: Pixels, small: Pixels, cleaned: Pixels) -> Pixels:
    """`whole` with what `cleaned` has over `small`, enlarged smoothly; one channel at a time to save memory."""
    result = np.empty_like(whole)
    for channel in range(3):
        difference = cleaned[..., channel].astype(np.float32) - small[..., channel]
        added = cv2.resize(difference, whole.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        added += whole[..., channel]
        result[..., channel] = np.rint(added.clip(0, 255))
    return result


class TileProgress:
    """Tells the share done, tile by tile."""

    def __init__(self, tell: Callable[[float], None], total: float) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def step(self) -> None:
        """One tile more is done."""
        self._done += 1
        self._tell(min(self._done / self._total, 1.0))
