"""What is measured in pictures by program."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.generator import measures
from training.generator.colours import BACKGROUNDS, PAINTS, to_rgb

WHITE = (255, 255, 255)


def canvas(ground: tuple[int, int, int] = WHITE) -> np.ndarray:
    return np.full((256, 256, 3), ground, np.uint8)


def with_disc(
    picture: np.ndarray, x: int, y: int, radius: int = 30, colour: tuple[int, int, int] = (200, 30, 30)
) -> np.ndarray:
    rows, columns = np.mgrid[:256, :256]
    picture[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = colour
    return picture


@settings(max_examples=20, deadline=None)
@given(
    st.sets(st.sampled_from([(x, y) for x in (48, 128, 208) for y in (48, 128, 208)])),
    st.sampled_from(list(BACKGROUNDS)),
)
def test_as_many_pieces_are_counted_as_lie_apart(places: set[tuple[int, int]], word: str) -> None:
    ground = BACKGROUNDS[word]
    picture = canvas(ground)
    for x, y in places:
        with_disc(picture, x, y, colour=tuple(255 - value for value in ground) if word != "grey" else (20, 20, 20))
    assert measures.pieces(picture) == len(places)


def test_crumbs_are_no_pieces_and_a_thin_bridge_does_not_join() -> None:
    picture = with_disc(with_disc(canvas(), 70, 128), 190, 128)
    picture[126:130, 70:190] = (200, 30, 30)
    with_disc(picture, 128, 40, radius=6)
    assert measures.pieces(picture) == 2


@pytest.mark.parametrize("word", BACKGROUNDS)
def test_the_ground_is_named_by_its_word(word: str) -> None:
    picture = with_disc(canvas(BACKGROUNDS[word]), 128, 128, 90, (10, 200, 200))
    assert measures.ground_word(picture) == word
    assert measures.unevenness(picture) == 0
    picture[:, :128] = np.clip(picture[:, :128].astype(int) + 20, 0, 255)
    assert word in ("white",) or measures.unevenness(picture) > 3


@pytest.mark.parametrize("word", ["red", "orange", "yellow", "green", "blue", "purple"])
@pytest.mark.parametrize("ground", ["white", "grey", "black"])
def test_the_colour_of_a_thing_is_measured_off_its_ground(word: str, ground: str) -> None:
    paint = PAINTS[word]
    rgb = to_rgb(np.asarray([[paint.hue, 0.8 * paint.saturation, 0.9]], np.float32))[0]
    colour = tuple(int(value * 255) for value in rgb)
    assert measures.colour(with_disc(canvas(BACKGROUNDS[ground]), 120, 130, 80, colour)) == word


def test_a_thing_of_two_colours_has_no_main_one() -> None:
    picture = with_disc(with_disc(canvas(), 80, 128, 40, (220, 30, 30)), 180, 128, 40, (30, 60, 220))
    assert measures.colour(picture) == ""


def test_tones_are_told_apart() -> None:
    tones = {
        "dark": (14, 18, 52),
        "blue": (88, 166, 235),
        "green": (92, 170, 74),
        "white": WHITE,
        "grey": (150, 150, 152),
    }
    for word, colour in tones.items():
        assert measures.tone(np.full((6, 256, 3), colour, np.uint8)) == word


def test_two_things_are_cut_apart_and_centred() -> None:
    picture = with_disc(with_disc(canvas(), 60, 100, 45, (220, 30, 30)), 190, 150, 35, (30, 60, 220))
    left, right = measures.halves(picture)
    assert measures.colour(left) == "red" and measures.colour(right) == "blue"
    for half in (left, right):
        assert half.shape[0] == half.shape[1]
        rows, columns = np.nonzero(measures.thing_mask(half))
        assert abs(rows.mean() - half.shape[0] / 2) < 2 and abs(columns.mean() - half.shape[1] / 2) < 2
        assert np.ptp(rows) / half.shape[0] == pytest.approx(0.9, abs=0.03)


def test_an_empty_picture_can_be_cut_too() -> None:
    left, right = measures.halves(canvas())
    assert left.shape[0] == left.shape[1] and right.shape[0] == right.shape[1]
    assert measures.pieces(canvas()) == 0 and measures.colour(canvas()) == ""


def test_frechet_distance_of_known_normals() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(4000, 5)).astype(np.float32)
    assert measures.frechet(one, one) == pytest.approx(0, abs=1e-3)
    assert measures.frechet(one, one + 2) == pytest.approx(5 * 4, rel=1e-3)
    assert measures.frechet(one, one * 3) == pytest.approx(5 * (3 - 1) ** 2, rel=0.1)


def test_the_nearest_reference_is_found() -> None:
    rng = np.random.default_rng(0)
    references = rng.uniform(0, 255, (200, 48)).astype(np.float32)
    places, distances = measures.nearest(references[[7, 150]] + 3, references)
    assert places.tolist() == [7, 150]
    assert np.allclose(distances, 3, atol=0.05)
