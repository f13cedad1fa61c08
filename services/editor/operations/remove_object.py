"""Takes away what is selected and continues what is around it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.filling.inpainting import continued
from services.editor.pixels.edges import bleed

# The soft rim of a selection shows through only where it is weaker than this: what is taken away leaves no ghost.
_RIM = 0.25
# Less than this is no selection, only a mask's compression.
LEAST = 0.02


@dataclass(frozen=True)
class Parameters:
    """`model` empty for the default."""

    model: str


def read(message: editor_pb2.RemoveObject, faults: Faults) -> Parameters:
    """The parameters; nothing in them can be out of range."""
    return Parameters(message.model)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture without what is selected; every pixel outside the selection stays."""
    selection = context.selection
    if selection is None:
        raise context.fault("", "needs a selection: say what to take away by mask, box, point, label or subject")
    hole = selection > LEAST
    if hole.all():
        raise context.fault("", "is to take away the whole picture; select less")
    if not hole.any():
        return image
    colors = await context.compute(bleed, image) if image.shape[2] == 4 else image
    filled = await continued(colors, hole, context, parameters.model)
    return await context.compute(without, image, filled, selection)


def without(image: Pixels, filled: Pixels, selection: Mask) -> Pixels:
    """(H, W, 3|4): `filled`, (H, W, 3), in the selection; alpha is continued from around too."""
    share = (selection / np.float32(_RIM)).clip(0, 1)
    if image.shape[2] == 3:
        return blend(image, filled, share)
    hole = (selection > LEAST).astype(np.uint8)
    alpha: Any = np.ascontiguousarray(image[..., 3])
    if alpha.min() < 255:
        alpha = cv2.inpaint(alpha, hole, 3, cv2.INPAINT_TELEA)
    return blend(image, np.dstack([filled, alpha]), share)
