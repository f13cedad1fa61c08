"""Puts a picture in the place of what is selected."""

from dataclasses import dataclass

import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.filling.inpainting import continued
from services.editor.filling.placing import Look, lay_over
from services.editor.operations.add_object import standing
from services.editor.operations.remove_object import LEAST, without
from services.editor.operations.replace_background import cover
from services.editor.pixels.edges import bleed
from services.editor.pixels.resampling import resample
from services.editor.second_picture import open_picture, read_picture


@dataclass(frozen=True)
class Parameters:
    """What to put there, and how much it is matched."""

    replacement: image_pb2.Image
    harmonize: float


def read(message: editor_pb2.ReplaceObject, faults: Faults) -> Parameters:
    """The parameters; the replacement is required."""
    return Parameters(read_picture(message, "replacement", faults), faults.number(message, "harmonize", 0, 1, 1))


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with the replacement in the selection.

    A cut-out stands in the old thing's place, on what is around it carried on; a whole picture fills the selection.
    """
    selection = context.selection
    if selection is None:
        raise context.fault("", "needs a selection: say what to replace by mask, box, point, label or subject")
    replacement = await open_picture(parameters.replacement, "replacement", context)
    if not (selection > LEAST).any():
        return image
    box = _bounds(selection)
    context.note(harmonize=parameters.harmonize, place=f"{box.x},{box.y},{box.width},{box.height}")
    context.method("over", "numpy")
    if parameters.harmonize > 0:
        context.method("harmonize", "numpy")
    look = Look(harmonize=parameters.harmonize)
    if replacement.shape[2] == 3 or int(replacement[..., 3].min()) == 255:
        filling = await context.compute(cover, replacement[..., :3], box.width, box.height)
        result = await context.compute(lay_over, image, filling, box.x, box.y, look)
        return await context.compute(blend, image, result, selection)
    hole = selection > LEAST
    if not hole.all():
        colors = await context.compute(bleed, image) if image.shape[2] == 4 else image
        image = await context.compute(without, image, await continued(colors, hole, context), selection)
    left, top, width, height = standing(replacement, box)
    sized = await context.compute(resample, replacement, width, height)
    result = await context.compute(lay_over, image, sized, left, top, look)
    return await context.compute(blend, image, result, selection)


def _bounds(selection: Mask) -> image_pb2.Box:
    rows, columns = np.flatnonzero((selection > LEAST).any(1)), np.flatnonzero((selection > LEAST).any(0))
    return image_pb2.Box(
        x=int(columns[0]),
        y=int(rows[0]),
        width=int(columns[-1] - columns[0]) + 1,
        height=int(rows[-1] - rows[0]) + 1,
    )
