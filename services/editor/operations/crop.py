"""Keeps a part of the picture."""

from dataclasses import dataclass

import numpy as np

from diptych.images import Pixels
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.matting import subject_box
from services.editor.selection import check_box

_MARGIN = 0.05


@dataclass(frozen=True)
class Parameters:
    """One of `box`, `aspect` (width over height) and the subject, when neither is set."""

    box: image_pb2.Box | None
    aspect: float | None
    margin: float


def read(message: editor_pb2.Crop, faults: Faults) -> Parameters:
    """The parameters; an area is required."""
    area = message.WhichOneof("area")
    if area is None:
        faults.add("does not say what to keep; set one of box, aspect, subject")
    if area == "box" and (message.box.width == 0 or message.box.height == 0):
        (faults / "box").add("is empty; give a width and a height of at least 1")
    if area == "subject" and not message.subject:
        (faults / "subject").add("is false; set it to true, or give box or aspect")
    if area != "subject" and message.HasField("margin"):
        (faults / "margin").add("goes with subject only; leave it out")
    aspect = (faults / "aspect").aspect(message.aspect) if area == "aspect" else None
    return Parameters(message.box if area == "box" else None, aspect, faults.number(message, "margin", 0, 1, _MARGIN))


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The part as an array of its own."""
    height, width = image.shape[:2]
    if parameters.box is not None:
        box = parameters.box
        check_box(box, width, height, f"{context.path}.box")
        left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    elif parameters.aspect is not None:
        kept_width, kept_height = largest(width, height, parameters.aspect)
        left, top = (width - kept_width) // 2, (height - kept_height) // 2
        right, bottom = left + kept_width, top + kept_height
    else:
        found = await subject_box(image, context)
        if found is None:
            raise context.fault("subject", "is nowhere to be found in this picture; give box or aspect")
        margin = round(max(found[2] - found[0], found[3] - found[1]) * parameters.margin)
        left, top = max(0, found[0] - margin), max(0, found[1] - margin)
        right, bottom = min(width, found[2] + margin), min(height, found[3] + margin)
        context.note(margin=parameters.margin)
    context.note(box=f"{left},{top},{right - left},{bottom - top}")
    context.method("crop", "numpy")
    return np.ascontiguousarray(image[top:bottom, left:right])


def largest(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Width and height of the largest rectangle of an aspect inside a picture, at least one pixel each."""
    if width / height > aspect:
        return max(1, min(width, round(height * aspect))), height
    return width, max(1, min(height, round(width / aspect)))
