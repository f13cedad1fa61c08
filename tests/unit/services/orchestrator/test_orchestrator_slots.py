import math

import pytest
from google.protobuf import text_format
from PIL import ImageColor

from diptych.v1 import editor_pb2
from services.orchestrator.planning import slots as fill
from services.orchestrator.planning.colors import color_in, color_of


@pytest.mark.parametrize(
    ("name", "slots", "expected"),
    [
        ("remove_background", {}, "remove_background { }"),
        ("upscale", {"scale": 4}, "upscale { scale: 4 }"),
        ("upscale", {"scale": 100}, "upscale { scale: 8 }"),
        ("upscale", {"scale": 0.5}, "upscale { }"),
        ("upscale", {"width": 3840}, "upscale { width: 3840 }"),
        ("color_correct", {"temperature": 0.3}, "color_correct { temperature: 0.3 }"),
        ("color_correct", {"tone": "grayscale"}, "color_correct { grayscale: true }"),
        ("color_correct", {"saturation": -3}, "color_correct { saturation: -1 }"),
        ("color_correct", {}, "color_correct { auto: true }"),
        (
            "color_correct",
            {"object": "door", "color": "green"},
            'color_correct { color: "#008000" } selection { label: "door" }',
        ),
        ("replace_background", {"background": "plain white"}, 'replace_background { color: "#ffffff" }'),
        ("replace_background", {"background": "#ABC"}, 'replace_background { color: "#aabbcc" }'),
        ("replace_background", {"background": "a beach"}, "replace_background { image { } }"),
        ("replace_background", {}, 'replace_background { color: "#ffffff" }'),
        ("rotate", {"angle": 90, "direction": "clockwise"}, "rotate { angle: 90 }"),
        ("rotate", {"angle": 90, "direction": "counterclockwise"}, "rotate { angle: -90 }"),
        ("rotate", {"direction": "horizontal"}, "rotate { flip_horizontal: true }"),
        ("rotate", {"direction": "level"}, "rotate { straighten: true }"),
        ("rotate", {}, "rotate { angle: 90 }"),
        ("resize", {"width": 1024, "height": 768}, "resize { width: 1024 height: 768 }"),
        ("resize", {"percent": 50}, "resize { scale: 0.5 }"),
        ("resize", {"platform": "Instagram Post"}, 'resize { platform: "instagram-post" }'),
        ("resize", {"platform": "instagram"}, 'resize { platform: "instagram-post" }'),
        ("resize", {"platform": "linkedin", "width": 400}, "resize { width: 400 }"),
        ("resize", {"width": "nonsense"}, "resize { scale: 0.5 }"),
        ("crop", {"aspect": "16:9"}, 'crop { aspect: "16:9" }'),
        ("crop", {"aspect": "square"}, 'crop { aspect: "1:1" }'),
        ("crop", {"aspect": "0:0"}, "crop { subject: true }"),
        ("crop", {"object": "eagle"}, "crop { subject: true }"),
        ("crop", {"width": 1500, "height": 1000}, 'crop { aspect: "3:2" }'),
        ("extend", {"direction": "horizontal"}, "extend { left: 256 right: 256 }"),
        ("extend", {"aspect": "3:1"}, 'extend { aspect: "3:1" }'),
        ("remove_object", {"object": "bin"}, 'remove_object { } selection { label: "bin" }'),
        ("denoise", {"strength": 0.25}, "denoise { strength: 0.25 }"),
        ("blur_background", {"strength": 0.5}, "blur_background { radius: 20 }"),
        ("retouch", {}, "retouch { }"),
    ],
)
def test_operations_are_filled_from_slots(name: str, slots: dict[str, str | float | int], expected: str) -> None:
    assert fill.edit(name, slots) == text_format.Parse(expected, editor_pb2.Operation())


def test_what_is_not_said_and_must_be_is_owned_up_to() -> None:
    assert "white" in fill.assumption("replace_background", {})
    assert fill.assumption("replace_background", {"background": "beach"}) == ""
    assert "half" in fill.assumption("resize", {})


def test_a_prompt_has_its_style_and_stays_within_the_contract() -> None:
    assert fill.generation("goal", {"prompt": "a fox", "style": "comic"}).prompt == "a fox, comic style"
    assert fill.generation("goal", {"prompt": "a comic fox", "style": "comic"}).prompt == "a comic fox"
    assert fill.generation(" draw it ", {}).prompt == "draw it"
    assert len(fill.generation("ü" * 4000, {}).prompt.encode()) == 4096
    assert fill.generation("goal", {"count": 99}).num_images == 16
    assert not fill.generation("goal", {"count": 1}).HasField("num_images")


def test_a_film_has_its_motion_and_length() -> None:
    film = fill.film_of_still({"motion": "slow zoom out", "duration": 2.5})
    assert film.motion == editor_pb2.CAMERA_MOTION_ZOOM_OUT
    assert (film.duration.seconds, film.duration.nanos) == (2, 500_000_000)


def test_numbers_are_finite_and_within_bounds() -> None:
    assert fill.number({"scale": math.nan}, "scale") is None
    assert fill.number({"scale": "4"}, "scale", 0, 3) == 3
    assert fill.number({}, "scale") is None


@pytest.mark.parametrize(
    ("words", "color"),
    [
        ("white", "#ffffff"),
        ("a solid light blue backdrop", "#add8e6"),
        ("dark slate", "#2f4f4f"),
        ("pale blue", "#add8e6"),
        ("pastel-pink", "#ffb6c1"),
        ("a deep red background", "#8b0000"),
        ("weiß", "#ffffff"),
        ("纯白色背景", "#ffffff"),
        ("#1e90ff", "#1e90ff"),
        ("beach", None),
        ("decade", None),
        ("red brick wall", None),
        ("", None),
    ],
)
def test_a_colour_is_told_from_a_place(words: str, color: str | None) -> None:
    assert color_of(words) == color


def test_a_colour_is_found_among_other_words() -> None:
    assert color_in("burnt orange") == "#ffa500"
    assert color_in("platinum blonde") == "#efe6cf"
    assert color_in("like my shirt") is None


def test_a_colour_that_somebody_else_parsed_is_still_known() -> None:
    ImageColor.getrgb("salmon")  # Pillow remembers it as numbers from here on.
    assert color_of("salmon") == "#fa8072"
