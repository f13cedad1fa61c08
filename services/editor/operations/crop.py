"""Keeps a part of the picture."""

import math
from dataclasses import dataclass

import numpy as np

from diptych.images import Pixels, to_rgba
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.cutting.matting import extent, subject_box
from services.editor.cutting.selection import check_box
from services.editor.faults import Faults

_MARGIN = 0.05
_SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Parameters:
    """One of `box`, `aspect` (width over height) and `trim`, or the subject, when none is set.

    `trim`: what is taken off left, top, right and bottom, in pixels, or in shares of the sides where `relative`.
    `corner_radius`: of rounded corners, as a share of the shorter side; with it alone all of the picture is kept.
    """

    box: image_pb2.Box | None
    aspect: float | None
    margin: float
    subject_aspect: float | None = None
    trim: tuple[float, float, float, float] | None = None
    relative: bool = False
    corner_radius: float | None = None
    whole: bool = False


def read(message: editor_pb2.Crop, faults: Faults) -> Parameters:
    """The parameters; an area is required."""
    area = message.WhichOneof("area")
    rounded = message.HasField("corner_radius")
    if area is None and not rounded:
        faults.add("does not say what to keep; set one of box, aspect, subject, trim, or corner_radius")
    if area == "box" and (message.box.width == 0 or message.box.height == 0):
        (faults / "box").add("is empty; give a width and a height of at least 1")
    if area == "subject" and not message.subject:
        (faults / "subject").add("is false; set it to true, or give box or aspect")
    given = {"margin": message.HasField("margin"), "subject_aspect": bool(message.subject_aspect)}
    for name in (name for name in given if given[name] and area != "subject"):
        (faults / name).add("goes with subject only; leave it out")
    return Parameters(
        box=message.box if area == "box" else None,
        aspect=(faults / "aspect").aspect(message.aspect) if area == "aspect" else None,
        margin=faults.number(message, "margin", 0, 1, _MARGIN),
        subject_aspect=(faults / "subject_aspect").aspect(message.subject_aspect) if given["subject_aspect"] else None,
        trim=_trim(message.trim, faults / "trim") if area == "trim" else None,
        relative=message.trim.relative,
        corner_radius=faults.number(message, "corner_radius", 0, 0.5, 0.5, open_low=True) if rounded else None,
        whole=area is None,
    )


def _trim(message: editor_pb2.Trim, faults: Faults) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(getattr(message, side)) for side in _SIDES)
    most = 1.0 if message.relative else math.inf
    for side, value in zip(_SIDES, (left, top, right, bottom), strict=True):
        if not (math.isfinite(value) and 0 <= value <= most):
            asked = "a share from 0 to 1" if message.relative else "pixels, 0 or more"
            (faults / side).add(f"is {value:g}; give {asked}")
    if not any((left, top, right, bottom)):
        faults.add("takes nothing off; give left, top, right or bottom")
    return left, top, right, bottom


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The part as an array of its own."""
    height, width = image.shape[:2]
    if parameters.whole:
        left, top, right, bottom = 0, 0, width, height
    elif parameters.box is not None:
        box = parameters.box
        check_box(box, width, height, f"{context.path}.box")
        left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    elif parameters.aspect is not None:
        kept_width, kept_height = largest(width, height, parameters.aspect)
        left, top = (width - kept_width) // 2, (height - kept_height) // 2
        right, bottom = left + kept_width, top + kept_height
    elif parameters.trim is not None:
        left, top, right, bottom = _within(parameters.trim, parameters.relative, width, height)
        if left >= right or top >= bottom:
            raise context.fault("trim", f"leaves nothing of the picture of {width} x {height} at this point; take less")
    else:
        chosen = context.selection
        found = await subject_box(image, context) if chosen is None else extent(chosen)
        if found is None:
            raise context.fault("subject", "is nowhere to be found in this picture; give box or aspect")
        left, top, right, bottom = around(found, width, height, parameters)
        context.note(margin=parameters.margin)
    context.note(box=f"{left},{top},{right - left},{bottom - top}")
    context.method("crop", "numpy")
    kept = np.ascontiguousarray(image[top:bottom, left:right])
    if parameters.corner_radius is None:
        return kept
    context.note(corner_radius=parameters.corner_radius)
    return await context.compute(with_round_corners, kept, parameters.corner_radius)


def with_round_corners(image: Pixels, share: float) -> Pixels:
    """(H, W, 4): the corners cut round, with a radius that is a share of the shorter side, smooth to a pixel.

    Colours stay under what is transparent, so that no other colour shines through at the edge.
    """
    result = to_rgba(image).copy()
    height, width = result.shape[:2]
    radius = share * min(height, width)
    side = math.ceil(radius)
    # From the middle of each pixel to the middle of the circle; within half a pixel of its edge it is covered in part.
    away = radius - (np.arange(side, dtype=np.float32) + 0.5)
    cover = np.clip(radius - np.hypot(away[:, None], away[None, :]) + 0.5, 0, 1)
    cover[(away < 0)[:, None] | (away < 0)[None, :]] = 1
    for rows, columns, corner in (
        (slice(0, side), slice(0, side), cover),
        (slice(0, side), slice(width - side, width), cover[:, ::-1]),
        (slice(height - side, height), slice(0, side), cover[::-1]),
        (slice(height - side, height), slice(width - side, width), cover[::-1, ::-1]),
    ):
        result[rows, columns, 3] = np.rint(result[rows, columns, 3] * corner)
    return result


def _within(trim: tuple[float, float, float, float], relative: bool, width: int, height: int) -> tuple[int, ...]:
    """Left, top, right, bottom of what is left."""
    sides = (width, height) if relative else (1, 1)
    off = [round(value * sides[number % 2]) for number, value in enumerate(trim)]
    return off[0], off[1], width - off[2], height - off[3]


def around(
    subject: tuple[int, int, int, int], width: int, height: int, parameters: Parameters
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is kept around a subject: its margin, and the aspect if one is asked for."""
    margin = round(max(subject[2] - subject[0], subject[3] - subject[1]) * parameters.margin)
    left, top = max(0, subject[0] - margin), max(0, subject[1] - margin)
    right, bottom = min(width, subject[2] + margin), min(height, subject[3] + margin)
    if parameters.subject_aspect is None:
        return left, top, right, bottom
    aspect = parameters.subject_aspect
    wide = max(right - left, round((bottom - top) * aspect))
    kept_width, kept_height = min((wide, max(1, round(wide / aspect))), largest(width, height, aspect))
    new_left = min(max(0, (left + right - kept_width) // 2), width - kept_width)
    new_top = min(max(0, (top + bottom - kept_height) // 2), height - kept_height)
    return new_left, new_top, new_left + kept_width, new_top + kept_height


def largest(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Width and height of the largest rectangle of an aspect inside a picture, at least one pixel each."""
    if width / height > aspect:
        return max(1, min(width, round(height * aspect))), height
    return width, max(1, min(height, round(width / aspect)))
