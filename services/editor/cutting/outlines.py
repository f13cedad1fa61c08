"""The outline of a thing whose place is known, by a matte of its surroundings or GrabCut; and areas of one colour."""

import asyncio
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.context import EditContext
from services.editor.cutting.matting import DEFAULT_MODEL, find_subject
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.guided import guided
from services.editor.seeing.framing import shrunk

_ROOM = 0.15
# Of a box that holds one thing, a believable outline fills this much, and little of what is around the box.
_FILLED = (0.08, 0.98)
_MOST_AROUND = 0.4
_CUT_SIDE, _EDGE_SIDE, _FLOOD_SIDE = 400, 1200, 1024
# Lab distances (0..255 each) that count as one colour, from place to neighbouring place and from the start.
_STEP = {True: (6, 6, 6), False: (3, 3, 3)}
_MOST_DRIFT = {True: 12.0, False: 34.0}


async def add_outline(mask: Mask, pixels: Pixels, box: Floats, context: EditContext, *, matted: bool = True) -> None:
    """Adds to (H, W) `mask` the thing that fills `box` (left, top, right, bottom), by a matte where `matted` allows."""
    rows, columns, inner = _window(pixels, box)
    part = pixels[rows, columns]
    thing = None
    if matted and await asyncio.to_thread(context.models.state, DEFAULT_MODEL) == "READY":
        matte = await find_subject(part, context)
        thing = await context.compute(_believable, matte, inner)
    if thing is None:
        context.method("grabcut", "opencv")
        thing = await context.compute(cut, part, inner)
    np.maximum(mask[rows, columns], thing, out=mask[rows, columns])


def cut(pixels: Pixels, box: tuple[int, int, int, int]) -> Mask:
    """(H, W) float32: the thing in the box (left, top, right, bottom), by GrabCut (Rother et al. 2004), softly cut."""
    height, width = pixels.shape[:2]
    small = shrunk(pixels, _CUT_SIDE)
    share = np.array([small.shape[1] / width, small.shape[0] / height] * 2)
    left, top, right, bottom = np.rint(np.array(box) * share).astype(int)
    labels: Any = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    labels[top : max(bottom, top + 1), left : max(right, left + 1)] = cv2.GC_PR_FGD
    if not (labels == cv2.GC_BGD).any():  # The box is the whole picture: its corners are taken for ground.
        labels[0, 0] = labels[0, -1] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    ground, figure = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, labels, (0, 0, 1, 1), ground, figure, 4, cv2.GC_INIT_WITH_MASK)
    inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    if inside.mean() < 1e-3:  # Nothing stood out: what is in the box is all that is known.
        inside = (labels != cv2.GC_BGD).astype(np.uint8)
        inside[top : max(bottom, top + 1), left : max(right, left + 1)] = 1
    return _soft(_main_parts(inside), pixels)


def flood(pixels: Pixels, x: int, y: int, *, drawn: bool) -> Mask:
    """(H, W) float32: the area around a place that has its colour; strict in a drawing, soft-edged in a photograph."""
    small = shrunk(pixels, max(pixels.shape) if drawn else _FLOOD_SIDE)
    smooth = small if drawn else cv2.bilateralFilter(small, 9, 30, 7)
    lab = np.asarray(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB))
    start = (int(x * small.shape[1] / pixels.shape[1]), int(y * small.shape[0] / pixels.shape[0]))
    reached = np.zeros((small.shape[0] + 2, small.shape[1] + 2), np.uint8)
    step = _STEP[drawn]
    cv2.floodFill(lab.copy(), reached, start, (0, 0, 0), step, step, cv2.FLOODFILL_MASK_ONLY | (1 << 8) | 8)
    far = np.abs(lab.astype(np.float32) - lab[start[1], start[0]]).max(axis=2) > _MOST_DRIFT[drawn]
    inside: Pixels = reached[1:-1, 1:-1] * ~far
    if drawn:
        exact: Mask = inside.astype(np.float32)
        return exact
    # Specks that differ belong to the area around them.
    closed = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return _soft(np.asarray(closed), pixels)


def part_at(mask: Mask, x: int, y: int) -> Mask:
    """The connected part of a mask that holds a place; nothing when the place is not selected."""
    count, parts = cv2.connectedComponents((mask >= 0.5).astype(np.uint8))
    if count < 2 or parts[y, x] == 0:
        return np.zeros_like(mask)
    near = cv2.dilate((parts == parts[y, x]).astype(np.uint8), np.ones((9, 9), np.uint8))
    alone: Mask = mask * near
    return alone


def _window(pixels: Pixels, box: Floats) -> tuple[slice, slice, tuple[int, int, int, int]]:
    """Rows and columns with room around the box, and the box within them."""
    height, width = pixels.shape[:2]
    left, top = (int(np.floor(value)) for value in box[:2])
    right, bottom = (int(np.ceil(value)) for value in box[2:])
    room = round(max(right - left, bottom - top) * _ROOM) + 2
    x, y = max(0, left - room), max(0, top - room)
    rows, columns = slice(y, min(height, bottom + room)), slice(x, min(width, right + room))
    return rows, columns, (max(left, 0) - x, max(top, 0) - y, min(right, width) - x, min(bottom, height) - y)


def _believable(matte: Mask, box: tuple[int, int, int, int]) -> Mask | None:
    """The matte within the box, faded out beyond it; None if it shows something else."""
    left, top, right, bottom = box
    inside = matte[top:bottom, left:right]
    around = matte.size - inside.size
    beyond = (float(matte.sum()) - float(inside.sum())) / around if around else 0.0
    if not _FILLED[0] <= float(inside.mean()) <= _FILLED[1] or beyond > _MOST_AROUND:
        return None
    near = np.zeros(matte.shape, np.float32)
    margin = round(max(right - left, bottom - top) * _ROOM / 3)
    near[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin] = 1
    kept: Mask = matte * (cv2.GaussianBlur(near, (0, 0), margin / 3) if margin else near)
    return kept


def _main_parts(inside: Pixels) -> Pixels:
    """The largest connected part and those a tenth as large, without small holes."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(inside)
    if count > 1:
        areas = stats[1:, cv2.CC_STAT_AREA]
        inside = np.isin(parts, 1 + np.flatnonzero(areas >= 0.1 * areas.max())).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(inside, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))


def _soft(inside: Pixels, pixels: Pixels) -> Mask:
    """A hard mask of a small copy at the picture's size, its edge led by the picture's own."""
    guide = cv2.cvtColor(shrunk(pixels, _EDGE_SIDE), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    plane: Any = cv2.resize(inside.astype(np.float32), guide.shape[::-1], interpolation=cv2.INTER_LINEAR)
    radius = max(2, round(max(guide.shape) / 150))
    soft = guided(guide, plane, radius, 1e-4)
    # Steeper, so that what is plainly in or out is exactly so.
    steep = ((soft - 0.1) / 0.8).clip(0, 1)
    size = (pixels.shape[1], pixels.shape[0])
    return np.asarray(cv2.resize(steep, size, interpolation=cv2.INTER_LINEAR), np.float32)
