"""Colours by degree, and changes of all but one thing."""

import pytest

from services.orchestrator.intent.limits import limits
from services.orchestrator.intent.shades import shift
from services.orchestrator.intent.slots import slots_of
from services.orchestrator.planning.slots import edit


@pytest.mark.parametrize(
    ("goal", "temperature", "tint"),
    [
        ("make the sky more blue", -1, 0),
        ("a bit bluer, please", -1, 0),
        ("less blue", 1, 0),
        ("not so yellow", -1, 1),
        ("redder", 1, 1),
        ("the grass could be greener", 0, -1),
        ("mach den Himmel blauer", -1, 0),
        ("weniger grün", 0, 1),
        ("rends le ciel plus bleu", -1, 0),
        ("haz el cielo más azul", -1, 0),
        ("天空更蓝一点", -1, 0),
        ("让草地绿一点", 0, -1),
    ],
)
def test_a_colour_wanted_more_moves_the_colours_there(goal: str, temperature: int, tint: int) -> None:
    found = shift(goal)
    signs = [(found.get(name, 0.0) > 0) - (found.get(name, 0.0) < 0) for name in ("temperature", "tint")]
    assert signs == [temperature, tint]


@pytest.mark.parametrize(
    "goal", ["paint the car blue", "more contrast", "the blue car", "more light", "mehr Himmel", "绿色"]
)
def test_a_colour_by_itself_moves_nothing(goal: str) -> None:
    assert shift(goal) == {}


def test_more_of_a_colour_is_no_new_colour() -> None:
    found = slots_of("color_correct", "make the sky more blue", {"object": "sky more blue", "color": "blue"})
    assert "color" not in found and found["object"] == "sky"
    operation = edit("color_correct", found)
    assert operation.selection.label == "sky" and not operation.color_correct.color
    assert operation.color_correct.temperature == pytest.approx(-0.3) and operation.color_correct.saturation > 0
    slightly = slots_of("color_correct", "make the sky a bit more blue", {})
    assert 0 > float(slightly["temperature"]) > float(found["temperature"])
    assert edit("color_correct", slots_of("color_correct", "less green", {})).color_correct.tint == pytest.approx(0.3)
    plain = slots_of("color_correct", "make the car blue", {"object": "car", "color": "blue"})
    assert edit("color_correct", plain).color_correct.color == "#0000ff"


@pytest.mark.parametrize(
    ("goal", "spared", "grey"),
    [
        ("desaturate everything except the dog", "dog", True),
        ("everything but the cat in black and white", "cat", True),
        ("black and white, but keep the red umbrella in colour", "red umbrella", True),
        ("keep only the boat coloured", "boat", True),
        ("selective colour on the roses", "roses", True),
        ("darken everything apart from the faces", "faces", False),
        ("alles außer dem Hund heller", "Hund", False),
        ("tout sauf la voiture en noir et blanc", "voiture", True),
        ("todo menos el perro en blanco y negro", "perro", True),
        ("除了红伞都变成黑白", "红伞", True),
    ],
)
def test_what_is_excepted_is_left_alone(goal: str, spared: str, grey: bool) -> None:
    operation = edit("color_correct", slots_of("color_correct", goal, {"object": spared}))
    assert operation.selection.label == spared and operation.selection.invert
    assert operation.color_correct.grayscale == grey


@pytest.mark.parametrize(
    "goal", ["brighten it but keep the sky as it is", "make the dog brighter", "all of it in sepia"]
)
def test_other_wishes_spare_nothing(goal: str) -> None:
    assert "spared" not in slots_of("color_correct", goal, {})


def test_keeping_a_thing_in_colour_asks_for_something() -> None:
    assert limits("make it black and white but keep the umbrella in colour") == ()
    assert limits("make it black and white but keep the umbrella as it is") == ("keep the umbrella as it is",)
