"""Which part of a picture a change of light or colour is for."""

import pytest

from services.orchestrator.intent.parts import part_of
from services.orchestrator.intent.slots import slots_of


@pytest.mark.parametrize(
    ("clause", "part"),
    [
        ("make the sky a bit darker", "sky"),
        ("Brighten the cat", "cat"),
        ("darken the background please", "background"),
        ("make her face brighter", "face"),
        ("the sky in this photo is too bright", "sky"),
        ("desaturate the red car", "car"),
        ("mach den Himmel dunkler", "himmel"),
        ("assombris l'arrière-plan", "arrière-plan"),
        ("aclara la cara", "cara"),
        ("把天空调暗一点", "天空"),
        ("make it warmer", ""),
        ("brighten the picture of the cat", ""),
        ("make the cat picture warmer", ""),
        ("the dog's photo is too dark", ""),
        ("make it as blue as the sky", ""),
        ("more contrast without touching the face", ""),
        ("brighten the shadows", ""),
        ("make the cat and the dog brighter", ""),
        ("the dog sits in the dark; brighten the whole image", ""),
    ],
)
def test_parts_are_told_from_the_whole(clause: str, part: str) -> None:
    assert part_of(clause) == part


def test_the_part_becomes_what_is_selected() -> None:
    assert slots_of("color_correct", "make the sky a bit darker", {}) == {"object": "sky", "brightness": -0.15}
    assert slots_of("color_correct", "make the sky blue", {"object": "sky", "color": "blue"}) == {
        "object": "sky", "color": "blue"
    }  # fmt: skip
    assert slots_of("color_correct", "make the background black and white", {}) == {
        "object": "background", "tone": "grayscale"
    }  # fmt: skip
    assert slots_of("color_correct", "make the old apple tree green", {"object": "old apple tree"})["object"] == (
        "old apple tree"
    )
