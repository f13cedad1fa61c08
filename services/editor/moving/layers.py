"""A picture as layers that a camera can look at: what is behind, and the subject before it, cut out.

Each is kept at two sizes, so that a near view is sharp and a far one does not shimmer: frames take from both (Williams
1983).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.moving.camera import View
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.dominant_shifts import Hole
from services.editor.pixels.edges import bleed, decontaminate
from services.editor.pixels.resampling import resample

# How far around the subject the background is taken to be tinted by it: share of the long side.
_RIM = 0.012
# No camera of ours looks further behind a subject than this share of the long side.
_SEEN_BEHIND = 0.1
# How far the shape of a hole is smoothed before it mirrors, as a share of the long side.
_SMOOTH = 0.02
# A second size is worth its memory from this ratio on.
_WORTHWHILE = 1.1


@dataclass(frozen=True)
class Layers:
    """One size. `back`: (H, W, 3) opaque, or None. `front`: (H, W, 4) with alpha multiplied in, or None."""

    back: Pixels | None
    front: Pixels | None

    @property
    def width(self) -> int:
        """Pixels across."""
        one = self.back if self.back is not None else self.front
        assert one is not None
        return int(one.shape[1])

    def smaller(self, width: int, height: int) -> "Layers":
        """The same at another size."""
        return Layers(*(None if one is None else _shrunk(one, width, height) for one in (self.back, self.front)))


def flat(pixels: Pixels) -> Layers:
    """A picture as one layer."""
    return Layers(pixels, None) if pixels.shape[2] == 3 else Layers(None, _multiplied(pixels[..., :3], pixels[..., 3]))


def behind(matte: Mask) -> Hole:
    """(H, W) where the background of a subject is not to be seen: what it covers, and what it tints around it."""
    reach = max(2, round(max(matte.shape) * _RIM))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate((matte > 0.02).astype(np.uint8), kernel) > 0)


def mirrored(pixels: Pixels, hole: Hole) -> Pixels:
    """(H, W, 3): the colours around a hole mirrored into it at its edge, and smooth deeper in; the same elsewhere.

    What comes out from behind a moving subject is a narrow rim. It must go on as it is right beside it, and nothing
    else of the picture may turn up there, as with patches taken from anywhere.
    """
    if hole.all() or not hole.any():
        return pixels
    height, width = hole.shape
    depth: Any = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    # Ways out of the hole that turn little by little: else an edge is mirrored as a comb.
    smooth: Any = cv2.GaussianBlur(depth, (0, 0), max(1.0, _SMOOTH * max(height, width)))
    down, across = (np.asarray(one, np.float32) for one in np.gradient(smooth))
    steps = 2 * depth / np.maximum(np.hypot(down, across), 1e-3)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    rows, columns = rows - down * steps, columns - across * steps
    colors: Any = cv2.remap(pixels, columns, rows, cv2.INTER_LINEAR)
    known: Any = cv2.remap((~hole).astype(np.uint8) * 255, columns, rows, cv2.INTER_LINEAR)
    seen = (known == 255) & (depth <= _SEEN_BEHIND * max(height, width))
    filled = np.dstack([colors, np.where(seen, 255, 0).astype(np.uint8)])
    filled[~hole] = np.dstack([pixels, np.full(hole.shape, 255, np.uint8)])[~hole]
    return bleed(filled)


def parted(pixels: Pixels, matte: Mask, back: Pixels) -> Layers:
    """An opaque picture as a subject before a background that goes on behind it."""
    colors = decontaminate(np.ascontiguousarray(pixels), matte)
    return Layers(back, _multiplied(colors, np.rint(matte * 255).astype(np.uint8)))


@dataclass(frozen=True)
class Scene:
    """Layers at their largest, and once more at the size of a frame. `most` is the largest enlargement of any view."""

    large: Layers
    small: Layers | None
    size: tuple[int, int]
    most: float

    @classmethod
    def of(cls, layers: Layers, size: tuple[int, int], most: float) -> "Scene":
        """The scene for frames of `size` (width, height)."""
        worthwhile = layers.width > size[0] * _WORTHWHILE
        return cls(layers, layers.smaller(*size) if worthwhile else None, size, max(most, 1.0001))

    def frame(self, far: View, near: View) -> Pixels:
        """(height, width, 3) uint8, or 4 with straight alpha where there is no background."""
        back = None if self.large.back is None else self._seen("back", far)
        front = None if self.large.front is None else self._seen("front", near)
        if front is None:
            assert back is not None
            return back
        if back is None:
            return _divided(front)
        hidden = 255 - front[..., 3:].astype(np.uint16)
        mixed = (back * hidden + 127) // 255 + front[..., :3]
        frame: Pixels = np.minimum(mixed, 255).astype(np.uint8)
        return frame

    def _seen(self, layer: str, view: View) -> Pixels:
        """One layer through a view; between its two sizes as the enlargement lies between 1 and the most."""
        large = _warped(getattr(self.large, layer), view, self.size)
        if self.small is None:
            return large
        share = float(np.clip(np.log(view.zoom) / np.log(self.most), 0, 1))
        if share == 1:
            return large
        small = _warped(getattr(self.small, layer), view, self.size)
        mixed: Any = cv2.addWeighted(large, share, small, 1 - share, 0)
        return np.asarray(mixed, np.uint8)


def _warped(layer: Pixels, view: View, size: tuple[int, int]) -> Pixels:
    """What a frame of `size` shows of a layer, at fractions of a pixel: Lanczos, or bicubic where there is alpha.

    Alpha cannot swing over 255 as colours do: what rings less is off by less.
    """
    height, width = layer.shape[:2]
    matrix = np.zeros((2, 3))
    for row, (length, frame, centre) in enumerate(((width, size[0], view.x), (height, size[1], view.y))):
        step = length / (frame * view.zoom)
        matrix[row, row] = step
        # Pixels are areas: their middles are half a pixel in.
        matrix[row, 2] = length * (centre - 0.5 / view.zoom) + step / 2 - 0.5
    flags = (cv2.INTER_CUBIC if layer.shape[2] == 4 else cv2.INTER_LANCZOS4) | cv2.WARP_INVERSE_MAP
    warped: Any = cv2.warpAffine(layer, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _shrunk(layer: Pixels, width: int, height: int) -> Pixels:
    if layer.shape[2] == 3:
        return resample(layer, width, height)
    # Alpha is multiplied in already: each channel for itself.
    shrunk: Any = cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)


def _multiplied(colors: Pixels, alpha: Pixels) -> Pixels:
    result = np.empty((*alpha.shape, 4), np.uint8)
    weight = alpha.astype(np.uint16)
    for channel in range(3):
        result[..., channel] = (colors[..., channel] * weight + 127) // 255
    result[..., 3] = alpha
    return result


def _divided(front: Pixels) -> Pixels:
    alpha: Floats = np.maximum(front[..., 3:].astype(np.float32), 1)
    colors = np.minimum(front[..., :3] * (255 / alpha) + 0.5, 255).astype(np.uint8)
    return np.dstack([np.where(front[..., 3:] > 0, colors, 0), front[..., 3]])
