"""Whether a face is still the same person's: how far its landmarks moved, how alike its embeddings are."""

import asyncio
from dataclasses import dataclass

import numpy as np

from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.pixels.color_spaces import Floats
from services.editor.seeing.faces import LEFT_EYE, RIGHT_EYE, Face, aligned, landmarks_again
from services.editor.seeing.framing import planes

EMBEDDER = "faceres"


@dataclass(frozen=True)
class Likeness:
    """`shift`: mean move of the landmarks, in distances between the outer corners of the eyes; None if there is no face
    any more. `similarity`: cosine of the embeddings before and after; None without the model that embeds."""

    shift: float | None
    similarity: float | None


async def likeness(before: Pixels, after: Pixels, face: Face, context: EditContext) -> Likeness:
    """How far the face in `before` is still that in `after`."""
    moved = await landmarks_again(after, face, context)
    again = await landmarks_again(before, face, context)
    shift = None
    if moved is not None and again is not None:
        eyes = float(np.hypot(*(again[LEFT_EYE] - again[RIGHT_EYE])))
        shift = float(np.hypot(*(moved - again).T).mean()) / max(eyes, 1e-6)
    similarity = None
    if await asyncio.to_thread(context.models.state, EMBEDDER) == "READY":
        first, second = [await embedding(pixels, face, context) for pixels in (before, after)]
        similarity = float(first @ second)
    return Likeness(shift, similarity)


async def embedding(pixels: Pixels, face: Face, context: EditContext) -> Floats:
    """(1024,) float32 of length 1."""
    model = await context.model(EMBEDDER)
    side = (model.fixed_size or (224, 224))[0]
    crop = await context.compute(aligned, pixels, face, side)
    values = (await model.run(planes(crop, model.manifest.defaults), context.deadline)).ravel()
    length: Floats = values / max(float(np.linalg.norm(values)), 1e-9)
    return length
