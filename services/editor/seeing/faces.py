"""Faces: found by BlazeFace, landmarked by Face Mesh."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.models import OpenModel
from services.editor.pixels.color_spaces import Floats
from services.editor.seeing.framing import apart, framed, planes, shrunk, sigmoid

DETECTOR, MESH = "blazeface", "facemesh"
# Corners of the eyes, by the mesh's numbers; the person's right eye is on the left of an unmirrored picture.
RIGHT_EYE, LEFT_EYE = 33, 263
# BlazeFace sees faces down to about a twelfth of its frame: pictures are also looked at in tiles of half their side.
_TILED_FROM = 512
_TILE_SHARE = 0.5
_MOST_OVERLAP = 0.3
# Side of the square that Face Mesh looks at, in sides of a face's box.
_ROOM = 1.5


@dataclass(frozen=True)
class Face:
    """A face: `box` (left, top, right, bottom) and `landmarks` (468, 2), float32 pixels of the picture."""

    score: float
    box: Floats
    landmarks: Floats

    @property
    def size(self) -> float:
        """Geometric mean of the box's sides, pixels."""
        return float(np.sqrt((self.box[2] - self.box[0]) * (self.box[3] - self.box[1])))


async def find_faces(pixels: Pixels, context: EditContext, landmarks: str = MESH) -> list[Face]:
    """The faces, largest first; `landmarks` names the model that places them."""
    detector, mesh = await context.model(DETECTOR), await context.model(landmarks)
    found: list[tuple[float, Floats, float]] = []
    for left, top, side_x, side_y in _windows(pixels):
        window = pixels[top : top + side_y, left : left + side_x]
        for score, box, tilt in await _detect(window, detector, context):
            found.append((score, box + np.array([left, top, left, top], np.float32), tilt))
    if not found:
        return []
    boxes, scores = np.stack([box for _, box, _ in found]), np.array([score for score, _, _ in found], np.float32)
    faces: list[Face] = []
    for index in apart(boxes, scores, _MOST_OVERLAP):
        face = await _landmark(pixels, *found[index], mesh, context)
        if face is not None:
            faces.append(face)
    if faces:
        kept = apart(np.stack([face.box for face in faces]), np.array([face.score for face in faces]), _MOST_OVERLAP)
        faces = [faces[index] for index in kept]
    return sorted(faces, key=lambda face: -face.size)


async def landmarks_again(pixels: Pixels, face: Face, context: EditContext) -> Floats | None:
    """The landmarks of a face that was found before, looked for anew, such as on an edited picture."""
    again = await _landmark(pixels, face.score, face.box, _tilt(face.landmarks), await context.model(MESH), context)
    return None if again is None else again.landmarks


def aligned(pixels: Pixels, face: Face, side: int, room: float = _ROOM) -> Pixels:
    """(side, side, 3) uint8: the face upright in the middle."""
    return _cut(pixels, _square(face.box, _tilt(face.landmarks), room), side)


def _windows(pixels: Pixels) -> list[tuple[int, int, int, int]]:
    """Left, top, width, height of the whole picture and, if it is large enough, of nine overlapping quarters."""
    height, width = pixels.shape[:2]
    whole = [(0, 0, width, height)]
    if max(height, width) < _TILED_FROM:
        return whole
    size = (round(width * _TILE_SHARE), round(height * _TILE_SHARE))
    places = (0.0, 0.5, 1.0)
    return whole + [
        (round((width - size[0]) * x), round((height - size[1]) * y), *size) for y in places for x in places
    ]


async def _detect(window: Pixels, model: OpenModel, context: EditContext) -> list[tuple[float, Floats, float]]:
    """Score, box and tilt (radians) of each face in the window."""
    side = (model.fixed_size or (256, 256))[0]
    frame = await context.compute(framed, window, side)
    (spec,) = model.engine.inputs
    results = await model.run_row({spec.name: planes(frame.pixels, model.manifest.defaults)}, context.deadline)
    parts = sorted(results.values(), key=lambda part: (-part.shape[0], part.shape[1]))
    scores = sigmoid(np.concatenate([parts[0][:, 0], parts[2][:, 0]]))
    values = np.concatenate([parts[1], parts[3]])
    anchors = _anchors(side)
    good = np.flatnonzero(scores >= float(model.manifest.defaults.get("threshold", 0.5)))
    found: list[tuple[float, Floats, float]] = []
    if not len(good):
        return found
    centres, halves = anchors[good] + values[good, :2], values[good, 2:4] / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    for index in apart(boxes, scores[good], _MOST_OVERLAP):
        points = frame.back((values[good[index], 4:].reshape(6, 2) + anchors[good[index]]).astype(np.float32))
        across = points[1] - points[0]
        tilt = float(np.arctan2(across[1], across[0]))
        box = frame.back(boxes[index].reshape(2, 2).astype(np.float32)).reshape(4)
        found.append((float(scores[good[index]]), box, tilt))
    return found


def _anchors(side: int) -> Floats:
    """(896, 2): where the boxes of BlazeFace begin, two each 16 pixels, then six each 32."""
    grids = []
    for step, count in ((16, 2), (32, 6)):
        middles = np.arange(step / 2, side, step, dtype=np.float32)
        x, y = np.meshgrid(middles, middles)
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), count, axis=0))
    return np.concatenate(grids)


async def _landmark(
    pixels: Pixels, score: float, box: Floats, tilt: float, model: OpenModel, context: EditContext
) -> Face | None:
    """The face with its landmarks, looked at twice, the second time well centred; None if it is no face after all."""
    side = (model.fixed_size or (192, 192))[0]
    (spec,) = model.engine.inputs
    landmarks: Floats | None = None
    for room in (_ROOM * 1.15, _ROOM):
        matrix = _square(box, tilt, room)
        crop = await context.compute(_cut, pixels, matrix, side)
        results = await model.run_row({spec.name: planes(crop, model.manifest.defaults)}, context.deadline)
        mesh, sure = sorted(results.values(), key=lambda part: -part.size)
        if float(sure[0]) < float(model.manifest.defaults.get("threshold", 0.5)):
            return None
        flat = mesh.reshape(-1, 3)[:, :2] / np.float32(side)
        landmarks = (flat @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        box = np.concatenate([landmarks.min(0), landmarks.max(0)])
        tilt = _tilt(landmarks)
    return None if landmarks is None else Face(score, box, landmarks)


def _tilt(landmarks: Floats) -> float:
    across = landmarks[LEFT_EYE] - landmarks[RIGHT_EYE]
    return float(np.arctan2(across[1], across[0]))


def _square(box: Floats, tilt: float, room: float) -> Floats:
    """(2, 3): from the unit square to the picture: `room` sides of the box, turned so that the eyes are level."""
    side = max(box[2] - box[0], box[3] - box[1]) * room
    cos, sin = np.cos(tilt) * side, np.sin(tilt) * side
    turn = np.array([[cos, -sin], [sin, cos]], np.float32)
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], np.float32)
    return np.concatenate([turn, (middle - turn @ np.array([0.5, 0.5], np.float32))[:, np.newaxis]], axis=1)


def _cut(pixels: Pixels, matrix: Floats, side: int) -> Pixels:
    """(side, side, 3): what the square holds, without aliasing; the edge of the picture is repeated outside."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32) @ matrix[:, :2].T + matrix[:, 2]
    height, width = pixels.shape[:2]
    low = np.floor(corners.min(0)).clip(0, [width - 1, height - 1]).astype(int)
    high = np.ceil(corners.max(0)).clip(low + 1, [width, height]).astype(int)
    part = pixels[low[1] : high[1], low[0] : high[0]]
    length = float(np.hypot(*matrix[:, 0]))
    small = shrunk(part, max(side, round(max(part.shape[:2]) * min(1.0, 1.5 * side / length))))
    scale = np.array([small.shape[1] / part.shape[1], small.shape[0] / part.shape[0]], np.float32)
    inner = (matrix - np.array([[0, 0, low[0]], [0, 0, low[1]]], np.float32)) * scale[:, np.newaxis]
    # warpAffine counts from the middles of pixels.
    inner[:, :2] /= side
    inner[:, 2] += inner[:, :2] @ np.array([0.5, 0.5], np.float32) - 0.5
    cut: Any = cv2.warpAffine(
        small, inner, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cut)
