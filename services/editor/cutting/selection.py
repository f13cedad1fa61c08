"""Which pixels an operation may touch."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych import labels
from diptych.errors import InvalidRequest
from diptych.images import ImageLimits, Mask, Pixels, decode_mask
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.cutting.finding import Found, find_at, find_in, find_named, whole
from services.editor.cutting.matting import find_subject
from services.editor.cutting.reach import Reach, extended
from services.editor.faults import Faults

_MOST_FEATHER = 200.0
_MOST_LABEL = 100


@dataclass(frozen=True)
class SelectionRequest:
    """A checked selection; exactly one of `mask`, `box`, `point`, `label`, `subject` is set."""

    path: str
    mask: image_pb2.Image | None
    box: image_pb2.Box | None
    point: image_pb2.Point | None
    label: str
    subject: bool
    feather: float
    invert: bool
    refine: bool


def read_selection(message: editor_pb2.Selection, faults: Faults) -> SelectionRequest:
    """The selection of a request, its faults recorded."""
    target = message.WhichOneof("target")
    if target is None:
        faults.add("points at nothing; set one of mask, box, point, label, subject")
    if target == "box" and (message.box.width == 0 or message.box.height == 0):
        (faults / "box").add("is empty; give a width and a height of at least 1")
    if target == "subject" and not message.subject:
        (faults / "subject").add("is false; set it to true, or select by mask or box")
    if target == "label":
        _check_label(message.label, faults / "label")
    if message.refine and target != "box":
        (faults / "refine").add("goes with a box only; leave it out")
    feather = faults.number(message, "feather", 0, _MOST_FEATHER, 0)
    return SelectionRequest(
        path=faults.path,
        mask=message.mask if target == "mask" else None,
        box=message.box if target == "box" else None,
        point=message.point if target == "point" else None,
        label=message.label if target == "label" else "",
        subject=target == "subject",
        feather=feather,
        invert=message.invert,
        refine=message.refine,
    )


async def resolve(request: SelectionRequest, pixels: Pixels, context: EditContext, reach: Reach = Reach.THING) -> Mask:
    """(H, W) float32 0..1, where an operation may act; found things as far as `reach` says.

    InvalidRequest when mask, box or point do not fit the picture, or a label names nothing that is in it: an edit of
    what is not there would silently be none.
    """
    found = await find(request, pixels, context, reach)
    if request.label and not (found.score and found.mask.any()):
        raise InvalidRequest.single(
            f"{request.path}.label",
            f"nothing called “{request.label}” was found in this picture; name something else, or select by box, point "
            "or mask",
        )
    return found.mask


async def find(request: SelectionRequest, pixels: Pixels, context: EditContext, reach: Reach = Reach.THING) -> Found:
    """What is selected; nothing, also when it is inverted, for a label that names nothing in the picture."""
    found = await _target(request, pixels, context)
    if request.label and not found.score:
        return found
    mask = found.mask
    if request.mask is None and (request.box is None or request.refine):
        mask = await context.compute(extended, mask, reach)
    return Found(await context.compute(_finish, mask, request.feather, request.invert), found.score)


async def _target(request: SelectionRequest, pixels: Pixels, context: EditContext) -> Found:
    height, width = pixels.shape[:2]
    if request.mask is not None:
        mask = await context.compute(_decode, request.mask, width, height, f"{request.path}.mask", context.limits)
        return Found(mask, 1.0)
    if request.box is not None:
        check_box(request.box, width, height, f"{request.path}.box")
        left, top = request.box.x, request.box.y
        edges = (left, top, left + request.box.width, top + request.box.height)
        if request.refine:
            return await find_in(pixels, np.array(edges, np.float32), context)
        return Found(_box_mask(edges, width, height), 1.0)
    if request.point is not None:
        if request.point.x >= width or request.point.y >= height:
            raise InvalidRequest.single(
                f"{request.path}.point",
                f"is at {request.point.x}, {request.point.y}, but the picture at this point is {width} x {height}; "
                "keep inside it",
            )
        return await find_at(pixels, request.point.x, request.point.y, context)
    if request.label:
        return await find_named(pixels, request.label, context)
    return whole(await find_subject(pixels, context))


def _check_label(label: str, faults: Faults) -> None:
    if not label.strip() or len(label) > _MOST_LABEL:
        faults.add(f"has {len(label)} characters; name a thing in 1 to {_MOST_LABEL}")
    elif not labels.meaning(label):
        near = ", ".join(labels.similar(label))
        faults.add(
            f"is {label[:40]!r}, which cannot be found by name here; try {near}, or select by box, point or mask; "
            f"names are {', '.join(labels.SPECIAL)}, and the {len(labels.COCO)} kinds of COCO, such as person or cup"
        )


def _decode(mask: image_pb2.Image, width: int, height: int, field: str, limits: ImageLimits) -> Mask:
    return decode_mask(mask, (width, height), field=field, limits=limits)


def _box_mask(edges: tuple[int, int, int, int], width: int, height: int) -> Mask:
    left, top, right, bottom = edges
    mask = np.zeros((height, width), np.float32)
    mask[top:bottom, left:right] = 1
    return mask


def check_box(box: image_pb2.Box, width: int, height: int, field: str) -> None:
    """InvalidRequest naming `field` unless the box lies inside the picture."""
    if box.x + box.width > width or box.y + box.height > height:
        raise InvalidRequest.single(
            field,
            f"reaches {box.x + box.width}, {box.y + box.height}, but the picture at this point is {width} x {height}; "
            "keep inside it",
        )


def _finish(mask: Mask, feather: float, invert: bool) -> Mask:
    """Inverts, then softens inwards: what is not selected stays at exactly 0."""
    chosen = (1 - mask).astype(np.float32) if invert else mask
    if feather <= 0 or not chosen.any():
        return chosen
    selected = np.pad((chosen > 0).astype(np.uint8), 1, constant_values=1)
    depth: Any = cv2.distanceTransform(selected, cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = ((depth - 0.5) / feather).clip(0, 1)
    smooth = (1 - np.cos(ramp * math.pi)) / 2
    softened: Mask = (chosen * smooth).astype(np.float32)
    return softened


async def bound(
    before: Pixels, apply: Callable[[Pixels], Awaitable[Pixels]], selection: Mask | None, context: EditContext
) -> Pixels:
    """What `apply` makes of the picture, within the selection; elsewhere the very same pixels."""
    after = await apply(before)
    return after if selection is None else await context.compute(blend, before, after, selection)


def blend(before: Pixels, after: Pixels, selection: Mask) -> Pixels:
    """`after` where the selection is 1, `before` bit for bit where it is 0, mixed between."""
    result = before.copy()
    whole = selection >= 1
    result[whole] = after[whole]
    part = (selection > 0) & ~whole
    share = selection[part][:, np.newaxis]
    result[part] = np.rint(before[part] * (1 - share) + after[part] * share)
    return result
