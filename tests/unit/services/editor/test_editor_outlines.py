"""Outlines of things, areas of one colour, and the words that people use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.labels import COCO, meaning, similar
from services.editor.cutting.outlines import _believable, cut, flood, part_at
from services.editor.pixels.guided import guided
from services.editor.seeing.framing import apart, framed, shrunk


def disc(size: int = 120, radius: float = 30, noise: float = 6) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on green, noisy; and where it is."""
    y, x = np.mgrid[:size, :size]
    inside = (x - size / 2) ** 2 + (y - size / 2) ** 2 < radius**2
    colors = np.where(inside[..., np.newaxis], [190, 40, 40], [60, 140, 70]) + np.random.default_rng(4).normal(
        0, noise, (size, size, 3)
    )
    return colors.clip(0, 255).astype(np.uint8), inside


def test_grabcut_finds_the_thing_in_a_box_and_repeats_itself() -> None:
    pixels, inside = disc()
    mask = cut(pixels, (22, 22, 98, 98))
    chosen = mask >= 0.5
    assert (chosen & inside).sum() / (chosen | inside).sum() > 0.93
    assert np.array_equal(cut(pixels, (22, 22, 98, 98)), mask)
    assert mask[60, 60] == 1 and mask[0, 0] == 0


def test_what_cannot_be_told_apart_is_the_whole_box() -> None:
    mask = cut(np.full((50, 50, 3), 90, np.uint8), (10, 10, 40, 30))
    assert mask[20, 25] == 1 and mask[45, 5] == 0


def test_flood_takes_one_colour_and_stops_at_another() -> None:
    pixels, inside = disc(noise=0)
    assert np.array_equal(flood(pixels, 60, 60, drawn=True) == 1, inside)
    pixels, inside = disc(400, 100, noise=4)
    chosen = flood(pixels, 200, 200, drawn=False) >= 0.5
    assert (chosen & inside).sum() / (chosen | inside).sum() > 0.93


def test_only_the_part_that_is_pointed_at() -> None:
    mask = np.zeros((40, 40), np.float32)
    mask[2:12, 2:12], mask[25:38, 25:38] = 1, 0.8
    assert part_at(mask, 30, 30).sum() == pytest.approx(mask[25:38, 25:38].sum())
    assert not part_at(mask, 20, 20).any()


def test_a_matte_of_something_else_is_not_believed() -> None:
    matte = np.zeros((100, 100), np.float32)
    box = (20, 20, 80, 80)
    assert _believable(matte, box) is None
    assert _believable(np.ones((100, 100), np.float32), box) is None
    matte[30:70, 30:70] = 1
    assert np.array_equal(_believable(matte, box) >= 0.5, matte == 1)


def test_the_guided_filter_keeps_edges_and_smooths_the_rest() -> None:
    guide = np.zeros((60, 60), np.float32)
    guide[:, 30:] = 1
    noisy = guide + np.random.default_rng(2).normal(0, 0.1, guide.shape).astype(np.float32)
    smooth = guided(guide, noisy, 6, 1e-3)
    assert smooth[:, :24].std() < 0.03 and smooth[:, 35:].mean() - smooth[:, :25].mean() > 0.9


@given(width=st.integers(1, 90), height=st.integers(1, 90), x=st.floats(0, 1), y=st.floats(0, 1))
def test_places_come_back_from_a_frame(width: int, height: int, x: float, y: float) -> None:
    frame = framed(np.zeros((height, width, 3), np.uint8), 64)
    assert frame.pixels.shape == (64, 64, 3)
    place = np.array([x * width, y * height], np.float32)
    there = place * frame.scale + np.array([frame.x, frame.y], np.float32)
    np.testing.assert_allclose(frame.back(there), place, atol=1e-3)


def test_hidden_colour_does_not_show_in_a_small_copy() -> None:
    pixels = np.full((64, 64, 4), 255, np.uint8)
    pixels[:, 32:] = [255, 0, 0, 0]
    small = shrunk(pixels, 16)
    assert small[8, 2].tolist() == [255] * 3 and abs(int(small[8, 12, 0]) - 127) <= 1
    assert np.ptp(small[8, 12].astype(int)) <= 1


def test_boxes_over_one_another_count_once() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [30, 30, 40, 40]], np.float32)
    assert apart(boxes, np.array([0.5, 0.9, 0.3], np.float32), 0.5) == [1, 2]


@pytest.mark.parametrize(
    ("label", "kinds"),
    [
        ("dog", ("dog",)), ("the dogs", ("dog",)), ("My  Bikes", ("bicycle",)), ("people", ("person",)),
        ("a woman in a red dress", ("person",)), ("red sports car", ("car",)), ("knives", ("knife",)),
        ("cell_phone", ("cell phone",)), ("buses", ("bus",)), ("puppies", ("dog",)), ("mouth", ("lips",)),
        ("fruit", ("banana", "apple", "orange")), ("glasses", ("wine glass",)), ("text", ("text",)),
        ("quark", ()), ("", ()), ("in", ()),
    ],
)  # fmt: skip
def test_words_for_things(label: str, kinds: tuple[str, ...]) -> None:
    assert meaning(label) == kinds


def test_every_kind_is_known_by_its_own_name_and_the_unknown_are_helped() -> None:
    assert len(COCO) == 80 and all(meaning(name) == (name,) for name in COCO)
    assert "person" in similar("xyzzy") and "phone" in similar("phoen")
