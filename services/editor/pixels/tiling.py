"""A network over a picture of any size: overlapping tiles, blended where they meet, one row of them in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from diptych.images import Pixels
from services.editor.pixels.color_spaces import Floats

RunTile = Callable[[Floats], Awaitable[Floats]]
Wanted = Callable[[slice, slice], bool]

# Tiles of one picture asked for at once: enough to keep the worker busy, few enough to stop soon.
_TOGETHER = 2


@dataclass(frozen=True)
class Tiles:
    """Where tiles lie along one axis: all of one `length`, from `starts`, neighbours sharing `overlap` or more.

    In the shared part the outer pixels of each tile, which lack context, are dropped, and `feather` pixels in its
    middle are blended.
    """

    length: int
    starts: tuple[int, ...]
    feather: int

    def weights(self, index: int, factor: int) -> Floats:
        """(length * factor,) float32: how much tile `index` counts at each output pixel; all tiles sum to 1."""
        at = (np.arange(self.length * factor, dtype=np.float64) + 0.5) / factor + self.starts[index]
        weight = np.ones_like(at)
        if index > 0:
            weight *= self._rise(at, self._seam(index))
        if index + 1 < len(self.starts):
            weight *= 1 - self._rise(at, self._seam(index + 1))
        return weight.astype(np.float32)

    def settled(self, index: int) -> int:
        """The input position before which no tile after `index` has any weight."""
        if index + 1 == len(self.starts):
            return self.starts[index] + self.length
        return max(self.starts[index], int(self._seam(index + 1) - self.feather / 2))

    def _seam(self, index: int) -> float:
        return (self.starts[index] + self.starts[index - 1] + self.length) / 2

    def _rise(self, at: np.ndarray, seam: float) -> np.ndarray:
        return ((at - seam) / max(self.feather, 1e-6) + 0.5).clip(0, 1)


def lay(size: int, *, tile: int, overlap: int) -> Tiles:
    """Tiles of at most `tile` that cover `size` pixels evenly; one tile of the whole when it fits."""
    if size <= tile:
        return Tiles(size, (0,), 0)
    count = -(-(size - overlap) // (tile - overlap))
    # No longer than the count needs: half-empty tiles would cost as much as full ones.
    length = -(-(size + (count - 1) * overlap) // count)
    starts = np.linspace(0, size - length, count).round().astype(int)
    return Tiles(length, tuple(int(start) for start in starts), overlap // 4)


def count_tiles(width: int, height: int, *, tile: int, overlap: int) -> int:
    """How many tiles a picture takes."""
    return len(lay(width, tile=tile, overlap=overlap).starts) * len(lay(height, tile=tile, overlap=overlap).starts)


async def run_tiled(
    picture: Pixels,
    factor: int,
    run: RunTile,
    *,
    tile: int,
    overlap: int,
    fallback: Callable[[Pixels], Pixels],
    wanted: Wanted = lambda rows, columns: True,
    on_tile: Callable[[], None] = lambda: None,
) -> Pixels:
    """(H * factor, W * factor, 3) uint8 from (H, W, 3) uint8.

    `run` takes and gives (3, h, w) float32 in 0..1. Where `wanted` says no, `fallback` makes the tile without the
    network.
    """
    height, width = picture.shape[:2]
    across, down = lay(width, tile=tile, overlap=overlap), lay(height, tile=tile, overlap=overlap)
    canvas = _Canvas(across, down, width, height, factor)
    for row, top in enumerate(down.starts):
        rows = slice(top, top + down.length)
        for first in range(0, len(across.starts), _TOGETHER):
            numbers = range(first, min(first + _TOGETHER, len(across.starts)))
            places = [slice(across.starts[number], across.starts[number] + across.length) for number in numbers]
            asked = [_one(picture[rows, place], run if wanted(rows, place) else None, fallback) for place in places]
            for number, done in zip(numbers, await asyncio.gather(*asked), strict=True):
                # Millions of additions: not on the event loop.
                await asyncio.to_thread(canvas.add, row, number, done)
                on_tile()
        await asyncio.to_thread(canvas.settle, row)
    return canvas.result


class _Canvas:
    """The result, with one row of tiles at a time held as floats for blending."""

    def __init__(self, across: Tiles, down: Tiles, width: int, height: int, factor: int) -> None:
        self.result = np.empty((height * factor, width * factor, 3), np.uint8)
        self._across, self._down, self._factor = across, down, factor
        self._band = np.zeros((down.length * factor, width * factor, 3), np.float32)
        self._settled = 0

    def add(self, row: int, column: int, tile: Floats) -> None:
        """Lays a (h, w, 3) tile into the current row by its weights."""
        left = self._across.starts[column] * self._factor
        down = self._down.weights(row, self._factor)[:, np.newaxis, np.newaxis]
        across = self._across.weights(column, self._factor)[np.newaxis, :, np.newaxis]
        self._band[:, left : left + tile.shape[1]] += tile * (down * across)

    def settle(self, row: int) -> None:
        """Rounds what the row has finished, and carries the part that the next row shares."""
        top = self._down.starts[row] * self._factor
        end = self._down.settled(row) * self._factor
        done = self._band[self._settled - top : end - top]
        self.result[self._settled : end] = np.rint(done.clip(0, 1) * 255)
        self._settled = end
        if row + 1 < len(self._down.starts):
            moved = self._down.starts[row + 1] * self._factor - top
            shared = self._band[moved:].copy()
            self._band[: len(shared)] = shared
            self._band[len(shared) :] = 0


async def _one(part: Pixels, run: RunTile | None, fallback: Callable[[Pixels], Pixels]) -> Floats:
    """(h * factor, w * factor, 3) float32 of one tile."""
    if run is None:
        return fallback(part).astype(np.float32) / 255
    planes = np.ascontiguousarray(part.transpose(2, 0, 1)).astype(np.float32) / 255
    return (await run(planes)).transpose(1, 2, 0)
