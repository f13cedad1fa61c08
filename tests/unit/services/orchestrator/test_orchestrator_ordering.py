import itertools

import pytest

from services.orchestrator.planning.ordering import in_order, order_is_said
from services.orchestrator.planning.wanted import Wanted


def names(goal: str, *operations: str) -> list[str]:
    return [one.name for one in in_order(goal, [Wanted(name) for name in operations])[0]]


def test_repairs_go_before_enlarging_and_the_shape_comes_last() -> None:
    kept, why = in_order("upscale, crop and denoise it", [Wanted(name) for name in ("upscale", "crop", "denoise")])
    assert [one.name for one in kept] == ["denoise", "upscale", "crop"]
    assert why.startswith(
        "No order is given: faults are mended before anything enlarges them, and the shape comes last"
    )


@pytest.mark.parametrize(
    "goal",
    [
        "upscale it, then denoise",
        "first upscale, denoise",
        "denoise after upscaling",
        "erst größer, danach entrauschen",
        "d'abord agrandir",
        "primero amplía",
        "先放大 然后降噪",
    ],
)
def test_an_order_that_is_said_is_kept(goal: str) -> None:
    assert order_is_said(goal) and names(goal, "upscale", "denoise") == ["upscale", "denoise"]
    assert in_order(goal, [Wanted("upscale"), Wanted("denoise")])[1] == ""


def test_what_is_in_order_needs_no_word() -> None:
    assert in_order("denoise and crop", [Wanted("denoise"), Wanted("crop")])[1] == ""


def test_nothing_passes_what_makes_or_looks_at_a_picture() -> None:
    assert names("a", "crop", "generate", "upscale", "denoise") == ["crop", "generate", "denoise", "upscale"]
    assert names("a", "resize", "analyze", "enhance") == ["resize", "analyze", "enhance"]


def test_the_order_of_words_plays_no_part() -> None:
    parts = ("denoise", "replace_background", "upscale", "crop")
    assert {tuple(names("a", *order)) for order in itertools.permutations(parts)} == {parts}


def test_the_same_operation_twice_stays_as_it_was() -> None:
    twice = [Wanted("color_correct", {"brightness": 1}), Wanted("color_correct", {"contrast": 1})]
    assert in_order("a", twice)[0] == twice
