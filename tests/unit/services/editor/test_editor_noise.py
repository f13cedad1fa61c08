"""Noise is measured apart from texture, by tone, and only where something can be seen."""

import cv2
import numpy as np
import pytest

from services.editor.operations.denoise import default_strength, merge
from services.editor.pixels.noise import Noise, measure_noise


def textured(side: int = 200) -> np.ndarray:
    """Ramps and stripes of many directions: detail, but no noise."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    waves = sum(np.sin((x * np.cos(a) + y * np.sin(a)) / (2 + a)) for a in np.linspace(0, 3, 5))
    grey = 128 + 12 * waves + (x - side / 2) / 4
    return np.stack([grey, grey * 0.9, grey * 0.7 + 20], axis=2)


def noisy(picture: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(5).normal(0, 1, picture.shape) * sigma
    return np.rint(picture + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [3.0, 10.0, 25.0])
def test_noise_is_told_from_texture(sigma: float) -> None:
    assert measure_noise(noisy(textured(), sigma)).typical == pytest.approx(sigma, rel=0.12)


def test_texture_alone_is_no_noise() -> None:
    clean = np.rint(textured()).astype(np.uint8)
    assert measure_noise(clean).typical < 1
    assert default_strength(clean, measure_noise(clean)) == 0


def test_bright_tones_may_be_noisier_than_dark_ones() -> None:
    ramp = np.linspace(30, 220, 300, dtype=np.float32)[np.newaxis, :, np.newaxis].repeat(200, 0).repeat(3, 2)
    found = measure_noise(noisy(ramp, ramp / 10))
    assert found.sigmas[0] < 8 < 16 < found.sigmas[-1]
    expected = found.map(ramp)
    assert expected[100, 40] < 9 and expected[100, 280] > 16


def test_noise_spread_over_several_pixels_is_found_at_half_the_size() -> None:
    grain = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (256, 256, 3)), (0, 0), 1)
    picture = np.rint(120 + grain / grain.std() * 10).astype(np.uint8)
    full = measure_noise(picture)
    assert full.typical < 3 and default_strength(picture, full) == 1


def test_little_and_clear_pictures_have_none() -> None:
    assert measure_noise(np.zeros((5, 9, 3), np.uint8)) == Noise()
    clear = np.dstack([noisy(textured(), 20), np.zeros((200, 200), np.uint8)])
    assert measure_noise(clear) == Noise()


def test_a_share_of_the_noise_goes() -> None:
    before, after = np.full((2, 2, 4), 100, np.uint8), np.full((2, 2, 3), 60, np.uint8)
    half = merge(before, after, 0.5, np.array([[0, 1], [0.5, 1]], np.float32))
    assert half[..., 0].tolist() == [[100, 80], [90, 80]] and (half[..., 3] == 100).all()
