"""A picture painted anew at a size that suits the brush, then enlarged with the picture's own fine detail.

A style's strokes have the size of its network's eye. At a photograph's full size they would be specks, and its memory
gigabytes: so the picture is painted at no more than `SIDE`, or the network's own size, in one piece. In tiles, each
would choose its own tones and brushwork.
"""

import numpy as np

from diptych.errors import FailedPrecondition
from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.models import OpenModel
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, Floats, from_oklab, into_gamut, to_encoded, to_oklab
from services.editor.pixels.resampling import resample
from services.editor.pixels.tiling import run_tiled
from services.editor.restoring.denoising import denoise_planes
from services.editor.styling.named_styles import Palette

SIDE = 1024
_LEAST_SIDE = 64
# The networks halve the size twice.
_STEP = 4
# How much of the detail lost by painting at a smaller size comes back.
_DETAIL = 0.5
_ROWS = 128
# From these ratios on, a network for enlarging keeps strokes crisper than interpolation does.
_WORTH_DOUBLING, _WORTH_QUADRUPLING = 1.5, 3.0
_OVERLAP = 32
_SPECKS = 12 / 255


async def paint_named(colors: Pixels, blend: Floats, model: OpenModel, context: EditContext) -> Pixels:
    """(h, w, 3) of at most `SIDE`: the picture in a blend of the network's styles."""
    small = await context.compute(_working_size, colors, SIDE)
    height, width = small.shape[:2]
    planes = await context.compute(_padded, small)
    painted = (await model.run_row({"image": planes, "style_weights": blend}, context.deadline))["stylized"]
    context.progress(0.7)
    return await context.compute(lambda: _bytes(painted.transpose(1, 2, 0)[:height, :width]))


async def paint_like(
    colors: Pixels, example: Pixels, reader: OpenModel, painter: OpenModel, cleaner: OpenModel, context: EditContext
) -> Pixels:
    """(h, w, 3) of at most the painter's own size: the picture in the example's style.

    `cleaner` is a denoiser: the painter's weights were rounded to 8 bits once, which left specks in its strokes.
    """
    read = reader.engine.inputs[0]
    square = await context.compute(_square, example, int(read.shape[1]))
    code = (await reader.run_row({read.name: square}, context.deadline))[reader.engine.outputs[0].name]
    side = _fixed_side(painter)
    small = await context.compute(_working_size, colors, side)
    height, width = small.shape[:2]
    # Mirrored to fill the network's square.
    content = np.pad(small, ((0, side - height), (0, side - width), (0, 0)), mode="symmetric").astype(np.float32) / 255
    picture, style = _inputs(painter)
    painted = (await painter.run_row({picture: content, style: code}, context.deadline))[painter.engine.outputs[0].name]
    context.progress(0.4)
    planes = painted[:height, :width].transpose(2, 0, 1)
    planes = await denoise_planes(planes, np.full((height, width), _SPECKS, np.float32), cleaner, context.deadline)
    return await context.compute(_bytes, planes.transpose(1, 2, 0))


async def enlarge_sharply(painted: Pixels, width: int, context: EditContext) -> Pixels:
    """The painting two or four times as large, its strokes crisp, where that brings it nearer to `width`."""
    ratio = width / painted.shape[1]
    if ratio < _WORTH_DOUBLING:
        return painted
    factor = 2 if ratio < _WORTH_QUADRUPLING else 4
    model = await context.model(f"span-x{factor}")

    async def enlarge_tile(planes: Floats) -> Floats:
        return await model.run(planes, context.deadline)

    return await run_tiled(
        painted, factor, enlarge_tile, tile=context.tile, overlap=_OVERLAP, fallback=lambda part: part
    )


def finish(painted: Pixels, colors: Pixels, palette: Palette) -> Pixels:
    """(H, W, 3) at the size of `colors`: the painting in the wanted colours, with some of the detail that it lacks."""
    height, width = colors.shape[:2]
    size = (painted.shape[1], painted.shape[0])
    larger = resample(painted, width, height)
    fits = size[0] >= width and size[1] >= height
    if palette == "own" and fits:
        return larger
    lost = None if fits else resample(resample(colors, *size), width, height)
    result = np.empty_like(colors)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        result[rows] = _finished(larger[rows], colors[rows], None if lost is None else lost[rows], palette)
    return result


def _finished(painted: Pixels, colors: Pixels, lost: Pixels | None, palette: Palette) -> Pixels:
    lab = to_oklab(LINEAR_OF_BYTE[painted])
    photo = to_oklab(LINEAR_OF_BYTE[colors])
    if palette == "photo":
        lab[..., 1:] = photo[..., 1:]
    elif palette == "grey":
        lab[..., 1:] = 0
    if lost is not None:
        lab[..., 0] += _DETAIL * (photo[..., 0] - to_oklab(LINEAR_OF_BYTE[lost])[..., 0])
    return np.rint(to_encoded(into_gamut(from_oklab(lab))) * 255).astype(np.uint8)


def _working_size(colors: Pixels, side: int) -> Pixels:
    height, width = colors.shape[:2]
    scale = min(1.0, side / max(height, width))
    return resample(colors, max(1, round(width * scale)), max(1, round(height * scale)))


def _padded(small: Pixels) -> Floats:
    """(3, H, W) float32 0..1, mirrored to a size that the network takes."""
    height, width = small.shape[:2]
    wanted = [max(_LEAST_SIDE, -(-side // _STEP) * _STEP) for side in (height, width)]
    mirrored = np.pad(small, ((0, wanted[0] - height), (0, wanted[1] - width), (0, 0)), mode="symmetric")
    return np.ascontiguousarray(mirrored.transpose(2, 0, 1)).astype(np.float32) / 255


def _inputs(painter: OpenModel) -> tuple[str, str]:
    """Names of the picture and the style code among the graph's inputs."""
    specs = sorted(painter.engine.inputs, key=lambda spec: spec.shape[-1] != 3)
    return specs[0].name, specs[1].name


def _fixed_side(painter: OpenModel) -> int:
    """The side of the network's square; FailedPrecondition if it has another form."""
    specs = painter.engine.inputs
    sides = {spec.shape[1] for spec in specs if len(spec.shape) == 4 and spec.shape[-1] == 3}
    (side,) = sides if len(sides) == 1 else (None,)
    if len(specs) != 2 or not isinstance(side, int):
        raise FailedPrecondition(
            f"model {painter.manifest.name} takes {', '.join(map(str, specs))}; styles by example take a picture "
            "(1, S, S, 3) and a style code",
            reason="UNSUPPORTED_GRAPH",
        )
    return side


def _square(example: Pixels, side: int) -> Floats:
    """(side, side, 3) float32 0..1: the example's middle."""
    height, width = example.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    middle = np.ascontiguousarray(example[top : top + short, left : left + short])
    return resample(middle, side, side).astype(np.float32) / 255


def _bytes(painted: Floats) -> Pixels:
    rounded: Pixels = np.rint(painted.clip(0, 1) * 255).astype(np.uint8)
    return rounded
