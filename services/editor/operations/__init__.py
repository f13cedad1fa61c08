"""The edits that are served, by name: one module each with `read`, which checks parameters, and `apply`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.cutting.reach import Reach
from services.editor.faults import Faults
from services.editor.operations import (
    add_object,
    analyze,
    blur_background,
    color_correct,
    composite,
    crop,
    deblur,
    denoise,
    enhance,
    extend,
    match_style,
    remove_background,
    remove_object,
    replace_background,
    replace_object,
    resize,
    retouch,
    rotate,
    style_transfer,
    upscale,
    write_text,
)


@dataclass(frozen=True)
class Edit:
    """One kind of edit. `read(message, faults)` gives its parameters; `apply(image, parameters, context)` an image.

    `selectable(message)`: whether it may be bound to a selection. `reach`: how far the selection of a found thing goes.
    `keeps(parameters)`: whether the result must show what the input showed, so that a broken model is told.
    """

    name: str
    read: Callable[[Any, Faults], Any]
    apply: Callable[[Pixels, Any, EditContext], Awaitable[Pixels]]
    selectable: Callable[[Any], bool] = lambda message: False
    reach: Reach = Reach.THING
    keeps: Callable[[Any], bool] = lambda parameters: False


def _always(parameters: object) -> bool:
    return True


EDITS = {
    edit.name: edit
    for edit in (
        Edit(
            "remove_background",
            remove_background.read,
            remove_background.apply,
            keeps=lambda asked: not asked.mask_only,
        ),
        Edit("denoise", denoise.read, denoise.apply, selectable=_always, keeps=_always),
        Edit("enhance", enhance.read, enhance.apply, selectable=_always, keeps=_always),
        Edit("deblur", deblur.read, deblur.apply, selectable=_always, keeps=_always),
        Edit("replace_background", replace_background.read, replace_background.apply, selectable=_always),
        Edit("blur_background", blur_background.read, blur_background.apply, selectable=_always, keeps=_always),
        Edit("remove_object", remove_object.read, remove_object.apply, selectable=_always, reach=Reach.RIM),
        Edit("replace_object", replace_object.read, replace_object.apply, selectable=_always, reach=Reach.BOX),
        Edit("add_object", add_object.read, add_object.apply, selectable=_always),
        Edit("composite", composite.read, composite.apply, selectable=_always),
        Edit("upscale", upscale.read, upscale.apply, keeps=_always),
        Edit("color_correct", color_correct.read, color_correct.apply, selectable=_always),
        Edit("retouch", retouch.read, retouch.apply, selectable=_always, keeps=_always),
        Edit("match_style", match_style.read, match_style.apply, selectable=_always),
        Edit("style_transfer", style_transfer.read, style_transfer.apply, selectable=_always),
        Edit("crop", crop.read, crop.apply, selectable=lambda message: message.subject),
        Edit("resize", resize.read, resize.apply),
        Edit("extend", extend.read, extend.apply),
        Edit("rotate", rotate.read, rotate.apply),
        Edit("analyze", analyze.read, analyze.apply),
        Edit("write_text", write_text.read, write_text.apply, selectable=_always),
    )
}
