"""Noise, masks and pixels."""

import numpy as np
import pytest

from diptych.diffusion import Pipeline
from diptych.diffusion.latents import draw_noise, paste, shrink_mask


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_noise_is_a_function_of_its_seed(seed: int) -> None:
    noise = draw_noise(seed, (4, 16, 16))
    assert noise.dtype == np.float32
    assert (noise == draw_noise(seed, (4, 16, 16))).all()
    assert abs(float(noise.std()) - 1) < 0.1
    assert (noise != draw_noise(seed - 1 if seed else 9, (4, 16, 16))).any()


def test_one_white_pixel_redraws_its_cell() -> None:
    mask = np.zeros((16, 24), np.float32)
    mask[7, 8] = 0.01
    cells = shrink_mask(mask, 8)
    assert cells.tolist() == [[0, 1, 0], [0, 0, 0]]


def test_paste_keeps_replaces_and_mixes() -> None:
    drawn, kept = np.full((1, 3, 3), 200, np.uint8), np.full((1, 3, 3), 101, np.uint8)
    assert paste(drawn, kept, np.array([[0, 1, 0.5]], np.float32))[0, :, 0].tolist() == [101, 200, 151]


def test_decoding_gives_pixels_and_encoding_latents(pipeline: Pipeline) -> None:
    pixels = pipeline._autoencoder.decode(draw_noise(1, (4, 8, 8)))
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert pipeline._autoencoder.encode(pixels).shape == (4, 8, 8)
