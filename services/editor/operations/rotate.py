"""Turns and mirrors."""

import math
from dataclasses import dataclass

import numpy as np

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.pixels.resampling import turn, turned_size
from services.editor.seeing.horizon import find_tilt


@dataclass(frozen=True)
class Parameters:
    """`angle` in degrees clockwise; `expand` None when the request leaves it open."""

    angle: float
    flip_horizontal: bool
    flip_vertical: bool
    straighten: bool
    expand: bool | None


def read(message: editor_pb2.Rotate, faults: Faults) -> Parameters:
    """The parameters."""
    expand = message.expand if message.HasField("expand") else None
    angle = faults.number(message, "angle", -360, 360, 0)
    return Parameters(angle, message.flip_horizontal, message.flip_vertical, message.straighten, expand)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture turned; multiples of 90 degrees and mirroring only move pixels.

    New corners are transparent, or white where there is no alpha. Straightening keeps the part without corners,
    unless `expand` is asked for.
    """
    expand = parameters.expand is not False
    context.note(
        angle=parameters.angle,
        flip_horizontal=parameters.flip_horizontal,
        flip_vertical=parameters.flip_vertical,
        straighten=parameters.straighten,
        expand=expand,
    )
    if parameters.flip_horizontal:
        image = image[:, ::-1]
    if parameters.flip_vertical:
        image = image[::-1]
    angle = parameters.angle % 360
    context.method("rotate", "numpy" if angle % 90 == 0 else "opencv")
    if angle % 90 == 0 and (expand or angle % 180 == 0):
        image = np.rot90(image, -round(angle / 90))
    elif angle:
        if expand:
            context.check_size(*turned_size(image.shape[1], image.shape[0], angle), "angle")
        image = await context.compute(_turn, image, angle, expand)
    if parameters.straighten:
        tilt = await context.compute(find_tilt, image)
        context.note(straighten_angle=-tilt if tilt else 0.0)
        context.method("line-segments", "opencv")
        if tilt:
            if parameters.expand:
                context.check_size(*turned_size(image.shape[1], image.shape[0], -tilt), "straighten")
            image = await context.compute(_level, image, tilt, bool(parameters.expand))
    return np.ascontiguousarray(image)


def _turn(image: Pixels, angle: float, expand: bool) -> Pixels:
    return turn(np.ascontiguousarray(image), angle, expand=expand)


def _level(image: Pixels, tilt: float, expand: bool) -> Pixels:
    turned = _turn(image, -tilt, True)
    if expand:
        return turned
    width, height = _inner_size(image.shape[1], image.shape[0], tilt)
    left, top = (turned.shape[1] - width) // 2, (turned.shape[0] - height) // 2
    return turned[top : top + height, left : left + width]


def _inner_size(width: int, height: int, angle: float) -> tuple[int, int]:
    """Width and height of the largest upright rectangle of the picture's own aspect inside the turned picture."""
    sin, cos = math.sin(math.radians(abs(angle))), math.cos(math.radians(abs(angle)))
    share = min(width / (width * cos + height * sin), height / (width * sin + height * cos))
    # Two pixels less: the turned edge itself is soft.
    return max(1, int(width * share) - 2), max(1, int(height * share) - 2)
