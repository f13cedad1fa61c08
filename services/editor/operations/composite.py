"""Lays a picture over this one."""

from dataclasses import dataclass

from diptych.images import Pixels
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.placing import Look, lay_over
from services.editor.resampling import resample
from services.editor.second_picture import open_picture, read_picture
from services.editor.selection import blend

_MOST_SCALE = 8.0
_MOST_FEATHER = 200.0


@dataclass(frozen=True)
class Parameters:
    """`position` of the top left corner, None for the middle."""

    overlay: image_pb2.Image
    position: tuple[int, int] | None
    scale: float
    look: Look


def read(message: editor_pb2.Composite, faults: Faults) -> Parameters:
    """The parameters; an overlay is required."""
    look = Look(
        opacity=faults.number(message, "opacity", 0, 1, 1),
        feather=faults.number(message, "feather", 0, _MOST_FEATHER, 0),
        harmonize=faults.number(message, "harmonize", 0, 1, 0),
        shadow=faults.number(message, "shadow", 0, 1, 0),
    )
    position = (message.position.x, message.position.y) if message.HasField("position") else None
    scale = faults.number(message, "scale", 0, _MOST_SCALE, 1, open_low=True)
    return Parameters(read_picture(message, "overlay", faults), position, scale, look)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with the overlay on it; what reaches over the edges is cut off."""
    height, width = image.shape[:2]
    overlay = await open_picture(parameters.overlay, "overlay", context)
    new_width = max(1, round(overlay.shape[1] * parameters.scale))
    new_height = max(1, round(overlay.shape[0] * parameters.scale))
    context.check_size(new_width, new_height, "scale")
    left, top = parameters.position or ((width - new_width) // 2, (height - new_height) // 2)
    if left >= width or top >= height:
        raise context.fault("position", f"is {left}, {top}, outside of the picture of {width} x {height}")
    look = parameters.look
    context.note(position=f"{left},{top}", scale=parameters.scale, opacity=look.opacity, feather=look.feather)
    context.note(harmonize=look.harmonize, shadow=look.shadow)
    context.method("over", "numpy")
    if look.harmonize > 0:
        context.method("harmonize", "numpy")
    sized = await context.compute(resample, overlay, new_width, new_height)
    result = await context.compute(lay_over, image, sized, left, top, look)
    return result if context.selection is None else await context.compute(blend, image, result, context.selection)
