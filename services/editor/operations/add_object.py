"""Puts a picture of a thing into this one."""

from dataclasses import dataclass

from diptych.images import Pixels
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.filling.placing import Look, lay_over
from services.editor.pixels.resampling import resample
from services.editor.second_picture import open_picture, read_picture

# The default place: as wide as this share of the picture, in its lower third, clear of the edge.
_WIDTH, _HEIGHT, _CLEAR = 0.5, 1 / 3, 0.04


@dataclass(frozen=True)
class Parameters:
    """`place` in pixels, None for the default."""

    thing: image_pb2.Image
    place: image_pb2.Box | None
    look: Look


def read(message: editor_pb2.AddObject, faults: Faults) -> Parameters:
    """The parameters; the thing is required."""
    place = message.place if message.HasField("place") else None
    if place is not None and (place.width == 0 or place.height == 0):
        (faults / "place").add("is empty; give a width and a height of at least 1")
    look = Look(
        harmonize=faults.number(message, "harmonize", 0, 1, 1), shadow=faults.number(message, "shadow", 0, 1, 0)
    )
    return Parameters(read_picture(message, "object", faults), place, look)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with the thing as large as its place holds it, standing on the place's lower edge."""
    height, width = image.shape[:2]
    thing = await open_picture(parameters.thing, "object", context)
    place = parameters.place or image_pb2.Box(
        x=round(width * (1 - _WIDTH) / 2),
        y=round(height * (1 - _HEIGHT)),
        width=max(1, round(width * _WIDTH)),
        height=max(1, round(height * (_HEIGHT - _CLEAR))),
    )
    if place.x >= width or place.y >= height:
        raise context.fault("place", f"begins at {place.x}, {place.y}, outside of the picture of {width} x {height}")
    left, top, new_width, new_height = standing(thing, place)
    context.check_size(new_width, new_height, "place")
    context.note(place=f"{left},{top},{new_width},{new_height}")
    context.note(harmonize=parameters.look.harmonize, shadow=parameters.look.shadow)
    context.method("over", "numpy")
    if parameters.look.harmonize > 0:
        context.method("harmonize", "numpy")
    sized = await context.compute(resample, thing, new_width, new_height)
    result = await context.compute(lay_over, image, sized, left, top, parameters.look)
    return result if context.selection is None else await context.compute(blend, image, result, context.selection)


def standing(thing: Pixels, place: image_pb2.Box) -> tuple[int, int, int, int]:
    """Left, top, width and height of a thing that keeps its aspect and stands in the middle of a place."""
    share = min(place.width / thing.shape[1], place.height / thing.shape[0])
    width, height = max(1, round(thing.shape[1] * share)), max(1, round(thing.shape[0] * share))
    return place.x + (place.width - width) // 2, place.y + place.height - height, width, height
