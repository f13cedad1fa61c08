"""Numbers and amounts in words."""

import pytest

from services.orchestrator.intent import amounts, tones
from services.orchestrator.intent.phrasing import (
    added,
    backdrop,
    exchanged,
    removed,
    setting,
    style_name,
    things,
)
from services.orchestrator.intent.prompt import drawn
from services.orchestrator.intent.slots import slots_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("make it four times bigger", 4),
        ("enlarge 2.5x", 2.5),
        ("x3 please", 3),
        ("twice the size", 2),
        ("by a factor of 8", 8),
        ("at 300%", 3),
        ("quadruple the pixels", 4),
        ("doppelt so groß", 2),
        ("agrandis trois fois", 3),
        ("放大四倍", 4),
        ("a bit bigger", None),
    ],
)
def test_factor(text: str, value: float | None) -> None:
    assert amounts.factor(text) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("make it 640x480", {"width": 640, "height": 480}),
        ("1024 × 768 px", {"width": 1024, "height": 768}),  # noqa: RUF001
        ("800 by 600", {"width": 800, "height": 600}),
        ("1200 pixels wide", {"width": 1200}),
        ("in 4K", {"width": 3840}),
        ("16:9", {}),
        ("smaller", {}),
    ],
)
def test_sides(text: str, found: dict[str, int]) -> None:
    assert amounts.sides(text) == found


@pytest.mark.parametrize(
    ("text", "value"),
    [("crop to 3:2", "3:2"), ("as a square", "1:1"), ("quadratisch", "1:1"), ("at 12:30:15", None), ("tighter", None)],
)
def test_aspect(text: str, value: str | None) -> None:
    assert amounts.aspect(text) == value


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("rotate 90 degrees counterclockwise", {"angle": -90.0, "direction": "counterclockwise"}),
        ("a quarter turn clockwise", {"angle": 90.0, "direction": "clockwise"}),
        ("it is upside down", {"angle": 180.0, "direction": "clockwise"}),
        ("mirror it", {"direction": "horizontal"}),
        ("flip vertically", {"direction": "vertical"}),
        ("straighten the horizon", {"direction": "level"}),
        ("dreh es um 180 Grad", {"angle": 180.0, "direction": "clockwise"}),
    ],
)
def test_rotation(text: str, slots: dict[str, object]) -> None:
    assert slots_of("rotate", text, {}) == slots


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("black and white", {"tone": "grayscale"}),
        ("colorize this old photo", {"tone": "colorize"}),
        ("warmer", {"temperature": 0.3}),
        ("a bit warmer", {"temperature": 0.15}),
        ("too dark", {"brightness": 0.3}),
        ("less saturation", {"saturation": -0.3}),
        ("increase the contrast", {"contrast": 0.3}),
        ("reduce the brightness", {"brightness": -0.3}),
        ("if it is too dark, brighten it", {"brightness": 0.3}),
        ("if it looks too dark brighten it up", {"brightness": 0.3}),
        ("in case it is too bright, darken it", {"brightness": -0.3}),
        ("when it feels too cold, warm it up", {"temperature": 0.3}),
        ("too cold warm it", {"temperature": 0.3}),
        ("too colourful", {"saturation": -0.3}),
        ("éclaircis la photo", {"brightness": 0.3}),
        ("aclárala un poco", {"brightness": 0.15}),
        ("oscurécela", {"brightness": -0.3}),
        ("再调亮一点", {"brightness": 0.15}),
        ("mach es heller", {"brightness": 0.3}),
        ("paint it", {}),
    ],
)
def test_adjustments(text: str, found: dict[str, object]) -> None:
    assert tones.adjustments(text) == pytest.approx(found)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("draw a red apple icon", "a red apple icon"),
        ("please draw me a picture of two cats, please", "two cats"),
        ("could you generate an image of the sea at night", "the sea at night"),
        ("a fox in the snow", "a fox in the snow"),
        ("画一只猫", "一只猫"),
        ("draw", "draw"),
    ],
)
def test_prompt(text: str, prompt: str) -> None:
    assert drawn(text) == prompt


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("swap the clock for a painting please", {"object": "clock", "replacement": "painting"}),
        ("turn the van on the left into a red tractor", {"object": "van on the left", "replacement": "red tractor"}),
        ("put a drum where the barrel is", {"object": "barrel", "replacement": "drum"}),
        ("ersetze den Hund durch eine Katze", {"object": "Hund", "replacement": "Katze"}),
        ("把船换成飞机", {"object": "船", "replacement": "飞机"}),
        ("something else", {}),
    ],
)
def test_exchange(text: str, found: dict[str, str]) -> None:
    assert exchanged(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("change the background to a rainy street", {"background": "rainy street"}),
        ("replace the backdrop of this photo with snow, please", {"background": "snow"}),
        ("把背景换成森林", {"background": "森林"}),
        ("on a plain background", {}),
    ],
)
def test_backdrop(text: str, found: dict[str, str]) -> None:
    assert backdrop(text) == found


def test_lists_of_things() -> None:
    assert things("the man, a dog and the bench") == "man, dog, bench"


def test_other_slots() -> None:
    assert slots_of("animate", "a 5 second clip that zooms in", {}) == {"duration": 5.0, "motion": "zooms in"}
    assert slots_of("vary", "three variations", {})["count"] == 3
    assert slots_of("extend", "turn this 1:1 into 21:9 and widen both sides", {}) == {
        "direction": "horizontal",
        "aspect": "21:9",
    }
    assert slots_of("add_object", 'write "Hello you" on the mug', {})["text"] == "Hello you"
    assert slots_of("resize", "800x600, save as webp", {})["format"] == "webp"
    assert slots_of("resize", "for Instagram", {}) == {"platform": "instagram"}
    assert slots_of("resize", "half the size", {}) == {"percent": 50.0}


@pytest.mark.parametrize("text", ["", "   ", "\0", "x" * 5000, "9" * 400, "(((", "🙂" * 50, "1x1x1x1", "a\nb\tc"])
def test_no_text_breaks_a_reader(text: str) -> None:
    for operation in (
        "upscale",
        "resize",
        "crop",
        "extend",
        "rotate",
        "animate",
        "vary",
        "color_correct",
        "add_object",
    ):
        slots_of(operation, text, {})
    drawn(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("remove the crane and the two lamps from this photo", "crane, two lamps"),
        ("take out the postman. Close the gap.", "postman"),
        ("make sure there is no fence in the picture", "fence"),
        ("lösche das Schild", "Schild"),
        ("删除水印", "水印"),
    ],
)
def test_removal(text: str, found: str) -> None:
    assert removed(text) == {"object": found}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("put a green parrot on his shoulder", "green parrot"),
        ("give the scarecrow a long coat", "long coat"),
        ("fill the jar with buttons", "buttons"),
    ],
)
def test_addition(text: str, found: str) -> None:
    assert added(text) == {"object": found}


def test_names_without_what_all_have() -> None:
    assert style_name("a Hokusai style") == "Hokusai"
    assert style_name("oil painting") == "oil painting"
    assert style_name("pencil drawing") == "pencil"
    assert setting("to show a harbour scene") == "harbour"
    assert setting("sunny terrace, soft light") == "sunny terrace"


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("paint the old fence dark green", {"object": "old fence", "color": "dark green"}),
        ("change the colour of the boat from red to blue", {"object": "boat", "color": "blue"}),
        ("the umbrella should be yellow", {"object": "umbrella", "color": "yellow"}),
        ("turn the leaves on the left to orange", {"object": "leaves on the left", "color": "orange"}),
    ],
)
def test_recolouring(text: str, slots: dict[str, str]) -> None:
    assert slots_of("color_correct", text, {}) == slots


def test_styles_of_set_phrases() -> None:
    assert slots_of("style_transfer", "redraw it in the style of Hopper", {}) == {"style": "Hopper"}
    assert slots_of("style_transfer", "把照片变成水彩风格", {}) == {"style": "水彩"}
    assert slots_of("style_transfer", "as a charcoal sketch", {"style": "charcoal sketch"}) == {
        "style": "charcoal sketch"
    }
