"""Things pointed at by name or place, found in the picture."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from diptych import labels
from diptych.images import Mask, Pixels
from services.editor.context import EditContext
from services.editor.cutting.content import looks_drawn
from services.editor.cutting.matting import find_subject
from services.editor.cutting.outlines import add_outline, flood, part_at
from services.editor.pixels.color_spaces import Floats
from services.editor.seeing import face_regions
from services.editor.seeing.faces import Face, find_faces
from services.editor.seeing.sky import find_sky
from services.editor.seeing.text import find_text
from services.editor.seeing.things import Thing, find_things

# Who names a thing expects it: less is needed to believe in it than when everything is listed.
_EXPECTED = 0.2
# Of several things that hold a place, so many are outlined before the place counts as ground.
_MOST_TRIED = 3
_MOST_NAMED = 12
# A matte takes seconds; in a crowd the largest get one and GrabCut does the rest.
_MOST_MATTED = 4


@dataclass(frozen=True)
class Found:
    """(H, W) float32 0..1, and how sure it is, 0 to 1; 0 when nothing was found."""

    mask: Mask
    score: float


async def find_named(pixels: Pixels, label: str, context: EditContext) -> Found:
    """All that the label means, together; it must mean something. Its kinds are recorded."""
    kinds = labels.meaning(label)
    context.note(label=", ".join(kinds))
    if labels.SUBJECT in kinds or labels.BACKGROUND in kinds:
        matte = await find_subject(pixels, context)
        mask = matte if labels.SUBJECT in kinds else (1 - matte).astype(np.float32)
        return whole(mask)
    if labels.TEXT in kinds:
        return await _find_lines(pixels, context)
    if labels.SKY in kinds:
        context.method("sky", "numpy")
        return Found(*await context.compute(find_sky, pixels))
    if kinds[0] in labels.FACE_PARTS:
        return await _find_in_faces(pixels, kinds[0], context)
    things = [one for one in await find_things(pixels, context, _EXPECTED) if one.label in kinds][:_MOST_NAMED]
    return await _outlined(pixels, _chosen(things, labels.which(label), context), context)


def _chosen(things: list[Thing], which: str, context: EditContext) -> list[Thing]:
    """The one that was meant, by place or size; all of them where none was."""
    if not which or not things:
        return things
    context.note(which=which)
    keys: dict[str, Callable[[Thing], float]] = {
        "left": lambda one: one.box[0] + one.box[2],
        "right": lambda one: -one.box[0] - one.box[2],
        "top": lambda one: one.box[1] + one.box[3],
        "bottom": lambda one: -one.box[1] - one.box[3],
        "largest": lambda one: -_area(one.box),
        "smallest": lambda one: _area(one.box),
    }
    return [min(things, key=keys[which])]


async def find_at(pixels: Pixels, x: int, y: int, context: EditContext) -> Found:
    """The thing at a place: in a drawing its area of colour, else a thing, the subject, or the ground's own area."""
    if pixels.shape[2] == 4 and pixels[y, x, 3] == 0:
        return Found(np.zeros(pixels.shape[:2], np.float32), 0.0)
    if await context.compute(looks_drawn, pixels):
        context.method("flood", "opencv")
        return whole(await context.compute(_flood, pixels, x, y, True))
    holding = [one for one in await find_things(pixels, context, _EXPECTED) if _holds(one.box, x, y)]
    for thing in sorted(holding, key=lambda one: _area(one.box))[:_MOST_TRIED]:
        found = await _outlined(pixels, [thing], context)
        if found.mask[y, x] >= 0.5:
            context.note(label=thing.label)
            return found
    matte = await find_subject(pixels, context)
    if matte[y, x] >= 0.5:
        return whole(await context.compute(part_at, matte, x, y))
    context.method("flood", "opencv")
    return whole(await context.compute(_flood, pixels, x, y, False))


async def find_in(pixels: Pixels, box: Floats, context: EditContext) -> Found:
    """The thing that fills a box (left, top, right, bottom)."""
    mask = np.zeros(pixels.shape[:2], np.float32)
    await add_outline(mask, pixels, box, context)
    return whole(mask)


async def _outlined(pixels: Pixels, things: list[Thing], context: EditContext) -> Found:
    mask = np.zeros(pixels.shape[:2], np.float32)
    largest = sorted(things, key=lambda one: -_area(one.box))
    for index, thing in enumerate(largest):
        await add_outline(mask, pixels, thing.box, context, matted=index < _MOST_MATTED)
    return Found(mask, float(np.mean([thing.score for thing in things])) if things else 0.0)


async def _find_lines(pixels: Pixels, context: EditContext) -> Found:
    lines = await find_text(pixels, context)
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for line in lines:
        cv2.fillPoly(mask, [np.rint(line.corners).astype(np.int32)], 1)
    score = float(np.mean([line.score for line in lines])) if lines else 0.0
    return Found(mask.astype(np.float32), score)


async def _find_in_faces(pixels: Pixels, part: str, context: EditContext) -> Found:
    faces = await find_faces(pixels, context)
    mask = np.zeros(pixels.shape[:2], np.float32)
    for face in faces:
        await context.compute(_add_part, mask, pixels, face, part)
    return Found(mask, float(np.mean([face.score for face in faces])) if mask.any() else 0.0)


def _add_part(mask: Mask, pixels: Pixels, face: Face, part: str) -> None:
    window = face_regions.window_of(face, *pixels.shape[:2])
    if window is None:
        return
    place = mask[window.rows, window.columns]
    found = face_regions.part(part, *face_regions.worked_on(pixels[window.rows, window.columns], window))
    found = np.asarray(cv2.resize(found, place.shape[::-1], interpolation=cv2.INTER_LINEAR))
    np.maximum(place, found, out=place)


def _flood(pixels: Pixels, x: int, y: int, drawn: bool) -> Mask:
    return flood(pixels, x, y, drawn=drawn)


def whole(mask: Mask) -> Found:
    """A mask that says itself how sure it is: by how far its selected pixels are."""
    selected = mask[mask >= 0.5]
    return Found(mask, float(selected.mean()) if selected.size else 0.0)


def _holds(box: Floats, x: int, y: int) -> bool:
    return bool(box[0] <= x < box[2] and box[1] <= y < box[3])


def _area(box: Floats) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
