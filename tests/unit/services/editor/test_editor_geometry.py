"""Crop, resize, rotate: sizes and places."""

import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from services.editor.operations import resize
from services.editor.operations.crop import largest
from services.editor.operations.resize import _contain, _cover, find_platform, platforms
from services.editor.operations.rotate import _level, _turn
from services.editor.seeing.horizon import find_tilt


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
        assert all(16 <= side <= 4200 for side in size)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Insta story", "instagram-story"), ("YT thumbnail", "youtube-thumbnail"),
        ("instagram_reels", "instagram-reel"),
        ("Instagram", "instagram-post"), ("instagram 3:4", "instagram-portrait"), ("TikTok", "tiktok-video"),
        ("x", "x-post"), ("4K", "4k"), ("somewhere", None), ("", None),
    ],
)  # fmt: skip
def test_platforms_are_found_by_the_words_people_use(words: str, name: str | None) -> None:
    assert find_platform(words) == name


def test_no_two_platforms_share_a_word() -> None:
    file = Path(resize.__file__).with_name("platforms.toml")
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    for name, one in table.items():
        assert all(find_platform(word) == name for word in (name, *one.get("also", ())))


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


def turned(photo: np.ndarray, angle: float) -> np.ndarray:
    """The photo turned, without the corners that turning adds: they would give the angle away."""
    whole, (height, width) = _turn(photo, angle, True), photo.shape[:2]
    inner = _level(photo, -angle, False).shape
    top, left = (whole.shape[0] - inner[0]) // 2, (whole.shape[1] - inner[1]) // 2
    assert inner[0] < height and inner[1] < width
    return whole[top : top + inner[0], left : left + inner[1]]


# What each photo leans by itself, looked at and measured; they tell by uprights, a skyline, text, a lattice.
@pytest.mark.parametrize(
    "name, own, within", [("astronaut", 0.2, 0.5), ("camera", 0.0, 0.5), ("page", 0.3, 0.5), ("rocket", -0.4, 1.3)]
)
@pytest.mark.parametrize("angle", [-7.0, -3.0, 4.0, 8.0])
def test_a_real_photo_turned_by_a_known_angle_tells_it(name: str, own: float, within: float, angle: float) -> None:
    photo = getattr(skimage.data, name)()
    photo = np.repeat(photo[..., np.newaxis], 3, axis=2) if photo.ndim == 2 else photo
    assert find_tilt(turned(photo, angle)) - own == pytest.approx(angle, abs=within)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "text", "grass", "gravel", "hubble_deep_field"])
@pytest.mark.parametrize("angle", [-4.0, 3.0])
def test_a_photo_without_a_horizon_is_left_alone(name: str, angle: float) -> None:
    photo = getattr(skimage.data, name)()
    photo = np.repeat(photo[..., np.newaxis], 3, axis=2) if photo.ndim == 2 else photo
    assert find_tilt(turned(photo[:600, :800], angle)) == 0


def test_nothing_to_straighten() -> None:
    assert find_tilt(scene(0)) == 0
    assert find_tilt(np.random.default_rng(6).integers(0, 256, (200, 200, 3), dtype=np.uint8)) == 0
    for size in (1, 3, 15, 50):
        assert find_tilt(np.full((size, size, 3), 128, np.uint8)) == 0
