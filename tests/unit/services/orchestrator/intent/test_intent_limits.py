"""What a goal forbids, and which of several pictures it speaks of."""

import pytest

from services.orchestrator.intent.limits import forbidden, limits
from services.orchestrator.intent.pictures import backdrop, every, roles


@pytest.mark.parametrize(
    ("goal", "said", "ruled_out"),
    [
        ("sharpen it but don't crop it", ("don't crop it",), ("crop",)),
        ("keep the face as it is, smooth the rest", ("keep the face as it is",), ()),
        ("no cropping, just straighten", ("no cropping",), ("crop",)),
        ("brighten the room without touching the people", ("without touching the people",), ()),
        ("mach es heller, aber nicht zuschneiden", ("nicht zuschneiden",), ("crop",)),
        ("enlarge it, and leave the colours alone", ("leave the colours alone",), ()),
        ("remove the background and keep only the dog", (), ()),
        ("no noise please", (), ()),
    ],
)
def test_limits_are_told_from_wishes(goal: str, said: tuple[str, ...], ruled_out: tuple[str, ...]) -> None:
    assert limits(goal) == said
    assert forbidden(said, ()) == ruled_out


def test_what_is_wanted_is_not_forbidden() -> None:
    assert forbidden(("don't crop it",), ("crop",)) == ()


@pytest.mark.parametrize("goal", ["brighten both photos", "crop all three pictures", "do this for each of them"])
def test_every_picture(goal: str) -> None:
    assert every(goal)


@pytest.mark.parametrize("goal", ["remove both cars", "all the people should go", "brighten the photo"])
def test_things_in_a_picture_are_no_pictures(goal: str) -> None:
    assert not every(goal)


@pytest.mark.parametrize(
    ("clause", "source", "target"),
    [
        ("put the bottle from the second picture on the table of the first", 2, 1),
        ("the dog of the first image into the second one", 1, 2),
        ("make the second photo look like the first", 1, 2),
        ("give it the look of the last picture", -1, None),
        ("setz die Katze aus dem zweiten Bild auf das Sofa im ersten", 2, 1),
        ("remove the second car", None, None),
    ],
)
def test_roles_of_pictures(clause: str, source: int | None, target: int | None) -> None:
    found = roles(clause)
    assert (found.get("source_picture"), found.get("target_picture")) == (source, target)


@pytest.mark.parametrize(
    ("clause", "background"),
    [
        ("use the second picture as background for the first", 2),
        ("put the second picture behind the person in the first", 2),
        ("the first should be the background of the second", 1),
        ("nimm das zweite Bild als Hintergrund", 2),
        ("utilise la deuxième photo comme fond de la première", 2),
        ("usa la segunda foto como fondo para la primera", 2),
        ("用第二张图做第一张的背景", 2),
        ("put the cup from the second picture on the table of the first", None),
        ("give the first the look of the second", None),
    ],
)
def test_a_given_picture_as_the_background(clause: str, background: int | None) -> None:
    assert backdrop(clause) == background
