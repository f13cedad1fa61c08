"""Edits as text: every kind of value, every kind of mistake, and the whole contract."""

from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from diptych.errors import InvalidRequest
from diptych.operations import NAMES, operation, parse_operation, to_operations
from diptych.v1 import editor_pb2, image_pb2


def test_every_operation_of_the_contract_is_known_and_can_stand_alone() -> None:
    assert len(NAMES) == 21
    for name in NAMES:
        assert parse_operation(name).WhichOneof("operation") == name


def test_values_take_the_types_of_the_contract() -> None:
    assert parse_operation("upscale:scale=4").upscale.scale == 4
    assert parse_operation("resize:width=400,height=300,fit=contain").resize == editor_pb2.Resize(
        width=400, height=300, fit=editor_pb2.FIT_MODE_CONTAIN
    )
    turned = parse_operation("rotate:angle=-12.5,expand=false,flip_horizontal").rotate
    assert (turned.angle, turned.expand, turned.HasField("expand"), turned.flip_horizontal) == (
        -12.5,
        False,
        True,
        True,
    )
    assert parse_operation("upscale:content=Drawing").upscale.content == editor_pb2.CONTENT_KIND_DRAWING
    assert parse_operation("replace_background:color=#ff8800").replace_background.color == "#ff8800"


def test_a_value_may_hold_colons_and_a_name_commas() -> None:
    assert parse_operation("crop:aspect=16:9").crop.aspect == "16:9"
    edit = parse_operation("color_correct:selection=label:big dog, cat,auto,tint=1")
    assert edit.selection.label == "big dog, cat"
    assert (edit.color_correct.auto, edit.color_correct.tint) == (True, 1)


def test_small_messages_are_written_with_slashes() -> None:
    assert parse_operation("crop:box=10/20/200/100").crop.box == image_pb2.Box(x=10, y=20, width=200, height=100)
    gradient = parse_operation("replace_background:gradient=#fff/#000/45").replace_background.gradient
    assert (gradient.start_color, gradient.end_color, gradient.angle) == ("#fff", "#000", 45)
    assert not parse_operation("replace_background:gradient=#fff/#000").replace_background.gradient.HasField("angle")
    assert parse_operation("replace_background:gradient.start_color=#fff").replace_background.gradient.start_color


def test_pictures_are_files(tmp_path: Path) -> None:
    beach = tmp_path / "beach, at noon.jpg"
    beach.write_bytes(b"sand")
    edit = parse_operation(f"replace_background:image={beach}")
    assert edit.replace_background.image.content == b"sand"
    assert operation("composite", overlay=beach).composite.overlay.content == b"sand"
    assert operation("composite", overlay=b"bytes").composite.overlay.content == b"bytes"
    assert parse_operation(f"color_correct:saturation=-1,selection={beach}").selection.mask.content == b"sand"


@pytest.mark.parametrize(
    ("text", "target", "value"),
    [
        ("selection=subject", "subject", True),
        ("selection=box:1/2/3/4", "box", image_pb2.Box(x=1, y=2, width=3, height=4)),
        ("selection=1/2/3/4", "box", image_pb2.Box(x=1, y=2, width=3, height=4)),
        ("selection=point:5/6", "point", image_pb2.Point(x=5, y=6)),
        ("selection=label:dog", "label", "dog"),
    ],
)
def test_a_selection_is_a_word_a_box_a_point_or_a_label(text: str, target: str, value: object) -> None:
    edit = parse_operation(f"color_correct:exposure=1,{text},selection.feather=4,selection.invert")
    assert edit.selection.WhichOneof("target") == target
    assert getattr(edit.selection, target) == value
    assert (edit.selection.feather, edit.selection.invert) == (4, True)
    assert edit.color_correct.exposure == 1


MISTAKES = {
    "upscal": ("operations", "did you mean upscale"),
    "": ("operations", "there are: add_object"),
    "upscale:factor=4": ("upscale.factor", "there are: content, height, model, scale, selection, width"),
    "upscale:scal=4": ("upscale.scal", "did you mean scale"),
    "upscale:scale=four": ("upscale.scale", "must be a number, not 'four'"),
    "upscale:scale=": ("upscale.scale", "must be a number"),
    "upscale:scale=inf": ("upscale.scale", "finite"),
    "upscale:scale=2,scale=3": ("upscale.scale", "given twice"),
    "upscale:width=-1": ("upscale.width", "whole number"),
    "upscale:width=1.5": ("upscale.width", "whole number"),
    "upscale:width=4294967296": ("upscale.width", "whole number"),
    "upscale:content=cat": ("upscale.content", "must be one of photo, drawing"),
    "upscale:scale.x=2": ("upscale.scale.x", "no keys of its own"),
    "rotate:expand=maybe": ("rotate.expand", "true or false"),
    "rotate:90": ("rotate.90", "there is no such key"),
    "crop:box=1/2/3": ("crop.box", "x/y/width/height"),
    "crop:box=1/2/3/4/5": ("crop.box", "x/y/width/height"),
    "crop:box=a/b/c/d": ("crop.box", "whole number"),
    "crop:box=1/2/3/4,aspect=1:1": ("crop.aspect", "cannot be combined with box"),
    "composite:overlay=gone.png": ("composite.overlay", "there is no file gone.png"),
    "composite:overlay": ("composite.overlay", "must name a picture file"),
    "rotate:selection=gone.png": ("rotate.selection", "there is no file gone.png"),
    "rotate:selection=point:1": ("rotate.selection", "x/y"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_named_with_what_to_do(text: str) -> None:
    field, expected = MISTAKES[text]
    with pytest.raises(InvalidRequest) as bad:
        parse_operation(text)
    (violation,) = bad.value.violations
    assert violation.field == field
    assert expected in violation.description


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(InvalidRequest) as bad:
        to_operations(["upscale:scale=x,width=y", "rotate:angle=90", "rotat"])
    assert [one.field for one in bad.value.violations] == ["upscale.scale", "upscale.width", "operations"]


def test_messages_and_texts_mix() -> None:
    made = operation("rotate", angle=90, expand=False)
    assert to_operations(["analyze", made]) == [
        parse_operation("analyze"),
        parse_operation("rotate:angle=90,expand=no"),
    ]
    assert to_operations("analyze") == to_operations(["analyze"])


@given(st.sampled_from(NAMES), st.data())
def test_any_scalar_survives_being_written(name: str, data: st.DataObject) -> None:
    fields = editor_pb2.Operation.DESCRIPTOR.fields_by_name[name].message_type.fields
    values: dict[str, float | int | bool] = {}
    for field in fields:
        if field.type == FieldDescriptor.TYPE_FLOAT:
            values[field.name] = data.draw(st.floats(-1e6, 1e6, width=32))
        elif field.type == FieldDescriptor.TYPE_UINT32:
            values[field.name] = data.draw(st.integers(0, 2**32 - 1))
        elif field.type == FieldDescriptor.TYPE_BOOL and field.containing_oneof is None:
            values[field.name] = data.draw(st.booleans())
    in_oneofs = {f.name for f in fields if f.containing_oneof and len(f.containing_oneof.fields) > 1}
    values = {key: value for key, value in values.items() if key not in in_oneofs}
    text = f"{name}:" + ",".join(f"{key}={value}" for key, value in values.items())
    params = getattr(parse_operation(text), name)
    assert {key: getattr(params, key) for key in values} == values


@given(st.text())
def test_any_text_is_an_operation_or_a_named_mistake(text: str) -> None:
    for written in (text, f"upscale:{text}", f"crop:box={text}", f"color_correct:selection={text}"):
        try:
            parse_operation(written)
        except InvalidRequest as bad:
            assert bad.violations
