"""Mattes of drawings on one colour, mended: there the ground is known, and a network's holes can be seen as such."""

from collections.abc import Iterator

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.edges import bleed

# Euclidean distances in 8-bit sRGB: as good as the ground; certainly not the ground.
_SAME, _OTHER = 18.0, 48.0
# Share of the picture's rim that must have the ground's colour: a figure may stand on the lower edge.
_PLAIN_RIM = 0.7
# Of a matte: nothing left. Of a pixel's distance from the ground, against its neighbours': none of the ground in it.
_GONE, _WHOLE = 0.05, 0.9


def mend(pixels: Pixels, matte: Mask) -> Mask | None:
    """The matte of a drawing, (H, W, 3), with what differs from the ground filled in and the ground itself cleared.

    None where its rim is not of one colour: then nothing is known that the network did not see.
    """
    ground = _ground_color(pixels)
    if ground is None:
        return None
    distance = np.sqrt(np.square(pixels.astype(np.float32) - ground).sum(axis=2))
    around = _around(pixels, 2)
    is_ground = distance <= _SAME
    certain = cv2.morphologyEx((distance > _OTHER).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
    for window, part in _enclosed(is_ground):
        figure = _is_figure(matte[window], part)
        is_ground[window][part] = not figure
        certain[window][part] = figure
    at_edge = cv2.dilate(is_ground.astype(np.uint8), around) > 0
    # An edge pixel mixes figure and ground: its distance against the nearest whole one is the figure's share.
    share = np.where(at_edge, distance / np.maximum(cv2.dilate(distance, around), 1), 1)
    filled = cv2.dilate(certain.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    mended = np.where(filled & ~is_ground, np.maximum(matte, share), matte)
    # And much more than its share it cannot be: soft edges end where the ground begins.
    mended = np.minimum(mended, 2 * share)
    mended[_large(is_ground)] = 0
    # Beside the ground the share is near the truth, and a network's edge lies too far out.
    by_ground = cv2.dilate((mended < _GONE).astype(np.uint8), _around(pixels, 2)) > 0
    result: Mask = np.where(by_ground, np.minimum(mended, share / _WHOLE), mended).astype(np.float32)
    return result


def inner_colors(pixels: Pixels, matte: Mask) -> Pixels | None:
    """(H, W, 3) of a drawing: at the edges of the subject the colours of its inside, which the ground never reached.

    None where the ground is not of one colour.
    """
    ground = _ground_color(pixels)
    if ground is None:
        return None
    distance = np.sqrt(np.square(pixels.astype(np.float32) - ground).sum(axis=2))
    around = _around(pixels, 2)
    share = distance / np.maximum(cv2.dilate(distance, around), 1)
    seen = matte >= _GONE
    mixed = seen & (cv2.dilate((~seen).astype(np.uint8), around) > 0) & (share < _WHOLE)
    core = seen & ~mixed
    # A thin line has no inside: it keeps what it has.
    mixed &= cv2.dilate(core.astype(np.uint8), around) > 0
    spread = bleed(np.dstack([pixels, np.where(core, 255, 0).astype(np.uint8)]))
    return np.where(mixed[..., np.newaxis], spread, pixels)


def _around(pixels: Pixels, times: int) -> np.ndarray:
    """The neighbourhood in which the edges of a drawing of this size are soft, so many times."""
    reach = times * max(2, max(pixels.shape[:2]) // 128)
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _is_figure(matte: Mask, part: np.ndarray) -> bool:
    """Whether an enclosed part of the ground's colour belongs to the figure, as a window to a house.

    The network decides, unless it missed what is around the part too.
    """
    ring = (cv2.dilate(part.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~part
    return float(matte[part].mean()) >= 0.5 or float(matte[ring].mean()) < 0.5


def _ground_color(pixels: Pixels) -> np.ndarray | None:
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(np.float32)
    color: np.ndarray = np.median(rim, axis=0)
    alike = np.sqrt(np.square(rim - color).sum(axis=1)) <= _SAME
    return color if float(alike.mean()) >= _PLAIN_RIM else None


def _large(is_ground: np.ndarray) -> np.ndarray:
    """(H, W) bool: the ground without specks, which may be highlights of the figure."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(is_ground.astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= _least_area(is_ground)
    kept[0] = False
    result: np.ndarray = kept[labels]
    return result


def _enclosed(is_ground: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Each part of the ground that the figure encloses, but for specks: a window on the picture and a mask in it."""
    height, width = is_ground.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(is_ground.astype(np.uint8), connectivity=4)
    for label in range(1, count):
        x, y, w, h, area = (int(value) for value in stats[label])
        if area >= _least_area(is_ground) and x > 0 and y > 0 and x + w < width and y + h < height:
            window = (slice(max(y - 2, 0), y + h + 2), slice(max(x - 2, 0), x + w + 2))
            yield window, labels[window] == label


def _least_area(is_ground: np.ndarray) -> int:
    return max(4, is_ground.size // 20_000)
