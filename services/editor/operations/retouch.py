"""Faces made fresh: skin, spots, eyes, teeth and light; whether the person is still the same is measured."""

from dataclasses import dataclass

import numpy as np

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.restoring.retouching import Amounts, retouch
from services.editor.seeing.face_regions import window_of
from services.editor.seeing.faces import MESH, Face, find_faces
from services.editor.seeing.identity import likeness

_DEFAULTS = {"skin": 0.5, "blemishes": 0.5, "eyes": 0.3, "teeth": 0.3, "relight": 0.0}


@dataclass(frozen=True)
class Parameters:
    """`model` empty for the default."""

    amounts: Amounts
    model: str


def read(message: editor_pb2.Retouch, faults: Faults) -> Parameters:
    """The parameters, a natural amount of each by default."""
    values = {name: faults.number(message, name, 0, 1, default) for name, default in _DEFAULTS.items()}
    return Parameters(Amounts(**values), message.model)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with its faces retouched; the same picture when it shows none.

    The record tells the number of faces and spots and, for the face that changed most, how far landmarks moved
    (`landmark_shift`, in distances between the eyes) and how alike the face is (`identity_similarity`, 1 is the same).
    """
    amounts, model = parameters.amounts, parameters.model or MESH
    context.note(model=model, **vars(amounts))
    faces = await find_faces(image, context, model)
    context.note(faces=len(faces))
    if not faces:
        return image
    context.progress(0.3)
    context.method("frequency-separation", "opencv")
    result, spots = await context.compute(_retouched, image, faces, amounts)
    if context.selection is not None:
        result = await context.compute(blend, image, result, context.selection)
    context.progress(0.7)
    likenesses = [await likeness(image, result, face, context) for face in faces]
    context.note(blemishes_healed=spots)
    shifts = [one.shift for one in likenesses if one.shift is not None]
    if len(shifts) == len(likenesses):
        context.note(landmark_shift=max(shifts))
    similarities = [one.similarity for one in likenesses if one.similarity is not None]
    if similarities:
        context.note(identity_similarity=min(similarities))
    return result


def _retouched(image: Pixels, faces: list[Face], amounts: Amounts) -> tuple[Pixels, int]:
    result = np.array(image)
    windows = [window_of(face, *image.shape[:2]) for face in faces]
    return result, sum(retouch(result, window, amounts) for window in windows if window is not None)
