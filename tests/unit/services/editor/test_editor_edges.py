"""Alpha without halos: bleeding, decontaminating, resampling, turning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.editor.pixels.edges import bleed, decontaminate
from services.editor.pixels.resampling import resample, turn, turned_size

RED, BLUE = np.array([230, 40, 30]), np.array([20, 60, 220])


def disc(size: int, softness: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return ((size / 3 - np.hypot(x, y)) / softness + 0.5).clip(0, 1).astype(np.float32)


def test_bleeding_keeps_what_is_seen_and_fills_what_is_not() -> None:
    pixels = np.zeros((33, 47, 4), np.uint8)
    pixels[10:20, 5:25] = [200, 100, 50, 255]
    filled = bleed(pixels)
    assert (filled[10:20, 5:25] == [200, 100, 50]).all()
    assert np.abs(filled.astype(int) - [200, 100, 50]).max() <= 1


def test_bleeding_takes_the_nearer_colour() -> None:
    pixels = np.zeros((16, 64, 4), np.uint8)
    pixels[:, :8] = [255, 0, 0, 255]
    pixels[:, -8:] = [0, 0, 255, 255]
    filled = bleed(pixels)
    assert filled[8, 12, 0] > 200 and filled[8, 52, 2] > 200


def test_bleeding_an_empty_or_a_full_picture() -> None:
    assert not bleed(np.zeros((5, 3, 4), np.uint8)).any()
    full = np.random.default_rng(0).integers(0, 256, (5, 3, 4), dtype=np.uint8)
    full[..., 3] = 255
    assert np.array_equal(bleed(full), full[..., :3])


def test_the_old_background_leaves_soft_edges() -> None:
    alpha = disc(96, 8)
    mixed = np.rint(RED * alpha[..., None] + BLUE * (1 - alpha[..., None])).astype(np.uint8)
    cleaned = decontaminate(mixed, alpha)
    edge = (alpha > 0.15) & (alpha < 0.85)
    before = np.abs(mixed[edge].astype(int) - RED).mean()
    after = np.abs(cleaned[edge].astype(int) - RED).mean()
    assert before > 40 and after < 6
    assert np.array_equal(cleaned[alpha == 1], mixed[alpha == 1])


@pytest.mark.parametrize("size", [(9, 9), (64, 64), (20, 50), (100, 7)])
def test_resizing_a_cut_out_keeps_its_colour_to_the_edge(size: tuple[int, int]) -> None:
    alpha = np.rint(disc(32, 2) * 255).astype(np.uint8)
    pixels = np.dstack([np.where(alpha[..., None] > 0, RED, 0).astype(np.uint8), alpha])
    result = resample(pixels, *size)
    assert result.shape == (size[1], size[0], 4)
    seen = result[result[..., 3] > 12][:, :3]
    assert len(seen) and np.abs(seen.astype(int) - RED).max() <= 12
    assert not result[result[..., 3] == 0].any()


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([3, 4]))),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_resizing_anything(pixels: np.ndarray, width: int, height: int) -> None:
    result = resample(pixels, width, height)
    assert result.shape == (height, width, pixels.shape[2]) and result.dtype == np.uint8
    if pixels.shape[2] == 4 and (pixels[..., 3] == 255).all():
        assert (result[..., 3] == 255).all()


def test_turning_by_a_right_angle_is_exact_inside() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 15, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    assert np.array_equal(turn(pixels, 90, expand=True), np.rot90(pixels, -1))


def test_turning_fades_at_the_edge_and_keeps_colour() -> None:
    pixels = np.full((40, 60, 4), 255, np.uint8)
    pixels[..., :3] = RED
    turned = turn(pixels, 30, expand=True)
    assert turned.shape[1::-1] == turned_size(60, 40, 30)
    assert turned[0, 0, 3] == 0 and turned[turned.shape[0] // 2, turned.shape[1] // 2].tolist() == [*RED, 255]
    seen = turned[turned[..., 3] > 8][:, :3]
    assert np.abs(seen.astype(int) - RED).max() <= 8
