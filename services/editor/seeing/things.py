"""Things: 80 kinds of them, found by CenterNet (Zhou et al. 2019, Objects as Points)."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels
from diptych.labels import COCO
from services.editor.context import EditContext
from services.editor.pixels.color_spaces import Floats
from services.editor.seeing.framing import apart, framed, planes

DETECTOR = "centernet"
_MOST = 100
_MOST_OVERLAP = 0.5
# Two kinds in one place: one thing, and the surer kind is what it is.
_SAME_PLACE = 0.8


@dataclass(frozen=True)
class Thing:
    """A thing and its box (left, top, right, bottom), float32 pixels inside the picture."""

    label: str
    score: float
    box: Floats


async def find_things(pixels: Pixels, context: EditContext, threshold: float | None = None) -> list[Thing]:
    """The things that are surer than `threshold` (default: the model's), surest first."""
    model = await context.model(DETECTOR)
    defaults = model.manifest.defaults
    side = (model.fixed_size or (512, 512))[0]
    frame = await context.compute(framed, pixels, side)
    (spec,) = model.engine.inputs
    results = await model.run_row({spec.name: planes(frame.pixels, defaults)}, context.deadline)
    reach, heat = sorted(results.values(), key=lambda part: part.shape[0])
    least = float(defaults.get("threshold", 0.3)) if threshold is None else threshold
    labels, scores, boxes = _peaks(reach, heat, least, side)
    if not len(labels):
        return []
    boxes = frame.back(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
    height, width = pixels.shape[:2]
    boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
    kept = [index for label in np.unique(labels) for index in _of_kind(boxes, scores, labels == label)]
    best = apart(boxes[kept], scores[kept], _SAME_PLACE)
    things = [Thing(COCO[labels[kept[one]]], float(scores[kept[one]]), boxes[kept[one]]) for one in best]
    return [one for one in things if one.box[2] - one.box[0] >= 1 and one.box[3] - one.box[1] >= 1]


def _of_kind(boxes: Floats, scores: Floats, chosen: np.ndarray[Any, Any]) -> list[int]:
    indices = np.flatnonzero(chosen)
    return [int(indices[one]) for one in apart(boxes[indices], scores[indices], _MOST_OVERLAP)]


def _peaks(reach: Floats, heat: Floats, least: float, side: int) -> tuple[np.ndarray[Any, Any], Floats, Floats]:
    """Class, score, box (pixels of the frame) of each peak of `heat` (C, h, w); `reach` (4, h, w) is to its edges."""
    around = np.ones((3, 3), np.uint8)
    highest = np.stack([cv2.dilate(plane, around) for plane in heat])
    peaks = np.argwhere((heat >= max(least, 1e-3)) & (heat == highest))
    scores = heat[tuple(peaks.T)]
    best = np.argsort(-scores, kind="stable")[:_MOST]
    labels, rows, columns = peaks[best].T
    step = side / heat.shape[1]
    place = np.stack([columns, rows], axis=1).astype(np.float32) * np.float32(step)
    edges = reach[:, rows, columns].T
    boxes = np.concatenate([place - edges[:, :2], place + edges[:, 2:]], axis=1)
    return labels, scores[best], boxes.astype(np.float32)
