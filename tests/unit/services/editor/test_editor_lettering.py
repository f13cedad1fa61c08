"""Words as letters on a picture: where they stand, how they are broken, what is read on what."""

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.errors import InvalidRequest
from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.filling.lettering import mask_of, missing, set_in
from services.editor.operations import write_text
from services.editor.pixels.anchors import anchored

LATIN = st.text(st.sampled_from("abcdefghijklmnop ÄÖÜßéñ€—"), min_size=1, max_size=80).filter(lambda text: text.strip())


class Surroundings:
    """What the operation asks of its context, without an editor behind it."""

    selection = None
    path = "write_text"

    def __init__(self) -> None:
        self.notes: dict[str, object] = {}

    def note(self, **values: object) -> None:
        self.notes |= values

    def method(self, name: str, engine: str) -> None:
        self.used = (name, engine)

    def fault(self, name: str, description: str) -> InvalidRequest:
        return InvalidRequest.single(name, description)

    async def compute(self, function: Any, *args: object) -> Any:
        return function(*args)


async def written(image: Pixels, **fields: Any) -> Pixels:
    faults = Faults("write_text")
    parameters = write_text.read(editor_pb2.WriteText(**fields), faults)
    faults.raise_any()
    return await write_text.apply(image, parameters, cast(EditContext, Surroundings()))


def ground(width: int = 300, height: int = 200, level: int = 60) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


@settings(max_examples=40, deadline=None)
@given(LATIN, st.integers(40, 900), st.integers(40, 900))
def test_every_word_is_there_and_inside_the_picture(text: str, width: int, height: int) -> None:
    found = set_in(text, width, height, None)
    if found is None:
        return
    assert " ".join(found.lines).split() == text.split()
    letters = mask_of(found, "center")
    assert letters.shape[0] <= height and letters.shape[1] <= width
    assert letters.min() >= 0 and letters.max() <= 1


def test_long_words_are_broken_into_even_lines() -> None:
    found = set_in("one two three four five six seven eight nine ten eleven twelve", 300, 300, 0.08)
    assert found is not None and len(found.lines) > 2
    widths = [mask_of(type(found)((line,), found.pixels), "left").shape[1] for line in found.lines]
    assert min(widths) > 0.5 * max(widths)


def test_letters_that_the_font_lacks_are_named() -> None:
    assert missing("Größer als je, ça va? Ελλάδα Москва 50 %") == ""
    assert missing("日本 sale 🙂") == "日本🙂"
    with pytest.raises(InvalidRequest) as raised:
        write_text.read(editor_pb2.WriteText(text="日本"), faults := Faults("write_text"))
        faults.raise_any()
    assert [one.field for one in raised.value.violations] == ["write_text.text"]


@pytest.mark.parametrize(
    ("anchor", "rows", "columns"),
    [
        (editor_pb2.ANCHOR_TOP_LEFT, slice(0, 100), slice(0, 150)),
        (editor_pb2.ANCHOR_BOTTOM_RIGHT, slice(100, 200), slice(150, 300)),
        (editor_pb2.ANCHOR_TOP, slice(0, 100), slice(60, 240)),
        (editor_pb2.ANCHOR_LEFT, slice(50, 150), slice(0, 150)),
    ],
)
async def test_words_stand_where_they_are_anchored(anchor: Any, rows: slice, columns: slice) -> None:
    before = ground()
    after = await written(before, text="Hi", anchor=anchor, size=0.2)
    outside = after.copy()
    outside[rows, columns] = before[rows, columns]
    assert np.array_equal(outside, before), "nothing is changed elsewhere"
    assert (after[rows, columns] > 240).any(), "white letters on a dark ground"


async def test_letters_are_read_on_dark_and_bright_grounds_and_on_boxes() -> None:
    dark, bright = await written(ground(level=40), text="Hi"), await written(ground(level=220), text="Hi")
    assert dark.max() > 240 and bright.min() < 30
    boxed = await written(ground(), text="Hi", background="#ffe000")
    assert (boxed == (255, 224, 0)).all(2).mean() > 0.02 and boxed.min() < 30


async def test_what_does_not_fit_says_so() -> None:
    with pytest.raises(InvalidRequest, match="does not fit into 300 x 200"):
        await written(ground(), text="much too large", size=0.9)


def test_anchors_keep_a_margin_and_the_middle_none() -> None:
    base = ground()
    assert anchored(editor_pb2.ANCHOR_BOTTOM, (100, 20), base) == (100, 174)
    assert anchored(editor_pb2.ANCHOR_CENTER, (100, 20), base) == (100, 90)
