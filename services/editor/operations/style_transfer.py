"""The picture painted in another style: by name, or by example."""

from dataclasses import dataclass

import numpy as np

from diptych.images import Pixels, flatten, from_message
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.operations.denoise import merge, visible_colors
from services.editor.styling.drawn_styles import DRAWINGS
from services.editor.styling.named_styles import NamedStyle, Palette, find_style, named_styles, similar_styles
from services.editor.styling.stylizing import enlarge_sharply, finish, paint_like, paint_named

NAMED_MODEL = "multistyle-26"
_READER, _PAINTER, _CLEANER = "magenta-style-code", "magenta-style", "ffdnet"


@dataclass(frozen=True)
class Parameters:
    """One of `named` and `example` is set; the example is decoded when its turn comes. `strength` 0 to 1."""

    named: NamedStyle | None
    example: image_pb2.Image | None
    strength: float
    keep_colors: bool
    model: str


def read(message: editor_pb2.StyleTransfer, faults: Faults) -> Parameters:
    """The parameters, full strength by default."""
    kind = message.WhichOneof("style")
    named = None
    if kind is None:
        faults.add("has no style; set one of name and image")
    elif kind == "image" and not message.image.content:
        (faults / "image" / "content").add("is empty; send the bytes of a picture in the wanted style")
    elif kind == "name":
        named = find_style(message.name)
        if named is None:
            near = similar_styles(message.name[:40])
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            known = ", ".join(sorted(named_styles()))
            (faults / "name").add(
                f"is {message.name[:40]!r}, which is not known; {hint}give a picture in that style, or one of {known}"
            )
    if kind == "image" and message.model:
        (faults / "model").add("chooses among models for named styles; leave it out when the style is a picture")
    strength = faults.number(message, "strength", 0, 1, 1)
    example = message.image if kind == "image" else None
    return Parameters(named, example, strength, message.keep_colors, message.model or NAMED_MODEL)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture painted; alpha stays, and so does every pixel outside the selection."""
    context.note(strength=parameters.strength, keep_colors=parameters.keep_colors)
    colors = await context.compute(visible_colors, image)
    palette: Palette = "photo" if parameters.keep_colors else "own"
    if parameters.named is not None:
        context.note(name=parameters.named.name)
        if parameters.named.blend is not None:
            context.note(model=parameters.model)
        if not parameters.keep_colors:
            palette = parameters.named.palette
    if parameters.strength == 0:
        return image
    named = parameters.named
    if named is not None and named.blend is None:
        context.method(named.drawing, "opencv")
        painted = await context.compute(DRAWINGS[named.drawing], colors)
    else:
        if named is not None and named.blend is not None:
            model = await context.model(parameters.model)
            painted = await paint_named(colors, named.blend, model, context)
        else:
            painted = await _like_example(colors, parameters.example or image_pb2.Image(), context)
        painted = await enlarge_sharply(painted, image.shape[1], context)
    finished = await context.compute(finish, painted, colors, palette)
    return await context.compute(merge, image, finished, parameters.strength, context.selection)


async def _like_example(colors: Pixels, message: image_pb2.Image, context: EditContext) -> Pixels:
    field = f"{context.path}.image"
    example = await context.compute(lambda: flatten(from_message(message, field=field, limits=context.limits)))
    context.note(model=f"{_READER} {_PAINTER}")
    reader, painter, cleaner = [await context.model(name) for name in (_READER, _PAINTER, _CLEANER)]
    return await paint_like(colors, np.ascontiguousarray(example), reader, painter, cleaner, context)
