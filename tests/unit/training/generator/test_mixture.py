"""What is shown in training, and what is said of it."""

import random

import numpy as np
import pytest

from training.generator.captions import is_countable, pair_caption
from training.generator.mixture import Mixture, Sample
from training.generator.prepare import read_config
from training.generator.scenes import COUNTS, PAIR, SCENES, Placed, compose, paint_ground


def index_of_two() -> dict[str, object]:
    """Two things, each drawn once, each in its own colour and in one other."""
    return {
        "concepts": [
            {"noun": "strawberry", "others": [], "weight": 1.0},
            {"noun": "banana", "others": [], "weight": 1.0},
        ],
        "drawings": [{"concept": 0, "pack": 0}, {"concept": 1, "pack": 0}],
        "variants": [
            {"drawing": 0, "colour": "red", "native": True},
            {"drawing": 0, "colour": "blue", "native": False},
            {"drawing": 1, "colour": "yellow", "native": True},
            {"drawing": 1, "colour": "green", "native": False},
        ],
    }


@pytest.fixture
def samples() -> list[Sample]:
    """A thousand samples of two things."""
    mixture = Mixture(index_of_two(), read_config()["data"], seed=1)
    return [mixture.draw() for _ in range(1000)]


def test_held_out_pairs_are_never_drawn(samples: list[Sample]) -> None:
    assert "blue strawberry" in read_config()["data"]["held_out"]
    assert {thing.variant for sample in samples for thing in sample.things} == {0, 2, 3}
    assert not any("blue strawberr" in sample.text for sample in samples)


def test_every_kind_comes(samples: list[Sample]) -> None:
    assert {len(sample.things) for sample in samples} == {1, 2, 3, 4}
    assert {sample.ground for sample in samples} >= set(SCENES)


def test_counts_are_said(samples: list[Sample]) -> None:
    for sample in samples:
        if len(sample.things) in (3, 4):
            words = {3: ("three", "3"), 4: ("four", "4")}[len(sample.things)]
            assert any(word in sample.text.split() for word in words), sample.text
            assert "strawberries" in sample.text or "bananas" in sample.text


def test_pairs_are_named_from_left_to_right(samples: list[Sample]) -> None:
    pairs = [s for s in samples if len({thing.variant // 2 for thing in s.things}) == 2]
    assert pairs
    for sample in pairs:
        left, right = sorted(sample.things, key=lambda thing: thing.x)
        nouns = ("strawberry", "banana") if left.variant < right.variant else ("banana", "strawberry")
        assert sample.text.index(nouns[0]) < sample.text.index(nouns[1])


def test_plural_things_are_not_counted() -> None:
    assert not is_countable("sunglasses")
    assert not is_countable("slice of pizza")
    assert is_countable("apple")


def test_a_coloured_background_is_said() -> None:
    assert "green" in pair_caption("apple", "sun", "green", random.Random(0))
    assert "white" not in pair_caption("apple", "sun", "white", random.Random(0))


@pytest.mark.parametrize("name", [*SCENES, "white", "pink"])
def test_grounds_fill_the_canvas(name: str) -> None:
    ground = paint_ground(name, 64, random.Random(3))
    assert ground.shape == (64, 64, 3)
    assert ground.min() >= 0 and ground.max() <= 255


def test_the_night_is_dark_above_and_the_sky_light() -> None:
    assert paint_ground("night", 64, random.Random(0)).mean() < 90 < paint_ground("sky", 64, random.Random(0)).mean()


def test_things_are_laid_where_they_belong() -> None:
    art = np.zeros((1, 64, 64, 4), np.uint8)
    art[0, 8:56, 8:56] = (255, 0, 0, 255)
    white = paint_ground("white", 64, random.Random(0))
    picture = compose(white, [Placed(0, *place) for place in PAIR], art)
    red = (picture == (255, 0, 0)).all(-1)
    assert red[:, :32].any() and red[:, 32:].any()
    assert not red[:, 30:34].any() and not red[:8].any() and not red[-8:].any()


@pytest.mark.parametrize("number", COUNTS)
def test_layouts_stay_on_the_canvas_and_apart(number: int) -> None:
    for layout in COUNTS[number]:
        assert len(layout) == number
        for x, y, side in layout:
            assert side / 2 <= x + 0.05 and x + side / 2 <= 1.05 and side / 2 <= y + 0.05 and y + side / 2 <= 1.05
