"""Lines of text, by the network of PP-OCR (differentiable binarisation, Liao et al. 2020)."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.pixels.color_spaces import Floats
from services.editor.seeing.framing import planes, shrunk

DETECTOR = "pp-ocr-detection"
_LONGEST = 1280
_STEP = 32
_MARK = 0.3
# The network marks the core of a line; its outline lies further out by this share of area over perimeter.
_GROWTH = 1.5
_LEAST_SIDE = 3


@dataclass(frozen=True)
class TextLine:
    """A line of text: its four corners, clockwise from the top left, float32 pixels of the picture."""

    score: float
    corners: Floats


async def find_text(pixels: Pixels, context: EditContext) -> list[TextLine]:
    """The lines, from top to bottom."""
    model = await context.model(DETECTOR)
    small = await context.compute(_enter, pixels)
    heat = (await model.run(planes(small, model.manifest.defaults), context.deadline))[0]
    scale = np.array([pixels.shape[1] / small.shape[1], pixels.shape[0] / small.shape[0]], np.float32)
    lines = await context.compute(_lines, heat, float(model.manifest.defaults.get("threshold", 0.6)))
    limit = np.array([pixels.shape[1], pixels.shape[0]], np.float32)
    return [TextLine(line.score, (line.corners * scale).clip(0, limit)) for line in lines]


def _enter(pixels: Pixels) -> Pixels:
    """The picture with sides that are multiples of 32, the longer one at most 1280."""
    small = shrunk(pixels, _LONGEST)
    width, height = (max(_STEP, round(side / _STEP) * _STEP) for side in small.shape[1::-1])
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _lines(heat: Floats, least: float) -> list[TextLine]:
    """Lines in a (h, w) map of how sure each place is text, in its pixels."""
    marked = (heat > _MARK).astype(np.uint8)
    contours, _ = cv2.findContours(marked, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    lines: list[TextLine] = []
    for contour in contours:
        core: Any = cv2.minAreaRect(contour)
        (x, y), (width, height), angle = core
        if min(width, height) < _LEAST_SIDE:
            continue
        score = _mean_inside(heat, contour)
        if score < least:
            continue
        growth = width * height * _GROWTH / (2 * (width + height))
        corners = cv2.boxPoints(((x, y), (width + 2 * growth, height + 2 * growth), angle))
        lines.append(TextLine(score, _clockwise(np.asarray(corners, np.float32))))
    return sorted(lines, key=lambda line: (line.corners[:, 1].min(), line.corners[:, 0].min()))


def _mean_inside(heat: Floats, contour: np.ndarray[Any, Any]) -> float:
    left, top, width, height = cv2.boundingRect(contour)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [contour - np.array([left, top])], 1)
    return float(heat[top : top + height, left : left + width][inside > 0].mean())


def _clockwise(corners: Floats) -> Floats:
    """Corners clockwise, the one nearest to the top left first."""
    middle = corners.mean(0)
    ordered = corners[np.argsort(np.arctan2(corners[:, 1] - middle[1], corners[:, 0] - middle[0]))]
    return np.roll(ordered, -int(ordered.sum(1).argmin()), axis=0)
