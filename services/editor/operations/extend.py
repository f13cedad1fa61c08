"""More canvas around the picture, continued without a seam."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.resampling import premultiplied, unpremultiplied

_MOST = 8192
_SIDES = ("left", "top", "right", "bottom")
_WHITE = (255, 255, 255)
# Blurred canvas is smooth: it is made at this size and enlarged.
_SMALL = 512
# Shares of the picture's short side: where the first and the second blur have taken over, and how strong they are.
_REACH = (0.04, 0.16)
_BLUR = (0.012, 0.05)
_ROWS = 256


@dataclass(frozen=True)
class Parameters:
    """Pixels to add by side, or the aspect (width over height) to reach."""

    left: int
    top: int
    right: int
    bottom: int
    aspect: float | None
    mode: int
    color: tuple[int, int, int]


def read(message: editor_pb2.Extend, faults: Faults) -> Parameters:
    """The parameters; pixels or an aspect are required."""
    added = {name: getattr(message, name) for name in _SIDES}
    for name, pixels in added.items():
        if pixels > _MOST:
            (faults / name).add(f"is {pixels}; give 0 to {_MOST}")
    if not any(added.values()) and not message.aspect:
        faults.add("adds nothing; give left, top, right or bottom in pixels, or an aspect")
    if any(added.values()) and message.aspect:
        (faults / "aspect").add("is given together with pixels; give only one")
    mode = faults.choice(message, "mode", editor_pb2.ExtendMode.values()) or editor_pb2.EXTEND_MODE_MIRROR
    if message.color and mode != editor_pb2.EXTEND_MODE_COLOR:
        (faults / "color").add("goes with mode color only; leave it out")
    aspect = (faults / "aspect").aspect(message.aspect) if message.aspect else None
    return Parameters(**added, aspect=aspect, mode=mode, color=faults.color(message, "color") or _WHITE)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture, untouched, with the new canvas around it."""
    height, width = image.shape[:2]
    left, top, right, bottom = _added(width, height, parameters)
    field = "aspect" if parameters.aspect is not None else ""
    context.check_size(width + left + right, height + top + bottom, field)
    context.note(left=left, top=top, right=right, bottom=bottom)
    context.note(mode=editor_pb2.ExtendMode.Name(editor_pb2.ExtendMode.ValueType(parameters.mode)))
    context.method("extend", "opencv")
    if parameters.mode == editor_pb2.EXTEND_MODE_COLOR:
        return await context.compute(_filled, image, left, top, right, bottom, parameters.color)
    mirrored = await context.compute(_mirrored, image, left, top, right, bottom)
    if parameters.mode == editor_pb2.EXTEND_MODE_BLUR:
        await context.compute(_soften, mirrored, left, top, width, height)
    return mirrored


def _added(width: int, height: int, parameters: Parameters) -> tuple[int, int, int, int]:
    """Pixels by side; an aspect is shared between both."""
    if parameters.aspect is None:
        return parameters.left, parameters.top, parameters.right, parameters.bottom
    across = max(0, round(height * parameters.aspect) - width)
    down = 0 if across else max(0, round(width / parameters.aspect) - height)
    return across // 2, down // 2, across - across // 2, down - down // 2


def _filled(image: Pixels, left: int, top: int, right: int, bottom: int, color: tuple[int, int, int]) -> Pixels:
    height, width, channels = image.shape
    result = np.empty((height + top + bottom, width + left + right, channels), np.uint8)
    result[:] = (*color, 255)[:channels]
    result[top : top + height, left : left + width] = image
    return result


def _mirrored(image: Pixels, left: int, top: int, right: int, bottom: int) -> Pixels:
    # The edge itself is not repeated: a doubled row would show as a line.
    mirrored: Any = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    return np.asarray(mirrored, np.uint8).reshape(*mirrored.shape[:2], image.shape[2])


def _soften(canvas: Pixels, left: int, top: int, width: int, height: int) -> None:
    """Blurs what lies around the picture: not at all where they meet, so that there is no seam, fully further out."""
    short = min(width, height)
    little, much = (_blurred(canvas, share * short) for share in _BLUR)
    rows, columns = canvas.shape[:2]
    # A width of 0 would divide by 0.
    near, far = (max(1.0, share * short) for share in _REACH)
    ramps = ((little, 0.0, near), (much, near / 2, far))
    beside = np.maximum(0, np.maximum(left - np.arange(columns), np.arange(columns) - (left + width - 1)))
    beyond = np.maximum(0, np.maximum(top - np.arange(rows), np.arange(rows) - (top + height - 1)))
    both, inner = slice(0, columns), (slice(0, left), slice(left + width, columns))
    for start, stop, spans in ((0, top, (both,)), (top, top + height, inner), (top + height, rows, (both,))):
        for first in range(start, stop, _ROWS):
            band = slice(first, min(first + _ROWS, stop))
            for span in (span for span in spans if span.stop > span.start):
                away = np.hypot(beyond[band, np.newaxis], beside[np.newaxis, span]).astype(np.float32)
                _soften_part(canvas, band, span, away, ramps)


def _soften_part(
    canvas: Pixels, band: slice, span: slice, away: Floats, ramps: tuple[tuple[Floats, float, float], ...]
) -> None:
    """Some rows and columns of the canvas, `away` pixels from the picture."""
    part = canvas[band, span]
    light = premultiplied(part) if part.shape[2] == 4 else part.astype(np.float32)
    for blurred, begin, end in ramps:
        share = _smooth((away - begin) / (end - begin))[..., np.newaxis]
        light += (_enlarged(blurred, band, span, canvas.shape[:2]) - light) * share
    part[:] = unpremultiplied(light) if part.shape[2] == 4 else np.rint(light.clip(0, 255)).astype(np.uint8)


def _smooth(share: Floats) -> Floats:
    """0 to 1 without a kink at either end."""
    bounded = share.clip(0, 1)
    smooth: Floats = bounded * bounded * (3 - 2 * bounded)
    return smooth


def _blurred(canvas: Pixels, radius: float) -> Floats:
    """The canvas, small, blurred by a standard deviation of `radius` pixels of the large one; alpha multiplied in."""
    shrink = min(1.0, _SMALL / max(canvas.shape[:2]))
    size = (max(1, round(canvas.shape[1] * shrink)), max(1, round(canvas.shape[0] * shrink)))
    small: Any = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    light = premultiplied(small) if small.shape[2] == 4 else small.astype(np.float32)
    blurred: Any = cv2.GaussianBlur(light, (0, 0), max(0.3, radius * shrink), borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32)


def _enlarged(small: Floats, band: slice, span: slice, size: tuple[int, int]) -> Floats:
    """Some rows and columns of a small canvas at full `size` (height, width)."""
    across = (np.arange(span.start, span.stop, dtype=np.float32) + 0.5) * (small.shape[1] / size[1]) - 0.5
    down = (np.arange(band.start, band.stop, dtype=np.float32) + 0.5) * (small.shape[0] / size[0]) - 0.5
    x, y = np.meshgrid(across, down)
    large: Any = cv2.remap(small, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(large, np.float32)
