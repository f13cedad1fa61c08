"""Which icons show which concept, and how drawings of one ink are painted."""

import numpy as np

from training.generator.judge_art import coloured, is_plain, match, names_of, palette_of, read_judge_config
from training.generator.prepare import Concept, read_config

CONCEPTS = [
    Concept("apple", ("redapple", "greenapple"), ("fruit",), 5),
    Concept("fruit basket", ("basket",), ("fruit",), 1),
    Concept("light bulb", ("lightbulb",), ("lamp", "idea"), 2),
]


def test_names_lose_hyphens_and_suffixes_and_aliases_lead_to_their_icon() -> None:
    collection = {"icons": {"light-bulb-fill": {}, "light-bulb": {}, "pear-fill": {}}, "aliases": {}}
    assert names_of(collection, ["-fill"]) == {"lightbulb": ["light-bulb-fill"], "pear": ["pear-fill"]}
    assert names_of(collection, ["", "-fill"])["lightbulb"] == ["light-bulb", "light-bulb-fill"]
    collection["aliases"] = {"lamp": {"parent": "light-bulb"}, "gone": {"parent": "nothing"}}
    assert names_of(collection, [""])["lamp"] == ["light-bulb"]
    assert "gone" not in names_of(collection, [""])


def test_emoji_are_matched_by_icon_names_alone() -> None:
    names = {"redapple": ["red-apple"], "apple": ["apple"], "lamp": ["lamp"], "lightbulb": ["light-bulb"]}
    assert match(CONCEPTS, names, words=False) == {"red-apple": "apple", "light-bulb": "light bulb"}


def test_words_are_matched_nouns_first_and_ambiguous_ones_never() -> None:
    names = {"apple": ["apple-a", "apple-b"], "fruit": ["fruit"], "lamp": ["lamp"], "idea": ["idea"]}
    found = match(CONCEPTS, names, words=True, ambiguous=["idea"])
    assert found == {"apple-a": "apple", "apple-b": "apple", "fruit": "apple", "lamp": "light bulb"}


def test_a_drawing_of_one_ink_comes_out_in_colours_of_the_thing() -> None:
    drawing = np.zeros((32, 32, 4), np.uint8)
    drawing[4:28, 4:28, 3] = 255
    drawing[8:24, 8:24, 3] = 0  # a frame: its inside is no ink
    assert is_plain(drawing)
    red = np.full((8, 8, 4), (220, 30, 20, 255), np.uint8)
    shape, filled = coloured(drawing, palette_of([red]), np.random.default_rng(5))
    assert shape[16, 16, 3] == 0 and filled[16, 16, 3] == 255
    assert not is_plain(filled)
    assert np.array_equal(shape[5, 5, :3], (220, 30, 20))


def test_the_judge_sees_no_vendor_of_the_generator() -> None:
    packs = {pack["package"] for pack in read_judge_config()["art"]["packs"]}
    assert not packs & {pack["package"] for pack in read_config()["data"]["packs"]}
    assert not any("fluent" in name or "noto" in name or "twemoji" in name for name in packs)
