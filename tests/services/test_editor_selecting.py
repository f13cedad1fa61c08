"""Selecting by name and place in real photographs: SelectRegion, and edits bound to what was found."""

import grpc
import numpy as np
import pytest
import skimage.data
from google.rpc import status_pb2

from diptych.errors import InvalidRequest, from_status
from diptych.images import decode_mask, to_message
from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2
from tests.services import editor_house as house
from tests.services import real_editor as real

FACES, THINGS = ("blazeface", "facemesh"), ("centernet",)


async def select(
    channel: grpc.aio.Channel, pixels: np.ndarray, **selection: object
) -> tuple[np.ndarray, editor_pb2.SelectRegionResponse]:
    """The mask, 0 to 1, and the whole answer."""
    request = editor_pb2.SelectRegionRequest(
        image=to_message(pixels),
        selection=editor_pb2.Selection(**selection),  # type: ignore[arg-type]
    )
    response = await editor_pb2_grpc.EditorServiceStub(channel).SelectRegion(request)
    return decode_mask(response.mask, pixels.shape[1::-1], field="mask"), response


async def test_a_thing_is_selected_by_each_of_its_names() -> None:
    async with real.editor(*THINGS) as channel:
        mask, response = await select(channel, real.coffee(), label="the mugs")
        again, _ = await select(channel, real.coffee(), label="cup")
    assert np.array_equal(mask, again)
    assert mask[150, 300] == 1 and mask[60, 350] > 0.9 and mask[380, 20] == 0 and mask[20, 20] == 0
    assert 0.1 < mask.mean() < 0.3 and response.score > 0.5
    assert abs(response.box.x - 168) < 12 and abs(response.box.width - 248) < 24
    assert response.record.parameters["label"] == "cup"
    assert [model.name for model in response.record.models] == ["centernet", "grabcut"]


async def test_parts_of_a_face() -> None:
    async with real.editor(*FACES) as channel:
        shares = {}
        for part in ("face", "skin", "lips", "eyes", "teeth"):
            mask, response = await select(channel, real.astronaut(), label=part)
            shares[part] = mask
            assert response.HasField("box") and response.score > 0.7
    cheek, eye, tooth, lip = (135, 205), (101, 204), (144, 221), (151, 220)
    assert shares["face"][cheek] == 1 and shares["face"][eye] == 1 and shares["face"][60, 225] == 0
    assert shares["skin"][cheek] > 0.9 and shares["skin"][eye] == 0 and shares["skin"][lip] < 0.1
    assert shares["eyes"][eye] > 0.9 and shares["eyes"][cheek] == 0
    assert shares["teeth"][tooth] > 0.5 and shares["teeth"][lip] < 0.3 and shares["lips"][lip] > 0.8


async def test_the_sky_by_name_changes_alone_and_a_wall_is_none() -> None:
    dusk = np.ascontiguousarray(skimage.data.rocket())
    async with real.editor() as channel:
        mask, response = await select(channel, dusk, label="der Himmel")
        assert mask[50, 200] == 1 and mask[330, 318] == 0 and response.score > 0.5
        assert response.record.parameters["label"] == "sky"
        bound = house.operation("color_correct", exposure=1.0)
        bound.selection.label = "sky"
        result, _ = await house.edit(channel, dusk, bound)
        assert result[50, 200].mean() > dusk[50, 200].mean() + 10
        assert np.array_equal(result[mask == 0], dusk[mask == 0])
        mask, response = await select(channel, real.astronaut(), label="sky")
        assert not mask.any() and response.score == 0
        with pytest.raises(grpc.aio.AioRpcError, match="called “sky” was found"):
            await house.edit(channel, real.astronaut(), bound)


async def test_what_is_not_there_is_an_empty_mask_and_no_edit() -> None:
    async with real.editor(*THINGS) as channel:
        mask, response = await select(channel, real.cat(), label="bicycle", invert=True)
        assert not mask.any() and not response.HasField("box") and response.score == 0
        bound = house.operation("color_correct", grayscale=True)
        bound.selection.label = "bicycle"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await house.edit(channel, real.cat(), bound)
    trailers = dict(caught.value.trailing_metadata() or ())
    error = from_status(status_pb2.Status.FromString(trailers["grpc-status-details-bin"]))  # type: ignore[arg-type]
    assert isinstance(error, InvalidRequest)
    assert [one.field for one in error.violations] == ["spec.operations[0].selection.label"]
    assert "called “bicycle” was found" in error.message


async def test_an_edit_stays_within_the_thing() -> None:
    bound = house.operation("color_correct", grayscale=True)
    bound.selection.label = "cat"
    async with real.editor(*THINGS) as channel:
        mask, _ = await select(channel, real.cat(), label="cat")
        result, response = await house.edit(channel, real.cat(), bound)
    outside = mask == 0
    assert 0.05 < outside.mean() < 0.7
    assert np.array_equal(result[outside], real.cat()[outside])
    assert (np.ptp(result[mask == 1].astype(int), axis=1) <= 1).all()
    assert response.records[0].effect.max_difference_outside == 0


async def test_a_box_is_a_rectangle_or_refined_the_thing_in_it() -> None:
    box = image_pb2.Box(x=160, y=10, width=265, height=265)
    async with real.editor(*THINGS) as channel:
        plain, _ = await select(channel, real.coffee(), box=box)
        thing, response = await select(channel, real.coffee(), box=box, refine=True)
    assert plain.sum() == 265 * 265 and 0.3 < thing.sum() / plain.sum() < 0.95
    assert thing[150, 300] == 1 and thing[15, 165] == 0
    assert [model.name for model in response.record.models] == ["grabcut"]


async def test_a_place_in_a_drawing_is_an_area_of_its_colour() -> None:
    async with real.editor(*THINGS) as channel:
        drawing = house.picture(200, 200)
        drawing[:] = np.where(drawing[..., :1] < 100, [60, 20, 30], [240, 240, 240])
        mask, response = await select(channel, drawing, point=image_pb2.Point(x=100, y=100))
        assert np.array_equal(mask == 1, drawing[..., 0] == 60) and response.record.models[0].name == "flood"
        clear = np.dstack([drawing, np.zeros((200, 200), np.uint8)])
        nothing, response = await select(channel, clear, point=image_pb2.Point(x=100, y=100))
        assert not nothing.any() and not response.HasField("box")


async def test_a_matte_gives_a_place_and_a_name_their_outline() -> None:
    async with real.editor("isnet", *THINGS) as channel:
        mask, response = await select(channel, real.astronaut(), point=image_pb2.Point(x=225, y=130))
    assert [model.name for model in response.record.models] == ["centernet", "isnet"]
    assert response.record.parameters["label"] == "person"
    assert mask[130, 225] > 0.95 and mask[400, 200] > 0.95 and mask[60, 330] < 0.05 and mask[100, 40] < 0.05


@pytest.mark.parametrize(
    ("selection", "field", "words"),
    [
        ({"label": "quark"}, "selection.label", "try"),
        ({"label": "bycicle"}, "selection.label", "bicycle"),
        ({"label": " "}, "selection.label", "1 to 100"),
        ({"point": image_pb2.Point(x=451, y=0)}, "selection.point", "451 x 300"),
        ({"label": "cat", "refine": True}, "selection.refine", "box only"),
    ],
)
async def test_selections_that_cannot_be_are_refused(selection: dict[str, object], field: str, words: str) -> None:
    async with real.editor(*THINGS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await select(channel, real.cat(), **selection)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = str(caught.value.details())
    assert field in details and words in details
