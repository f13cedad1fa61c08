"""Another picture's palette and tone."""

from dataclasses import dataclass

from diptych.images import Pixels, from_message
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.toning.color_matching import find_match, recolor


@dataclass(frozen=True)
class Parameters:
    """`reference` is decoded when its turn comes; `strength` 0 to 1."""

    reference: image_pb2.Image
    strength: float


def read(message: editor_pb2.MatchStyle, faults: Faults) -> Parameters:
    """The parameters, full strength by default."""
    if not message.reference.content:
        (faults / "reference" / "content").add("is empty; send the bytes of the picture to match")
    return Parameters(message.reference, faults.number(message, "strength", 0, 1, 1))


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture in the reference's colours; alpha stays, and so does every pixel outside the selection."""
    field = f"{context.path}.reference"
    reference = await context.compute(lambda: from_message(parameters.reference, field=field, limits=context.limits))
    context.note(strength=parameters.strength)
    context.method("monge-kantorovich", "numpy")
    match = await context.compute(find_match, image, reference)
    if match is None or parameters.strength == 0:
        return image
    return await context.compute(recolor, image, match, parameters.strength, context.selection)
