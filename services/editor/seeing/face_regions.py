"""Parts of a face as soft masks, from its landmarks and its colours. Numbers are those of MediaPipe's face mesh."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych import labels
from diptych.images import Mask, Pixels
from services.editor.pixels.color_spaces import Floats
from services.editor.seeing.faces import Face

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
MOUTH = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
NOSTRILS = (
    (98, 240, 99, 60, 75, 166, 79, 238, 20, 242, 97, 2),
    (327, 460, 328, 290, 305, 392, 309, 458, 250, 462, 326, 2),
)
# Where skin is skin in almost every face: cheeks, the bridge of the nose, the chin.
_SAMPLES = ((205, 50, 101, 36), (425, 280, 330, 266), (6, 197, 195, 122, 351), (199, 200, 175, 421, 201))
# Lightness may differ three times as much as colour before it is something else: light falls unevenly on a face.
_TOLERANCE = np.array([30.0, 9.0, 9.0], np.float32)
_FRACTION_BITS = 4
_SIDE = 1000
# Radius of the widest spot, share of the face.
_SPOT = 0.02


@dataclass(frozen=True)
class FaceWindow:
    """The part of a picture around a face: `landmarks` (468, 2) counted from its corner, `size` of the face."""

    rows: slice
    columns: slice
    landmarks: Floats
    size: float

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def window_of(face: Face, height: int, width: int, room: float = 0.35) -> FaceWindow | None:
    """The window with `room` sides of the face around it; None for a face outside of the picture."""
    margin = room * face.size
    left, top = (int(max(0, np.floor(value - margin))) for value in face.box[:2])
    right, bottom = (
        int(min(limit, np.ceil(v + margin))) for v, limit in zip(face.box[2:], (width, height), strict=True)
    )
    if right - left < 2 or bottom - top < 2:
        return None
    local = face.landmarks - np.array([left, top], np.float32)
    return FaceWindow(slice(top, bottom), slice(left, right), local, face.size)


def worked_on(part: Pixels, window: FaceWindow) -> tuple[Pixels, FaceWindow]:
    """(h, w, 3): the window's pixels at the size that masks are made at, at most 1000, and the window at that size."""
    share = min(1.0, _SIDE / max(window.shape))
    colors = np.ascontiguousarray(part[..., :3])
    if share == 1:
        return colors, window
    size = (max(1, round(part.shape[1] * share)), max(1, round(part.shape[0] * share)))
    scale = np.array([size[0] / part.shape[1], size[1] / part.shape[0]], np.float32)
    small: Pixels = np.asarray(cv2.resize(colors, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, FaceWindow(slice(0, size[1]), slice(0, size[0]), window.landmarks * scale, window.size * share)


def region(window: FaceWindow, *rings: Sequence[int], grow: float = 0.0, soft: float = 0.0) -> Mask:
    """(h, w) float32 0..1 inside the rings, grown and softened by shares of the face's size."""
    inside = np.zeros(window.shape, np.uint8)
    for ring in rings:
        outline = window.landmarks[list(ring)]
        points: Any = np.rint((outline - 0.5) * (1 << _FRACTION_BITS)).astype(np.int32)
        cv2.fillPoly(inside, [points], 255, lineType=cv2.LINE_AA, shift=_FRACTION_BITS)
    reach = round(grow * window.size)
    if reach:
        inside = np.asarray(cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)))
    mask: Mask = inside.astype(np.float32) / np.float32(255)
    return (
        np.asarray(cv2.GaussianBlur(mask, (0, 0), soft * window.size), np.float32) if soft * window.size > 0.3 else mask
    )


def skin(pixels: Pixels, window: FaceWindow) -> Mask:
    """(h, w) float32: where the window's (h, w, 3) `pixels` are skin; not eyes, brows, lips, nostrils, hair."""
    face = region(window, OVAL, soft=0.015)
    result: Mask = face * (1 - features(window)) * like_skin(pixels, window)
    return result


def features(window: FaceWindow) -> Mask:
    """(h, w) float32: eyes, brows, lips and nostrils, with a little of what is around them."""
    parts = (
        region(window, *EYES, grow=0.025, soft=0.01),
        region(window, *BROWS, grow=0.015, soft=0.01),
        region(window, LIPS, grow=0.012, soft=0.008),
        region(window, *(_hull(window, ring) for ring in NOSTRILS), grow=0.006, soft=0.008),
    )
    together: Mask = np.stack(parts).max(axis=0)
    return together


def teeth(pixels: Pixels, window: FaceWindow) -> Mask:
    """(h, w) float32: where teeth show: bright and hardly coloured, between open lips."""
    between = region(window, MOUTH, soft=0.004)
    inside = between > 0.5
    if inside.sum() < 12:
        return np.zeros(window.shape, np.float32)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)
    light, red = lab[..., 0], lab[..., 1] - 128
    # Gums and tongue are redder than teeth, the gap between them is darker; both measured against this mouth.
    bright = float(np.percentile(light[inside], 85))
    pale = ((14 - red) / 8).clip(0, 1) * ((light - 0.55 * bright) / (0.2 * bright + 1)).clip(0, 1)
    shown: Mask = (between * pale).astype(np.float32) if bright > 70 else np.zeros(window.shape, np.float32)
    return np.asarray(cv2.GaussianBlur(shown, (0, 0), max(0.4, 0.004 * window.size)), np.float32)


def part(name: str, pixels: Pixels, window: FaceWindow) -> Mask:
    """(h, w) float32: the part of a face called "face", "skin", "lips", "eyes" or "teeth"."""
    if name == labels.SKIN:
        return skin(pixels, window)
    if name == labels.TEETH:
        return teeth(pixels, window)
    if name == labels.LIPS:
        return (region(window, LIPS, soft=0.004) * (1 - region(window, MOUTH, soft=0.004))).astype(np.float32)
    return region(window, *EYES, soft=0.004) if name == labels.EYES else region(window, OVAL, soft=0.01)


def like_skin(pixels: Pixels, window: FaceWindow) -> Mask:
    """(h, w) float32: how much each place has the colour of the face's own cheeks, nose and chin."""
    # Small spots are part of the skin, so colour is judged a little blurred.
    blurred = cv2.GaussianBlur(pixels, (0, 0), max(0.8, 0.012 * window.size))
    lab = cv2.cvtColor(blurred, cv2.COLOR_RGB2LAB).astype(np.float32)
    samples = lab[region(window, *(_hull(window, ring) for ring in _SAMPLES)) > 0.5]
    if len(samples) < 4:
        return np.zeros(window.shape, np.float32)
    middle = np.median(samples, axis=0)
    spread = np.median(np.abs(samples - middle), axis=0) * 1.5
    distance = np.sqrt(np.square((lab - middle) / (_TOLERANCE + 3 * spread)).sum(axis=2))
    alike: Mask = ((1.6 - distance) / 0.6).clip(0, 1).astype(np.float32)
    # A spot of another colour is still skin; hair and glasses are wider.
    side = 2 * max(1, round(_SPOT * window.size)) + 1
    closed = cv2.morphologyEx(alike, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return np.asarray(cv2.GaussianBlur(closed, (0, 0), max(0.5, 0.008 * window.size)), np.float32)


def _hull(window: FaceWindow, ring: Sequence[int]) -> list[int]:
    """The numbers of the ring that lie on its convex hull, in order."""
    order: Any = cv2.convexHull(window.landmarks[list(ring)], returnPoints=False)
    return [ring[int(index)] for index in order.ravel()]
