# ruff: noqa: RUF001 - the marks of other scripts are meant
"""The file format of a goal and the parts of it that say no more than that; what a removal names."""

import pytest

from services.orchestrator.intent.formats import named, written
from services.orchestrator.intent.phrasing import removed


@pytest.mark.parametrize(
    ("goal", "left", "name"),
    [
        ("crop it square and save it as a JPEG", "crop it square", "jpeg"),
        ("make it brighter, jpg please", "make it brighter", "jpeg"),
        ("brighten it. Format: webp", "brighten it", "webp"),
        ("quita la farola y guárdalo como jpg", "quita la farola", "jpeg"),
        ("dreh es und speichere es als PNG bitte", "dreh es", "png"),
        ("recadre en carré et enregistre en webp", "recadre en carré", "webp"),
        ("裁成正方形，保存为png", "裁成正方形", "png"),
    ],
)
def test_a_part_about_the_file_is_blanked(goal: str, left: str, name: str) -> None:
    said, format_ = written(goal)
    assert said.strip(" ,;，") == left and format_ == name
    assert len(said) == len(goal)


def test_what_follows_is_kept_in_its_place() -> None:
    goal = "save it as jpg and make it warmer"
    left, name = written(goal)
    assert name == "jpeg" and left.strip() == "and make it warmer"
    assert left.index("warmer") == goal.index("warmer")


@pytest.mark.parametrize(
    "goal",
    [
        "make it a transparent png",
        "save it as a transparent png",
        "export it at 1200 px as jpg",
        "turn it into a gif",
        "brighten it and export as mp4",
        "png please",
        'a poster that says "save as png"',
        "make it brighter",
    ],
)
def test_a_part_that_asks_for_more_stays(goal: str) -> None:
    assert written(goal) == (goal, None)


@pytest.mark.parametrize(
    ("clause", "name"),
    [
        ("make it a transparent png", "png"),
        ("export it at 1200 px as jpg", "jpeg"),
        ("guárdalo como webp", "webp"),
        ("保存为png", "png"),
        ("remove the jpg artefacts", None),
    ],
)
def test_formats_that_are_named(clause: str, name: str | None) -> None:
    assert named(clause) == name


@pytest.mark.parametrize(
    ("clause", "thing"),
    [
        ("nimm die Mülltonnen weg", "Mülltonnen"),
        ("das Auto soll weg", "Auto"),
        ("die Leute müssen bitte raus", "Leute"),
        ("entferne das Schild", "Schild"),
        ("there's a bin on the left", "bin on the left"),
        ("there's a price tag on it, remove it", "price tag"),
        ("there is a stranger behind her that ruins it", "stranger behind her"),
    ],
)
def test_removals_name_their_thing(clause: str, thing: str) -> None:
    assert removed(clause) == {"object": thing}
