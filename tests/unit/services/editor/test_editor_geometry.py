"""Crop, resize, rotate: sizes and places."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.editor.operations.crop import largest
from services.editor.operations.resize import _contain, _cover, platforms
from services.editor.operations.rotate import _level, find_tilt


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.01, 100))
def test_the_largest_rectangle_fits_and_touches(width: int, height: int, aspect: float) -> None:
    kept_width, kept_height = largest(width, height, aspect)
    assert 1 <= kept_width <= width and 1 <= kept_height <= height
    assert kept_width == width or kept_height == height


def test_platforms_are_whole_and_named_plainly() -> None:
    table = platforms()
    assert table["instagram-post"] == (1080, 1350) and table["youtube-thumbnail"] == (1280, 720)
    assert len(table) >= 40
    for name, size in table.items():
        assert name == name.lower() and " " not in name
        assert all(16 <= side <= 4096 for side in size)


def test_cover_follows_the_subject_to_the_edge_and_no_further() -> None:
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(50, 0)
    assert _cover(ramp, 1.0, (50, 25))[0, 0, 0] == 25
    assert _cover(ramp, 1.0, (90, 25))[0, 0, 0] == 50
    assert _cover(ramp, 1.0, (0, 0))[0, 0, 0] == 0


def test_contain_fills_with_white_or_with_nothing() -> None:
    solid = np.full((10, 20, 4), 90, np.uint8)
    held = _contain(solid[..., :3], 20, 20)
    assert held[0, 0].tolist() == [255] * 3 and held[10, 10].tolist() == [90] * 3
    assert _contain(solid, 20, 20)[0, 0].tolist() == [0] * 4


def scene(tilt: float) -> np.ndarray:
    """A horizon and two posts leaning by `tilt` degrees clockwise."""
    canvas = np.full((400, 600, 3), 220, np.uint8)
    cv2.rectangle(canvas, (-500, 230), (1100, 900), (60, 110, 70), -1)
    for x in (150, 420):
        cv2.rectangle(canvas, (x, 60), (x + 24, 230), (40, 40, 60), -1)
    matrix = cv2.getRotationMatrix2D((300, 200), -tilt, 1)
    return cv2.warpAffine(canvas, matrix, (600, 400), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("tilt", [-9.0, -3.0, 1.5, 6.0])
def test_a_leaning_horizon_is_found_and_levelled(tilt: float) -> None:
    leaning = scene(tilt)
    assert find_tilt(leaning) == pytest.approx(tilt, abs=0.4)
    level = _level(leaning, find_tilt(leaning), False)
    assert abs(find_tilt(level)) < 0.4
    assert level.shape[2] == 3 and level.shape[0] < 400 and level.shape[1] < 600


def test_nothing_to_straighten() -> None:
    assert find_tilt(scene(0)) == 0
    assert find_tilt(np.random.default_rng(6).integers(0, 256, (200, 200, 3), dtype=np.uint8)) == pytest.approx(
        0, abs=15
    )
    assert find_tilt(np.full((50, 50, 3), 128, np.uint8)) == 0
