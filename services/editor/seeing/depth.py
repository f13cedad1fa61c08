"""How far things are, by a model that the user has added."""

import cv2
import numpy as np

from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.pixels.color_spaces import Floats
from services.editor.seeing.framing import planes, shrunk

_DEFAULT_SIDE = 518
_STEP = 14


async def find_depth(pixels: Pixels, context: EditContext, name: str) -> Pixels:
    """(H, W) uint8, near is bright, from the model `name` of task depth.

    The model takes one picture and gives one plane, larger where nearer (`near = "low"` in its defaults: smaller).
    """
    model = await context.model(name)
    defaults = model.manifest.defaults
    small = await context.compute(_enter, pixels, model.fixed_size, int(defaults.get("side", _DEFAULT_SIDE)))
    answer = await model.run(planes(small, defaults), context.deadline)
    return await context.compute(_leave, answer, pixels.shape[1], pixels.shape[0], defaults.get("near") == "low")


def _enter(pixels: Pixels, size: tuple[int, int] | None, side: int) -> Pixels:
    small = shrunk(pixels, side if size is None else 2 * max(size))
    height, width = size or (max(_STEP, round(edge / _STEP) * _STEP) for edge in small.shape[:2])
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA))


def _leave(plane: Floats, width: int, height: int, near_is_low: bool) -> Pixels:
    plane = plane.reshape(plane.shape[-2:])
    low, high = float(plane.min()), float(plane.max())
    share = (plane - low) / (high - low) if high > low else np.zeros_like(plane)
    grey = np.rint((1 - share if near_is_low else share) * 255).astype(np.uint8)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC))
