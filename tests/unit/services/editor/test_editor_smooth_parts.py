"""Parts of a picture with nothing but noise are told from those with fine detail."""

import numpy as np
import pytest

from services.editor.pixels.noise import Noise
from services.editor.pixels.smooth_parts import doubled, half, only_noise

NOISE = Noise((0.0, 255.0), (6.0, 6.0))


def noisy(picture: np.ndarray, sigma: float = 6.0) -> np.ndarray:
    seen = picture + np.random.default_rng(3).normal(0, sigma, picture.shape)
    return (np.rint(seen.clip(0, 255)).astype(np.float32) / 255).transpose(2, 0, 1)


def ramp() -> np.ndarray:
    return np.repeat(np.linspace(60, 180, 256)[np.newaxis, :, np.newaxis], 256, axis=0).repeat(3, axis=2)


def test_a_ramp_with_noise_is_smooth() -> None:
    assert only_noise(noisy(ramp()), NOISE)


@pytest.mark.parametrize("sigma", [0.0, 14.0])
def test_other_noise_than_was_told_is_not(sigma: float) -> None:
    assert not only_noise(noisy(ramp(), 20.0), Noise((0.0, 255.0), (sigma, sigma)))


def test_one_small_thing_is_seen() -> None:
    picture = ramp()
    picture[100:130:2, 100:120] = 20
    assert not only_noise(noisy(picture), NOISE)


def test_texture_everywhere_is_seen() -> None:
    grain = np.random.default_rng(5).normal(0, 8, (256, 256, 1))
    assert not only_noise(noisy(ramp() + grain), NOISE)


def test_halved_and_doubled_a_smooth_picture_is_itself() -> None:
    picture = ramp().astype(np.float32)
    assert float(np.abs(doubled(half(picture), 256, 256) - picture).max()) < 1
