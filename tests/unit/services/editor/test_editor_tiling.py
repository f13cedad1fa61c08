"""Tiles: they cover, they sum to one, they leave no seam, they stop when asked."""

import asyncio

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.editor.pixels.tiling import count_tiles, lay, run_tiled


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 2000), st.sampled_from([(64, 16), (96, 32), (256, 32)]), st.sampled_from([1, 2, 4]))
def test_weights_sum_to_one_and_what_is_settled_stays(size: int, kind: tuple[int, int], factor: int) -> None:
    tile, overlap = kind
    tiles = lay(size, tile=tile, overlap=overlap)
    assert tiles.length <= tile
    total = np.zeros(size * factor)
    for index, start in enumerate(tiles.starts):
        total[start * factor : (start + tiles.length) * factor] += tiles.weights(index, factor)
        end = tiles.settled(index) * factor
        assert total[:end] == pytest.approx(1, abs=1e-5)
    assert end == size * factor
    assert all(b - a <= tiles.length - overlap for a, b in zip(tiles.starts, tiles.starts[1:], strict=False))


def test_tiles_are_no_larger_than_they_must_be() -> None:
    assert lay(300, tile=256, overlap=32).length == 166
    assert count_tiles(300, 100, tile=256, overlap=32) == 2


async def smooth(planes: np.ndarray) -> np.ndarray:
    """A network that looks five pixels around itself and enlarges twice."""
    blurred = cv2.blur(planes.transpose(1, 2, 0), (11, 11), borderType=cv2.BORDER_CONSTANT)
    return cv2.resize(blurred, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST).transpose(2, 0, 1)


def plain(part: np.ndarray) -> np.ndarray:
    return part.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize(("height", "width"), [(50, 50), (70, 200), (201, 131)])
async def test_tiled_equals_untiled(height: int, width: int) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = await run_tiled(picture, 2, smooth, tile=1000, overlap=32, fallback=plain)
    tiled = await run_tiled(picture, 2, smooth, tile=64, overlap=32, fallback=plain)
    assert tiled.shape == (height * 2, width * 2, 3)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


async def test_unwanted_tiles_never_reach_the_network() -> None:
    picture = np.full((64, 200, 3), 100, np.uint8)
    seen = []

    async def network(planes: np.ndarray) -> np.ndarray:
        seen.append(planes.shape)
        return np.ones((3, planes.shape[1] * 2, planes.shape[2] * 2), np.float32)

    done = []
    result = await run_tiled(
        picture, 2, network, tile=64, overlap=16, fallback=plain,
        wanted=lambda rows, columns: columns.start == 0, on_tile=lambda: done.append(1),
    )  # fmt: skip
    assert len(seen) == 1
    assert len(done) == count_tiles(200, 64, tile=64, overlap=16)
    assert (result[:, :40] == 255).all() and (result[:, 200:] == 100).all()


async def test_cancelling_stops_before_the_next_tile() -> None:
    began: list[int] = []
    running = asyncio.Event()

    async def network(planes: np.ndarray) -> np.ndarray:
        began.append(1)
        running.set()
        await asyncio.Event().wait()
        return planes

    picture = np.zeros((64, 640, 3), np.uint8)
    task = asyncio.create_task(run_tiled(picture, 1, network, tile=64, overlap=16, fallback=plain))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(began) <= 2
