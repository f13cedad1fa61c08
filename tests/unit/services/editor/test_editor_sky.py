"""The sky is found on photographs that show one, and not on those that do not."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from diptych.labels import SKY, meaning
from services.editor.seeing.sky import find_sky


def photograph(name: str) -> np.ndarray:
    pixels = getattr(skimage.data, name)()
    return np.ascontiguousarray(np.repeat(pixels[..., np.newaxis], 3, 2) if pixels.ndim == 2 else pixels)


@pytest.mark.parametrize(
    ("name", "above", "below"),
    [
        ("rocket", [(50, 200), (100, 500), (300, 380)], [(330, 318), (420, 100), (200, 322)]),
        ("camera", [(20, 30), (60, 450), (150, 300)], [(150, 170), (300, 100), (400, 400), (210, 345)]),
    ],
)
def test_a_sky_is_found_and_what_stands_before_it_is_not(
    name: str, above: list[tuple[int, int]], below: list[tuple[int, int]]
) -> None:
    pixels = photograph(name)
    for picture, share in ((pixels, 1), (np.asarray(Image.fromarray(pixels).resize((900, 700))), None)):
        mask, score = find_sky(picture)
        assert score > 0.5 and mask.shape == picture.shape[:2]
        assert mask.min() >= 0 and mask.max() == 1
        if share:
            assert all(mask[place] > 0.9 for place in above)
            assert all(mask[place] < 0.1 for place in below)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "brick", "grass", "moon", "page", "coins", "clock"])
def test_walls_fur_paper_and_floors_are_no_sky(name: str) -> None:
    mask, score = find_sky(photograph(name))
    assert score == 0 and not mask.any()


def test_a_subject_on_a_plain_wall_has_no_sky() -> None:
    y, x = np.mgrid[:300, :400]
    for wall in ((120, 160, 230), (250, 250, 250), (128, 128, 128)):
        pixels = np.full((300, 400, 3), wall, np.uint8)
        pixels[(y - 200) ** 2 + (x - 200) ** 2 < 90**2] = (140, 60, 40)
        assert find_sky(pixels)[1] == 0


def test_a_lake_is_cut_off_at_the_horizon() -> None:
    y = np.linspace(0, 1, 300)[:, np.newaxis, np.newaxis]
    sky = np.array((110, 160, 230)) * (1 - y) + np.array((190, 215, 240)) * y
    pixels = np.repeat(sky, 400, axis=1)
    pixels[160:240] = (140, 170, 190)
    pixels[240:] = (60, 80, 40)
    pixels += np.random.default_rng(1).normal(0, 1.5, pixels.shape)
    mask, score = find_sky(pixels.clip(0, 255).astype(np.uint8))
    assert score > 0.5
    assert mask[:150].min() > 0.9 and mask[170:].max() < 0.1


def test_the_sky_has_names() -> None:
    assert all(meaning(word) == (SKY,) for word in ("sky", "the blue sky", "der Himmel", "ciel", "cielo", "天空"))
