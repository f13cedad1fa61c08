"""Backgrounds and things through a real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from diptych.images import to_message
from diptych.v1 import editor_pb2, image_pb2
from tests.services import editor_house as house

op = house.operation


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def channel(models: Path, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with house.editor(models, cache=tmp_path, tile=64) as (_, channel):
        yield channel


def noise(width: int = 60, height: int = 60) -> np.ndarray:
    """House's picture on a busy ground, so that every edit of it shows."""
    pixels = house.picture(width, height).astype(int)
    pixels += np.random.default_rng(0).integers(-18, 19, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


async def test_the_subject_gets_another_background(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(60, 60)
    result, response = await house.edit(channel, pixels, op("replace_background", color="#00ff00"))
    assert result.shape == (60, 60, 3)
    assert result[0, 0].tolist() == [0, 255, 0] and np.array_equal(result[30, 30], pixels[30, 30])
    (record,) = response.records
    assert record.models[0].name == "isnet" and record.parameters["color"] == "#00ff00"
    fade = editor_pb2.Gradient(start_color="#000000", end_color="#ffffff", angle=90)
    result, _ = await house.edit(channel, pixels, op("replace_background", gradient=fade))
    assert result[0, -1].max() < 10 and result[0, 0].min() > 245
    sea = np.full((10, 40, 3), (0, 0, 200), np.uint8)
    result, response = await house.edit(channel, pixels, op("replace_background", image=to_message(sea), harmonize=1.0))
    assert result[0, 0].tolist() == [0, 0, 200]
    assert "harmonize" in [model.name for model in response.records[0].models]


async def test_the_old_background_can_go_soft(channel: grpc.aio.Channel) -> None:
    pixels = noise()
    for soft in (op("replace_background", blur_radius=5.0), op("blur_background", radius=5.0)):
        result, response = await house.edit(channel, pixels, soft)
        assert result[:6].astype(float).std() < pixels[:6].astype(float).std()
        assert np.abs(result[28:32, 28:32].astype(int) - pixels[28:32, 28:32]).max() <= 1
        assert response.records[0].effect.effect == image_pb2.EFFECT_CHANGED
    result, response = await house.edit(channel, pixels, op("blur_background", radius=0.0))
    assert np.array_equal(result, pixels)
    assert response.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT


async def test_what_is_selected_goes_and_its_surroundings_carry_on(channel: grpc.aio.Channel) -> None:
    stripes = np.zeros((60, 80, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = 200
    marked = stripes.copy()
    marked[20:34, 30:45] = [250, 0, 0]
    remove = op("remove_object")
    remove.selection.box.CopyFrom(image_pb2.Box(x=29, y=19, width=17, height=16))
    result, response = await house.edit(channel, marked, remove)
    assert np.abs(result.astype(int) - stripes).mean() < 8
    assert [model.name for model in response.records[0].models] == ["patchmatch"]
    assert response.records[0].models[0].kind == image_pb2.MODEL_KIND_ALGORITHM
    remove.selection.mask.CopyFrom(to_message(np.zeros((60, 80), np.uint8)))
    result, response = await house.edit(channel, marked, remove)
    assert np.array_equal(result, marked)
    assert response.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT


async def test_the_subject_goes_with_its_rim(channel: grpc.aio.Channel) -> None:
    remove = op("remove_object")
    remove.selection.subject = True
    result, _ = await house.edit(channel, house.picture(90, 90), remove)
    assert result.min() > 150, "a dark rest of the subject is left"


@pytest.mark.parametrize("side", [None, 32], ids=["any size", "fixed size"])
async def test_a_network_for_inpainting_that_was_added_is_used(tmp_path: Path, side: int | None) -> None:
    models = house.write_inpainting(house.write_models(tmp_path / "models"), side=side)
    pixels = noise(90, 70)
    remove = op("remove_object")
    remove.selection.box.CopyFrom(image_pb2.Box(x=20, y=10, width=30, height=20))
    async with house.editor(models, cache=tmp_path) as (_, channel):
        result, response = await house.edit(channel, pixels, remove)
        assert np.abs(result[12:28, 22:48].astype(int) - [0, 255, 0]).mean() < 20
        assert response.records[0].models[0].name == "painter"
        assert np.array_equal(result[:10], pixels[:10])
        remove.remove_object.model = "isnet"
        with pytest.raises(grpc.aio.AioRpcError, match="isnet is a model for matting; for inpainting there is painter"):
            await house.edit(channel, pixels, remove)


def thing() -> np.ndarray:
    """A yellow square with a clear border."""
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[4:16, 4:16] = [240, 220, 20, 255]
    return pixels


async def test_things_are_put_in(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(60, 60)
    place = image_pb2.Box(x=10, y=20, width=20, height=20)
    result, response = await house.edit(
        channel, pixels, op("add_object", object=to_message(thing()), place=place, harmonize=0.0)
    )
    assert (result[24:36, 14:26] == [240, 220, 20]).all()
    untouched = np.ones((60, 60), bool)
    untouched[24:36, 14:26] = False
    assert np.array_equal(result[untouched], pixels[untouched])
    assert response.records[0].parameters["place"] == "10,20,20,20"
    result, response = await house.edit(channel, pixels, op("add_object", object=to_message(thing())))
    assert not np.array_equal(result[40:], pixels[40:]) and np.array_equal(result[:38], pixels[:38])


async def test_a_shadow_falls_below(channel: grpc.aio.Channel) -> None:
    pixels = np.full((80, 80, 3), 200, np.uint8)
    put = op("composite", overlay=to_message(np.full((20, 20, 3), 90, np.uint8)), shadow=1.0)
    result, _ = await house.edit(channel, pixels, put)
    assert (result[30:50, 30:50] == 90).all()
    assert result[51, 40, 0] < 190 and result[0, 0, 0] == 200
    assert result[51, 40, 0] < result[28, 40, 0]


async def test_what_reaches_over_the_edge_is_cut_off(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(40, 30)
    large = to_message(np.full((100, 200, 3), 77, np.uint8))
    result, _ = await house.edit(channel, pixels, op("composite", overlay=large))
    assert result.shape == pixels.shape and (result == 77).all()
    at = image_pb2.Point(x=35, y=25)
    result, _ = await house.edit(channel, pixels, op("composite", overlay=large, position=at, scale=0.5))
    assert (result[25:, 35:] == 77).all() and np.array_equal(result[:25], pixels[:25])
    result, response = await house.edit(channel, pixels, op("composite", overlay=large, opacity=0.0))
    assert np.array_equal(result, pixels)
    assert response.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT


async def test_one_thing_takes_the_place_of_another(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(60, 60)
    replace = op("replace_object", replacement=to_message(thing()), harmonize=0.0)
    replace.selection.subject = True
    result, _ = await house.edit(channel, pixels, replace)
    assert np.abs(result[30, 30].astype(int) - [240, 220, 20]).max() <= 2
    # Beside the new thing, in its clear border, the old one is gone.
    assert result[30, 13].min() > 150
    replace.replace_object.replacement.CopyFrom(to_message(np.full((9, 9, 3), 33, np.uint8)))
    result, _ = await house.edit(channel, pixels, replace)
    assert (result[30, 30] == 33).all() and np.array_equal(result[0], pixels[0])


BOUND = [
    op("remove_object"),
    op("replace_object", replacement=to_message(thing())),
    op("replace_object", replacement=to_message(thing()[..., :3])),
    op("add_object", object=to_message(thing()[4:16, 4:16]), place=image_pb2.Box(width=60, height=60), shadow=0.5),
    op("composite", overlay=to_message(noise(70, 70)[..., ::-1]), feather=3.0, shadow=0.5, harmonize=0.5),
    op("blur_background", radius=6.0),
    op("replace_background", color="#ff0000", harmonize=0.5),
    op("replace_background", blur_radius=8.0),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("edit", BOUND, ids=lambda edit: edit.WhichOneof("operation"))
async def test_outside_any_mask_every_bit_stays(
    channel: grpc.aio.Channel, edit: editor_pb2.Operation, seed: int
) -> None:
    random = np.random.default_rng(seed)
    pixels = noise()
    mask = np.zeros((60, 60), np.uint8)
    for _ in range(3):
        top, left = random.integers(0, 50, 2)
        mask[top : top + random.integers(5, 30), left : left + random.integers(5, 30)] = random.integers(1, 256)
    bound = editor_pb2.Operation()
    bound.CopyFrom(edit)
    bound.selection.mask.CopyFrom(to_message(mask))
    bound.selection.feather = float(random.integers(0, 6))
    result, response = await house.edit(channel, pixels, bound)
    assert np.array_equal(result[mask == 0], pixels[mask == 0])
    assert not np.array_equal(result[mask > 0], pixels[mask > 0])
    effect = response.records[0].effect
    assert effect.HasField("max_difference_outside") and effect.max_difference_outside == 0
    again, _ = await house.edit(channel, pixels, bound)
    assert np.array_equal(result, again), "the same request must give the same bytes"


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (op("replace_background"), "replace_background"),
        (op("replace_background", color="red"), "replace_background.color"),
        (op("replace_background", gradient=editor_pb2.Gradient(start_color="#000000")), "gradient.end_color"),
        (op("replace_background", image=image_pb2.Image()), "replace_background.image.content"),
        (op("replace_background", blur_radius=-1.0), "replace_background.blur_radius"),
        (op("replace_background", color="#000000", harmonize=2.0), "replace_background.harmonize"),
        (op("replace_background", color="#000000", model="span-x2"), "replace_background.model"),
        (op("blur_background", radius=201.0), "blur_background.radius"),
        (op("remove_object"), "remove_object: needs a selection"),
        (op("replace_object", replacement=to_message(thing())), "replace_object: needs a selection"),
        (op("replace_object"), "replace_object.replacement.content"),
        (op("add_object", object=to_message(thing()), place=image_pb2.Box(x=1)), "add_object.place"),
        (
            op("add_object", object=to_message(thing()), place=image_pb2.Box(x=40, width=1, height=1)),
            "add_object.place",
        ),
        (op("composite", overlay=to_message(thing()), scale=0.0), "composite.scale"),
        (op("composite", overlay=to_message(thing()), position=image_pb2.Point(y=30)), "composite.position"),
        (op("composite", overlay=image_pb2.Image(content=b"no picture")), "composite.overlay.content"),
    ],
)
async def test_what_is_wrong_is_named(channel: grpc.aio.Channel, edit: editor_pb2.Operation, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await house.edit(channel, house.picture(), edit)
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field in (failure.value.details() or "")


async def test_a_subject_casts_a_soft_shadow_on_its_new_ground(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(60, 60)
    bare, _ = await house.edit(channel, pixels, op("replace_background", color="#ffffff"))
    shaded, response = await house.edit(channel, pixels, op("replace_background", color="#ffffff", shadow=1.0))
    assert "shadow" in [model.name for model in response.records[0].models]
    darker = bare.astype(int) - shaded
    assert darker.min() >= 0 and darker[:3].max() == 0
    # It falls downwards, and never on the subject itself.
    assert darker[38:].sum() > 2 * darker[:22].sum() and np.array_equal(bare[30, 30], shaded[30, 30])


@pytest.mark.parametrize(
    ("anchor", "left", "top"),
    [("TOP_LEFT", 3, 3), ("TOP_RIGHT", 57, 3), ("BOTTOM_LEFT", 3, 67), ("BOTTOM_RIGHT", 57, 67), ("CENTER", 30, 35)],
)
async def test_an_overlay_goes_into_a_corner(channel: grpc.aio.Channel, anchor: str, left: int, top: int) -> None:
    base, mark = np.zeros((100, 100, 3), np.uint8), np.full((15, 20, 3), 255, np.uint8)
    edit = op("composite", overlay=to_message(mark), anchor=f"ANCHOR_{anchor}", relative_width=0.4)
    result, _ = await house.edit(channel, base, edit)
    rows, columns = np.nonzero(result[..., 0])
    assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (left, top, 40, 30)


async def test_an_overlay_is_stretched_over_the_whole_picture(channel: grpc.aio.Channel) -> None:
    overlay = to_message(np.full((3, 4, 3), 99, np.uint8))
    result, _ = await house.edit(
        channel, np.zeros((50, 20, 3), np.uint8), op("composite", overlay=overlay, stretch=True)
    )
    assert (result == 99).all()
