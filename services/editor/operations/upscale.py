"""More pixels, with detail: a trained network to the nearest of its factors, then Lanczos to the exact size."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from diptych.errors import FailedPrecondition
from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.models import OpenModel
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.edges import bleed
from services.editor.pixels.likeness import LEAST_LIKENESS, correlation
from services.editor.pixels.resampling import resample
from services.editor.pixels.tiling import count_tiles, run_tiled

_MOST = 8.0
# Pixels that neighbouring tiles share, more than twice what the networks look around themselves.
_OVERLAP = 32
# Standard deviation, pixels of the input, below which differences count as detail.
_LOST_DETAIL = 0.8
# What is computed in floats is computed by so many rows: a large picture would take gigabytes.
_ROWS = 256
# By kind of picture and factor: the networks to run, one after another. SPAN keeps clean drawings nearer to themselves
# than the network for drawings does, which redraws their lines; that one is for those who ask for it.
_SPAN = {2: ("span-x2",), 4: ("span-x4",), 8: ("span-x4", "span-x2")}
PASSES: dict[int, dict[int, tuple[str, ...]]] = {
    editor_pb2.CONTENT_KIND_UNSPECIFIED: _SPAN,
    editor_pb2.CONTENT_KIND_PHOTO: _SPAN,
    editor_pb2.CONTENT_KIND_DRAWING: {
        2: ("span-x2",),
        4: ("realesr-animevideov3-x4",),
        8: ("realesr-animevideov3-x4", "span-x2"),
    },
}


@dataclass(frozen=True)
class Parameters:
    """One of `scale`, `width`, `height` is set; `model` empty for a choice by content and factor."""

    scale: float | None
    width: int | None
    height: int | None
    content: int
    model: str


def read(message: editor_pb2.Upscale, faults: Faults) -> Parameters:
    """The parameters, scale 2 by default."""
    given = [name for name in ("scale", "width", "height") if message.HasField(name)]
    if len(given) > 1:
        (faults / given[1]).add(f"is given together with {given[0]}; give only one of scale, width and height")
    scale = faults.number(message, "scale", 1, _MOST, 2, open_low=True)
    sides = {name: round(faults.number(message, name, 1, 16_384, 1)) for name in ("width", "height") if name in given}
    content = faults.choice(message, "content", editor_pb2.ContentKind.values())
    return Parameters(None if sides else scale, sides.get("width"), sides.get("height"), content, message.model)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture at the wanted size; alpha is enlarged by the same network, so that its edge fits the colour's."""
    width, height, field = _target(image, parameters, context)
    context.check_size(width, height, field)
    scale = max(width / image.shape[1], height / image.shape[0])
    models = [await context.model(name) for name in _passes(parameters.content, scale, parameters.model, context)]
    context.note(
        scale=scale,
        width=width,
        height=height,
        content=editor_pb2.ContentKind.Name(editor_pb2.ContentKind.ValueType(parameters.content)),
        model=" ".join(model.manifest.name for model in models),
    )
    progress = _Progress(context.progress, _count(image, models, context.tile))
    for model in models:
        image = await _enlarge(image, model, context, progress)
    if image.shape[1::-1] != (width, height):
        context.method("lanczos", "pillow")
        image = await context.compute(resample, image, width, height)
    return image


def _target(image: Pixels, parameters: Parameters, context: EditContext) -> tuple[int, int, str]:
    """Width and height of the result, and the field that decided them."""
    height, width = image.shape[:2]
    if parameters.width is not None:
        _check_growth("width", parameters.width, width, context)
        return parameters.width, round(height * parameters.width / width), "width"
    if parameters.height is not None:
        _check_growth("height", parameters.height, height, context)
        return round(width * parameters.height / height), parameters.height, "height"
    scale = parameters.scale or 1
    return round(width * scale), round(height * scale), "scale"


def _check_growth(field: str, wanted: int, now: int, context: EditContext) -> None:
    if not now < wanted <= now * _MOST:
        most = int(now * _MOST)
        raise context.fault(
            field, f"is {wanted}, but the picture at this point has {now}; give more, up to {most}, or use resize"
        )


def _passes(content: int, scale: float, model: str, context: EditContext) -> tuple[str, ...]:
    """Names of the networks whose factors multiply to the one nearest to `scale`."""
    if model:
        factor = _factor_of(context.models.repository.get(model).defaults, model)
        rounds = max(1, round(math.log(scale) / math.log(factor)))
        return (model,) * rounds
    ladder = PASSES[content]
    return ladder[min(ladder, key=lambda factor: abs(math.log(factor / scale)))]


def _factor_of(defaults: dict[str, object], name: str) -> int:
    factor = defaults.get("scale")
    if not isinstance(factor, int) or factor < 2:
        raise FailedPrecondition(
            f"the manifest of {name} does not say how much it enlarges; add scale = 4, or what it is, to its defaults",
            reason="MANIFEST_INVALID",
        )
    return factor


def _count(image: Pixels, models: list[OpenModel], tile: int) -> int:
    height, width = image.shape[:2]
    planes = 1 if image.shape[2] == 3 else 2
    total = 0
    for model in models:
        total += planes * count_tiles(width, height, tile=tile, overlap=_OVERLAP)
        factor = _factor_of(model.manifest.defaults, model.manifest.name)
        width, height = width * factor, height * factor
    return total


@dataclass
class _Progress:
    tell: Callable[[float], None]
    total: int
    done: int = 0

    def step(self) -> None:
        self.done += 1
        self.tell(self.done / self.total)


async def _enlarge(image: Pixels, model: OpenModel, context: EditContext, progress: _Progress) -> Pixels:
    """One pass of one network."""
    factor = _factor_of(model.manifest.defaults, model.manifest.name)
    if image.shape[2] == 3:
        return await _run(image, factor, model, context, progress)
    alpha = image[..., 3]
    # The network must see no cut: colours go on beneath the transparent part.
    colors = await context.compute(bleed, image)
    colored = await _run(colors, factor, model, context, progress, visible=alpha)
    grey = np.repeat(alpha[..., np.newaxis], 3, axis=2)
    shape = await _run(grey, factor, model, context, progress, varied=alpha)
    return await context.compute(_join, colored, shape, alpha)


def _join(colors: Pixels, shape: Pixels, alpha: Pixels) -> Pixels:
    """(H, W, 4) with the mean of `shape`'s channels as alpha; ends of the range, which networks blur, set back.

    Kept between the least and the most of the old alpha round about: a network's ringing would draw a faint second
    outline where nothing was.
    """
    size = shape.shape[1::-1]
    around = np.ones((3, 3), np.uint8)
    least = cv2.resize(cv2.erode(alpha, around), size, interpolation=cv2.INTER_LINEAR)
    most = cv2.resize(cv2.dilate(alpha, around), size, interpolation=cv2.INTER_LINEAR)
    result = np.empty((*shape.shape[:2], 4), np.uint8)
    result[..., :3] = colors
    for top in range(0, len(shape), _ROWS):
        rows = slice(top, top + _ROWS)
        larger = (shape[rows].astype(np.float32).mean(axis=2) - 2) * (255 / 251)
        result[rows, :, 3] = np.rint(larger.clip(least[rows], most[rows]))
    return result


async def _run(
    picture: Pixels,
    factor: int,
    model: OpenModel,
    context: EditContext,
    progress: _Progress,
    *,
    visible: Pixels | None = None,
    varied: Pixels | None = None,
) -> Pixels:
    """The network over all tiles but those with nothing visible, or nothing that varies."""

    def wanted(rows: slice, columns: slice) -> bool:
        if visible is not None and not visible[rows, columns].any():
            return False
        return varied is None or bool(varied[rows, columns].min() != varied[rows, columns].max())

    likenesses: list[float] = []

    async def enlarge(planes: Floats) -> Floats:
        larger = await model.run(planes, context.deadline)
        alike = await context.compute(_alike, planes, larger, factor)
        if alike is not None:
            likenesses.append(alike)
        return await context.compute(keep_colors, planes, larger, factor)

    result = await run_tiled(
        picture,
        factor,
        enlarge,
        tile=context.tile,
        overlap=_OVERLAP,
        fallback=lambda part: resample(part, part.shape[1] * factor, part.shape[0] * factor),
        wanted=wanted,
        on_tile=progress.step,
    )
    # Colours are brought back below, and hide in the result what a broken network did.
    context.suspect |= bool(likenesses) and float(np.median(likenesses)) < LEAST_LIKENESS
    return result


def _alike(planes: Floats, larger: Floats, factor: int) -> float | None:
    channels, height, width = planes.shape
    shrunken = larger.reshape(channels, height, factor, width, factor).mean(axis=(2, 4))
    return correlation(planes, shrunken, 1 / 255)


def keep_colors(planes: Floats, larger: Floats, factor: int) -> Floats:
    """The enlarged (3, H * factor, W * factor) with its colours moved back to those of (3, H, W).

    Networks shift the colours of areas and of thin lines. What a shrunken result differs by from the input is added
    back, without its finest detail (back-projection, Irani and Peleg 1991).
    """
    channels, height, width = planes.shape
    shrunken = larger.reshape(channels, height, factor, width, factor).mean(axis=(2, 4))
    lost = cv2.GaussianBlur((planes - shrunken).transpose(1, 2, 0), (0, 0), _LOST_DETAIL)
    added: Floats = cv2.resize(lost, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
    return larger + added.transpose(2, 0, 1)
