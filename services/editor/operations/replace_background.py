"""Lays the subject on a colour, a gradient, another picture, or its own background out of focus."""

from dataclasses import dataclass

import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.cutting.foreground import subject_colors
from services.editor.cutting.matting import DEFAULT_MODEL, find_subject
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.filling.harmonize import lit_like
from services.editor.filling.placing import shaded
from services.editor.operations.crop import largest
from services.editor.pixels.lens_blur import defocused
from services.editor.pixels.resampling import resample
from services.editor.second_picture import open_picture, read_picture

_MOST_RADIUS = 200.0
_ROWS = 256

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Gradient:
    """From one colour to another; `angle` in degrees clockwise, 0 from top to bottom."""

    start: Color
    end: Color
    angle: float


@dataclass(frozen=True)
class Parameters:
    """What comes behind the subject: a colour, a gradient, a picture, or the radius of a blur."""

    ground: Color | Gradient | image_pb2.Image | float
    harmonize: float
    model: str
    shadow: float = 0.0


def read(message: editor_pb2.ReplaceBackground, faults: Faults) -> Parameters:
    """The parameters; a background is required."""
    kind = message.WhichOneof("background")
    ground: Color | Gradient | image_pb2.Image | float = (255, 255, 255)
    if kind == "color":
        ground = _required(message, "color", faults)
    elif kind == "gradient":
        ground = _gradient(message.gradient, faults / "gradient")
    elif kind == "image":
        ground = read_picture(message, "image", faults)
    elif kind == "blur_radius":
        ground = faults.number(message, "blur_radius", 0, _MOST_RADIUS, 0)
    else:
        faults.add("does not say what to lay it on; set one of color, gradient, image, blur_radius")
    shadow = faults.number(message, "shadow", 0, 1, 0)
    return Parameters(ground, faults.number(message, "harmonize", 0, 1, 0), message.model, shadow)


def _gradient(message: editor_pb2.Gradient, faults: Faults) -> Gradient:
    start, end = _required(message, "start_color", faults), _required(message, "end_color", faults)
    return Gradient(start, end, faults.number(message, "angle", -360, 360, 0))


def _required(message: editor_pb2.ReplaceBackground | editor_pb2.Gradient, name: str, faults: Faults) -> Color:
    if not getattr(message, name):
        (faults / name).add("is empty; give a colour as #rrggbb, such as #ff8800")
    return faults.color(message, name) or (255, 255, 255)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The subject on its new background: (H, W, 4) where that background is a picture with alpha, else (H, W, 3)."""
    context.note(harmonize=parameters.harmonize, model=parameters.model or DEFAULT_MODEL, shadow=parameters.shadow)
    matte = await find_subject(image, context, parameters.model)
    context.progress(0.6)
    given = parameters.ground
    picture = await open_picture(given, "image", context) if isinstance(given, image_pb2.Image) else None
    ground = await context.compute(_ground, image, matte, given, picture)
    _describe(given, context)
    if parameters.shadow > 0:
        ground = await context.compute(shaded, ground, matte, 0, 0, parameters.shadow)
        context.method("shadow", "opencv")
    context.method("blur-fusion", "opencv")
    if parameters.harmonize > 0:
        context.method("harmonize", "numpy")
    result = await context.compute(lay_on, image, matte, ground, parameters.harmonize)
    return result if context.selection is None else await context.compute(_bound, image, result, context.selection)


def _describe(given: Color | Gradient | image_pb2.Image | float, context: EditContext) -> None:
    if isinstance(given, float):
        context.note(blur_radius=given)
        context.method("lens-blur", "opencv")
    elif isinstance(given, Gradient):
        context.note(start_color=_hex(given.start), end_color=_hex(given.end), angle=given.angle)
    elif isinstance(given, tuple):
        context.note(color=_hex(given))


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def lay_on(image: Pixels, matte: Mask, ground: Pixels, harmonize: float) -> Pixels:
    """The subject of `image`, which `matte` tells, over `ground` (H, W, 3|4)."""
    front = subject_colors(image, matte)
    if harmonize > 0:
        front = lit_like(front, matte, ground[..., :3], None, harmonize)
    result = np.empty_like(ground)
    for top in range(0, len(image), _ROWS):
        rows = slice(top, top + _ROWS)
        share = matte[rows, :, np.newaxis]
        behind = ground[rows, :, :3]
        if ground.shape[2] == 3:
            result[rows] = np.rint(front[rows] * share + behind * (1 - share))
            continue
        rest = (1 - share) * (ground[rows, :, 3:] / np.float32(255))
        whole = share + rest
        result[rows, :, :3] = np.rint((front[rows] * share + behind * rest) / np.maximum(whole, 1e-6))
        result[rows, :, 3:] = np.rint(whole * 255)
    return result


def _ground(
    image: Pixels, matte: Mask, given: Color | Gradient | image_pb2.Image | float, picture: Pixels | None
) -> Pixels:
    """(H, W, 3|4): what comes behind."""
    height, width = matte.shape
    if picture is not None:
        return cover(picture, width, height)
    if isinstance(given, Gradient):
        return gradient(given, width, height)
    if isinstance(given, float):
        seen = np.where(matte < 0.1, 1 - matte, 0).astype(np.float32)
        if image.shape[2] == 4:
            seen *= image[..., 3] / np.float32(255)
        return defocused(np.ascontiguousarray(image[..., :3]), seen, given)
    return np.full((height, width, 3), given, np.uint8)


def cover(picture: Pixels, width: int, height: int) -> Pixels:
    """The middle of a picture, scaled to fill the size."""
    kept_width, kept_height = largest(picture.shape[1], picture.shape[0], width / height)
    left, top = (picture.shape[1] - kept_width) // 2, (picture.shape[0] - kept_height) // 2
    kept = np.ascontiguousarray(picture[top : top + kept_height, left : left + kept_width])
    return resample(kept, width, height)


def gradient(given: Gradient, width: int, height: int) -> Pixels:
    """(height, width, 3): one colour into another across the whole picture, without bands."""
    radians = np.deg2rad(given.angle)
    # Clockwise from downwards: 90 degrees runs from right to left.
    along_x, along_y = -float(np.sin(radians)), float(np.cos(radians))
    x = np.arange(width, dtype=np.float32) + 0.5 - width / 2
    y = np.arange(height, dtype=np.float32) + 0.5 - height / 2
    reach = max(abs(along_x) * width + abs(along_y) * height, 1e-6)
    start, end = np.array(given.start, np.float32), np.array(given.end, np.float32)
    random = np.random.default_rng(0)
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        at = (x[np.newaxis] * along_x + y[top : top + _ROWS, np.newaxis] * along_y) / reach + 0.5
        tones = start + (end - start) * at[..., np.newaxis]
        # Half a step of noise before rounding hides the steps.
        dither = random.random(at.shape, np.float32)[..., np.newaxis] - 0.5
        result[top : top + _ROWS] = np.rint((tones + dither * (start != end)).clip(0, 255))
    return result


def _bound(image: Pixels, result: Pixels, selection: Mask) -> Pixels:
    """`result` within the selection, the very pixels of `image` elsewhere."""
    if image.shape[2] == result.shape[2]:
        return blend(image, result, selection)
    opaque = np.full((*selection.shape, 1), 255, np.uint8)
    widened = [one if one.shape[2] == 4 else np.concatenate([one, opaque], axis=2) for one in (image, result)]
    return blend(widened[0], widened[1], selection)
