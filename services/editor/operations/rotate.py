"""Turns and mirrors."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from diptych.images import Pixels, flatten, to_rgba
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.resampling import turn, turned_size

# A horizon further off than this is meant to be so; one nearer than this is level.
_MOST_TILT, _LEAST_TILT = 15.0, 0.1


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
        context.method("hough-lines", "opencv")
        if tilt:
            if parameters.expand:
                context.check_size(*turned_size(image.shape[1], image.shape[0], -tilt), "straighten")
            image = await context.compute(_level, image, tilt, bool(parameters.expand))
    return np.ascontiguousarray(image)


def _turn(image: Pixels, angle: float, expand: bool) -> Pixels:
    turned = turn(to_rgba(image), angle, expand=expand)
    return turned if image.shape[2] == 4 else flatten(turned)


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


def find_tilt(image: Pixels) -> float:
    """Degrees clockwise by which the picture's long lines lean from level and upright; 0 when there are too few.

    Probabilistic Hough transform (Matas 2000); the angle on which most line length agrees.
    """
    grey = cv2.cvtColor(flatten(np.ascontiguousarray(image)), cv2.COLOR_RGB2GRAY)
    shrink = min(1.0, 1000 / max(grey.shape))
    if shrink < 1:
        grey = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    side = min(grey.shape)
    cv2.setRNGSeed(0)
    edges = cv2.Canny(cv2.GaussianBlur(grey, (0, 0), 1.2), 40, 120)
    lines = cv2.HoughLinesP(edges, 1, np.pi / 1440, max(30, side // 10), minLineLength=side / 10, maxLineGap=side / 100)
    if lines is None:
        return 0.0
    x1, y1, x2, y2 = lines.reshape(-1, 4).T.astype(np.float64)
    length = np.hypot(x2 - x1, y2 - y1)
    lean = (np.degrees(np.arctan2(y2 - y1, x2 - x1)) + 45) % 90 - 45
    near = np.abs(lean) <= _MOST_TILT
    lean, length = lean[near], length[near]
    if not len(lean):
        return 0.0
    agreeing = np.array([length[np.abs(lean - one) <= 0.75].sum() for one in lean])
    chosen = np.abs(lean - lean[int(agreeing.argmax())]) <= 0.75
    # Roofs, hills and perspective lean each their own way: without a majority nothing is known.
    if length[chosen].sum() < max(side / 2, length.sum() / 2):
        return 0.0
    tilt = float((lean[chosen] * length[chosen]).sum() / length[chosen].sum())
    return round(tilt, 3) if abs(tilt) >= _LEAST_TILT else 0.0
