"""Writes words on the picture."""

from dataclasses import dataclass

import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.filling.lettering import FONT, mask_of, missing, set_in
from services.editor.filling.placing import over
from services.editor.pixels.anchors import anchored
from services.editor.pixels.wide_blur import wide_blur

_MOST_CHARACTERS = 500
_WHITE, _BLACK = (255, 255, 255), (16, 16, 16)
# Lightness, 0 to 255, from which black letters are read better than white ones.
_BRIGHT = 150
# The shade around letters: how dark, and how soft and how far as shares of a line's height.
_SHADE, _SHADE_BLUR, _SHADE_ROOM = 0.55, 0.12, 0.5
# Around letters on a box, as a share of a line's height.
_PADDING = 0.35
_LEFT = (editor_pb2.ANCHOR_LEFT, editor_pb2.ANCHOR_TOP_LEFT, editor_pb2.ANCHOR_BOTTOM_LEFT)
_RIGHT = (editor_pb2.ANCHOR_RIGHT, editor_pb2.ANCHOR_TOP_RIGHT, editor_pb2.ANCHOR_BOTTOM_RIGHT)

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Parameters:
    """`size`: a line's height as a share of the picture's, None for what reads well. No `color`: white or black."""

    text: str
    color: Color | None
    anchor: int
    size: float | None
    opacity: float
    background: Color | None


def read(message: editor_pb2.WriteText, faults: Faults) -> Parameters:
    """The parameters; text is required, in letters that the font has."""
    place = faults / "text"
    if not message.text.strip():
        place.add("is empty; say what to write")
    elif len(message.text) > _MOST_CHARACTERS:
        place.add(f"has {len(message.text)} characters; give at most {_MOST_CHARACTERS}")
    elif lacking := missing(message.text):
        place.add(f"has {lacking[:20]!r}, which the font {FONT} lacks; it has Latin, Greek and Cyrillic letters")
    size = faults.number(message, "size", 0, 1, 1, open_low=True)
    return Parameters(
        message.text,
        faults.color(message, "color"),
        faults.choice(message, "anchor", editor_pb2.Anchor.values()),
        size if message.HasField("size") else None,
        faults.number(message, "opacity", 0, 1, 1),
        faults.color(message, "background"),
    )


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with the words on it."""
    height, width = image.shape[:2]
    lettering = await context.compute(set_in, parameters.text, width, height, parameters.size)
    if lettering is None:
        asked = "this size" if parameters.size is not None else "any size that can be read"
        name = "size" if parameters.size is not None else "text"
        raise context.fault(name, f"does not fit into {width} x {height} pixels at {asked}; write less, or smaller")
    align = "left" if parameters.anchor in _LEFT else "right" if parameters.anchor in _RIGHT else "center"
    letters = await context.compute(mask_of, lettering, align)
    padding = round(_PADDING * lettering.pixels) if parameters.background is not None else 0
    size = letters.shape[1] + 2 * padding, letters.shape[0] + 2 * padding
    left, top = anchored(parameters.anchor, size, image)
    behind = image[max(0, top) : top + size[1], max(0, left) : left + size[0]]
    color = parameters.color or _readable(parameters.background, behind)
    context.note(text=parameters.text, size=lettering.pixels / height, lines=len(lettering.lines))
    context.note(position=f"{left},{top}", color="#{:02x}{:02x}{:02x}".format(*color), opacity=parameters.opacity)
    context.method(FONT, "pillow")

    def written() -> Pixels:
        place = (left + padding, top + padding)
        if parameters.background is not None:
            box = np.full((size[1], size[0]), parameters.opacity, np.float32)
            ground = _laid(image, box, (left, top), parameters.background)
        else:
            ground = _shaded(image, letters * parameters.opacity, place, lettering.pixels, color)
        return _laid(ground, letters * np.float32(parameters.opacity), place, color)

    result = await context.compute(written)
    return result if context.selection is None else await context.compute(blend, image, result, context.selection)


def _readable(background: Color | None, behind: Pixels) -> Color:
    """White or black, whichever stands out against the box or the picture behind."""
    colors = np.array(background, np.float64) if background is not None else behind[..., :3].reshape(-1, 3).mean(0)
    return _BLACK if float(colors @ (0.299, 0.587, 0.114)) >= _BRIGHT else _WHITE


def _shaded(image: Pixels, letters: Mask, place: tuple[int, int], pixels: int, color: Color) -> Pixels:
    """The picture with a soft shade around the letters, against their colour."""
    room = round(_SHADE_ROOM * pixels)
    wide = wide_blur(np.pad(letters, room), max(0.5, _SHADE_BLUR * pixels))
    against = _BLACK if sum(color) > sum(_BLACK) + 200 else _WHITE
    shade = (wide * (2 * _SHADE)).clip(0, _SHADE).astype(np.float32)
    return _laid(image, shade, (place[0] - room, place[1] - room), against)


def _laid(image: Pixels, alpha: Mask, place: tuple[int, int], color: Color) -> Pixels:
    """The picture with one colour laid on it by `alpha`, whose top left corner is at `place`."""
    left, top = place
    rows = slice(max(0, top), max(0, min(image.shape[0], top + alpha.shape[0])))
    columns = slice(max(0, left), max(0, min(image.shape[1], left + alpha.shape[1])))
    part = np.ascontiguousarray(
        alpha[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left], np.float32
    )
    result = image.copy()
    colors = np.broadcast_to(np.array(color, np.uint8), (*part.shape, 3))
    result[rows, columns] = over(result[rows, columns], np.ascontiguousarray(colors), part)
    return result
