"""Areas that a figure encloses and that have the ground's colour: the body of a drawn swan, or the hole of a ring."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from diptych.images import Mask

Grid = NDArray[np.bool_]

# Of the figure with all its holes: an area this large within a line this thin, or one this large with something drawn
# in it, is the figure's body. Thickness as a share of the side of a square as large as the figure.
_BODY_SHARE, _THIN_LINE, _FACE_SHARE = 0.34, 0.07, 0.08
# Something drawn in an area is larger than this share of it.
_LEAST_ISLAND = 0.002


@dataclass(frozen=True)
class Part:
    """One enclosed area: a window on the picture with room around, and (h, w) masks in it.

    `figure`: what encloses it, without the area. `islands`: how much of the area's hull is something drawn in it.
    `filled`: pixels of the figure with all its holes. `thickness` in pixels of the line around the area.
    """

    window: tuple[slice, slice]
    inside: Grid
    islands: float
    filled: int
    thickness: float


def enclosed_parts(is_ground: Grid, gap: int = 0) -> Iterator[Part]:
    """Each part of the ground that a figure encloses, but for specks; gaps of up to `gap` pixels count as closed."""
    height, width = is_ground.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_gaps_closed(is_ground, gap), connectivity=4)
    boxes = [tuple(int(value) for value in one) for one in stats]
    outer = [
        label
        for label, (x, y, w, h, _) in enumerate(boxes)
        if label and (x == 0 or y == 0 or x + w == width or y + h == height)
    ]
    inner = [label for label in range(1, count) if label not in set(outer) and boxes[label][4] >= least_area(is_ground)]
    if not inner:
        return
    # Figures with their holes: all that is not the ground outside.
    bodies: Any = (~np.isin(labels, outer)).astype(np.uint8)
    _, figures, figure_stats, _ = cv2.connectedComponentsWithStats(bodies, connectivity=8)
    depth: Any = cv2.distanceTransform((~is_ground).astype(np.uint8), cv2.DIST_L2, 3)
    for label in inner:
        x, y, w, h, area = boxes[label]
        window = (slice(max(y - 2, 0), y + h + 2), slice(max(x - 2, 0), x + w + 2))
        inside = labels[window] == label
        figure = figures[window][inside][0]
        yield Part(
            window, inside, _islands(inside, area), int(figure_stats[figure, cv2.CC_STAT_AREA]),
            _thickness(inside, depth, window),
        )  # fmt: skip


def is_figure(matte: Mask, part: Part, certain: Grid) -> bool:
    """Whether an enclosed part of the ground's colour belongs to the figure, as a window to a house.

    The network decides, unless it missed what is around the part and is `certain`, (H, W), no ground, or it saw but an
    outline: a large area within a thin line, or one with a face in it, is what the line was drawn around.
    """
    own = matte[part.window]
    ring = (cv2.dilate(part.inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~part.inside
    if float(own[part.inside].mean()) >= 0.5:
        return True
    if float(own[ring].mean()) < 0.5 and float(certain[part.window][ring].mean()) > 0.5:
        return True
    share = int(np.count_nonzero(part.inside)) / part.filled
    thin = part.thickness < _THIN_LINE * part.filled**0.5
    return (share >= _BODY_SHARE and thin) or (share >= _FACE_SHARE and part.islands > _LEAST_ISLAND)


def least_area(is_ground: Grid) -> int:
    """Pixels of the smallest part of the ground that is more than a speck."""
    return max(4, is_ground.size // 20_000)


def without_specks(chosen: Grid, least: int) -> Grid:
    """(H, W) bool: the connected parts that have at least so many pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(chosen.astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= least
    kept[0] = False
    result: Grid = kept[labels]
    return result


def _gaps_closed(is_ground: Grid, gap: int) -> Any:
    """The ground, (H, W) 0 or 1, with what an outer ball as wide as the gap cannot reach cut off from it."""
    ground = is_ground.astype(np.uint8)
    if gap < 2:
        return ground
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap + 1, gap + 1))
    room = cv2.erode(np.pad(ground, gap, constant_values=1), ball)
    _, labels = cv2.connectedComponents(room, connectivity=4)
    swept: Any = cv2.dilate((labels == labels[0, 0]).astype(np.uint8), ball)
    reached = swept[gap:-gap, gap:-gap] & ground
    # One ring of figure between the reached and the rest.
    around: Any = cv2.dilate(reached, np.ones((3, 3), np.uint8))
    beside = around & ~reached & ground
    return ground & ~beside


def _islands(inside: Grid, area: int) -> float:
    """What lies wholly within an area, as a share of it."""
    around: Any = np.pad((~inside).astype(np.uint8), 1, constant_values=1)
    outside = np.zeros((around.shape[0] + 2, around.shape[1] + 2), np.uint8)
    cv2.floodFill(around, outside, (0, 0), 2, flags=4)
    return int(np.count_nonzero(around == 1)) / area


def _thickness(inside: Grid, depth: NDArray[np.float32], window: tuple[slice, slice]) -> float:
    """Typical pixels across what surrounds an area: twice the greatest depth that is near its edge."""
    reach = max(3, round(0.25 * min(inside.shape)))
    wide = tuple(slice(max(one.start - 2 * reach, 0), one.stop + 2 * reach) for one in window)
    place = np.zeros(depth[wide].shape, np.uint8)
    top, left = (one.start - other.start for one, other in zip(window, wide, strict=True))
    place[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    # Inwards from the area's edge: as deep as the line is on its other side.
    away: Any = cv2.distanceTransform(1 - place, cv2.DIST_L2, 3)
    found = [float(np.median(depth[wide][(away > d - 1) & (away <= d)])) for d in range(1, reach, max(1, reach // 16))]
    return 2 * max(found, default=0.0)
