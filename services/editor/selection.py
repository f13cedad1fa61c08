"""Which pixels an operation may touch."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.errors import InvalidRequest, Unsupported
from diptych.images import ImageLimits, Mask, Pixels, decode_mask
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.matting import find_subject

_MOST_FEATHER = 200.0
_SERVED = "mask, box and subject"


@dataclass(frozen=True)
class SelectionRequest:
    """A checked selection; exactly one of `mask`, `box`, `subject` is set."""

    path: str
    mask: image_pb2.Image | None
    box: image_pb2.Box | None
    subject: bool
    feather: float
    invert: bool


def read_selection(message: editor_pb2.Selection, faults: Faults) -> SelectionRequest:
    """The selection of a request, its faults recorded; Unsupported for targets that are not served."""
    target = message.WhichOneof("target")
    if target in ("point", "label"):
        raise Unsupported(f"{faults.path}.{target}: selecting by {target} is not served here; {_SERVED} are")
    if target is None:
        faults.add("points at nothing; set one of mask, box, point, label, subject")
    if target == "box" and (message.box.width == 0 or message.box.height == 0):
        (faults / "box").add("is empty; give a width and a height of at least 1")
    if target == "subject" and not message.subject:
        (faults / "subject").add("is false; set it to true, or select by mask or box")
    feather = faults.number(message, "feather", 0, _MOST_FEATHER, 0)
    return SelectionRequest(
        path=faults.path,
        mask=message.mask if target == "mask" else None,
        box=message.box if target == "box" else None,
        subject=target == "subject",
        feather=feather,
        invert=message.invert,
    )


async def resolve(request: SelectionRequest, pixels: Pixels, context: EditContext) -> Mask:
    """(H, W) float32 0..1. InvalidRequest when mask or box do not fit the picture."""
    height, width = pixels.shape[:2]
    if request.mask is not None:
        mask = await context.compute(_decode, request.mask, width, height, f"{request.path}.mask", context.limits)
    elif request.box is not None:
        mask = _box_mask(request.box, width, height, f"{request.path}.box")
    else:
        mask = await find_subject(pixels, context)
    return await context.compute(_finish, mask, request.feather, request.invert)


def _decode(mask: image_pb2.Image, width: int, height: int, field: str, limits: ImageLimits) -> Mask:
    return decode_mask(mask, (width, height), field=field, limits=limits)


def _box_mask(box: image_pb2.Box, width: int, height: int, field: str) -> Mask:
    check_box(box, width, height, field)
    mask = np.zeros((height, width), np.float32)
    mask[box.y : box.y + box.height, box.x : box.x + box.width] = 1
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
