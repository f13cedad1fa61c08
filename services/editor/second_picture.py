"""The other picture that an operation takes, in its own parameters."""

from typing import Any

from diptych.images import Pixels, from_message
from diptych.v1 import image_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults


def read_picture(message: Any, name: str, faults: Faults) -> image_pb2.Image:
    """The picture in the field `name` of `message`; an absent or empty one is a fault."""
    image: image_pb2.Image = getattr(message, name)
    place = faults / name
    if not message.HasField(name) or not image.content:
        (place / "content").add("is empty; send the bytes of a picture")
    place.choice(image, "format", image_pb2.ImageFormat.values())
    return image


async def open_picture(image: image_pb2.Image, name: str, context: EditContext) -> Pixels:
    """(H, W, 3|4) of the picture that `read_picture` took from `name`, decoded off the event loop."""
    return await context.compute(lambda: from_message(image, field=f"{context.path}.{name}", limits=context.limits))
