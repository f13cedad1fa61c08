"""Edits through a real server with real engines on tiny networks."""

import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from diptych.images import decode, from_message, to_message
from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2, model_pb2, model_pb2_grpc
from tests.services import editor_house as house

op = house.operation


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def channel(models: Path, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with house.editor(models, cache=tmp_path, tile=64) as (_, channel):
        yield channel


async def test_the_background_goes_and_the_record_says_by_what(channel: grpc.aio.Channel) -> None:
    result, response = await house.edit(channel, house.picture(60, 60), op("remove_background"))
    assert result.shape == (60, 60, 4)
    assert result[30, 30].tolist() == [60, 20, 30, 255]
    assert not result[0, 0].any()
    (record,) = response.records
    assert (record.step_id, record.service, record.operation) == ("1", "editor", "remove_background")
    assert record.models[0].name == "isnet" and record.models[0].digest.startswith("sha256:")
    assert record.models[0].engine == "onnxruntime"
    assert record.parameters["decontaminate"] == "true" and record.parameters["model"] == "isnet"
    assert record.effect.effect == image_pb2.EFFECT_CHANGED
    assert response.marking.marking == image_pb2.MARKING_STANDARD_EDIT
    assert response.timing.total.ToNanoseconds() >= record.timing.total.ToNanoseconds() > 0


async def test_corners_are_cut_round_and_colours_stay_beneath(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(60, 40)
    result, response = await house.edit(channel, pixels, op("crop", corner_radius=0.25))
    assert np.array_equal(result[..., :3], pixels[..., :3])
    alpha = result[..., 3]
    assert alpha[0, 0] == 0 and 0 < alpha[2, 3] < 255 and alpha[12:-12].min() == 255
    assert np.array_equal(alpha, alpha[::-1]) and np.array_equal(alpha, alpha[:, ::-1])
    assert response.records[0].parameters["corner_radius"] == "0.25"
    disc, _ = await house.edit(channel, pixels, op("crop", aspect="1:1", corner_radius=0.5))
    assert disc.shape == (40, 40, 4) and disc[..., 3].sum() / 255 == pytest.approx(np.pi * 20**2, rel=0.005)


async def test_a_print_lies_the_way_its_picture_does(channel: grpc.aio.Channel) -> None:
    size = {"width": 20, "height": 30}
    for shape, either_way, expected in (
        ((60, 40), True, (20, 30)),
        ((40, 60), True, (30, 20)),
        ((60, 40), False, (30, 20)),
    ):
        pixels = house.picture(*shape)
        result, _ = await house.edit(channel, pixels, op("resize", **size, either_way=either_way))
        assert result.shape[:2] == expected, (shape, either_way)


async def test_alpha_that_was_there_is_multiplied(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(60, 60, alpha=True)
    pixels[..., :3] = [60, 20, 30]
    result, _ = await house.edit(channel, pixels, op("remove_background"))
    assert 0 < result[30, 2, 3] <= 128 and result[30, 30, 3] == 255 and result[30, 58, 3] == 0


async def test_the_mask_alone(channel: grpc.aio.Channel) -> None:
    result, _ = await house.edit(channel, house.picture(60, 60), op("remove_background", mask_only=True))
    assert result.shape == (60, 60, 3)
    assert result[30, 30].tolist() == [255] * 3 and result[0, 0].tolist() == [0] * 3


@pytest.mark.parametrize(
    ("fields", "size", "networks"),
    [
        ({}, (80, 60), ["span-x2"]),
        ({"scale": 4}, (160, 120), ["span-x4"]),
        ({"scale": 8}, (320, 240), ["span-x4", "span-x2"]),
        ({"scale": 3}, (120, 90), ["span-x4", "lanczos"]),
        ({"width": 100}, (100, 75), ["span-x2", "lanczos"]),
        ({"height": 120}, (160, 120), ["span-x4"]),
        ({"scale": 4, "content": editor_pb2.CONTENT_KIND_DRAWING}, (160, 120), ["realesr-animevideov3-x4"]),
        ({"scale": 4, "model": "span-x2"}, (160, 120), ["span-x2"]),
    ],
)
async def test_upscale_reaches_the_size_by_the_nearest_networks(
    channel: grpc.aio.Channel, fields: dict[str, object], size: tuple[int, int], networks: list[str]
) -> None:
    fields = {"content": editor_pb2.CONTENT_KIND_PHOTO, **fields}
    result, response = await house.edit(channel, house.picture(40, 30), op("upscale", **fields))
    assert result.shape == (size[1], size[0], 3)
    assert [model.name for model in response.records[0].models] == networks


async def test_upscale_tiles_without_seams(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(150, 90)
    result, _ = await house.edit(channel, pixels, op("upscale", scale=2, content=editor_pb2.CONTENT_KIND_PHOTO))
    assert np.abs(result.astype(int) - pixels.repeat(2, 0).repeat(2, 1)).max() <= 1


async def test_upscale_leaves_no_dark_rim_on_a_cut_out(channel: grpc.aio.Channel) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[8:24, 8:24] = [250, 240, 230, 255]
    result, _ = await house.edit(channel, pixels, op("upscale", scale=3))
    seen = result[result[..., 3] > 8]
    assert len(seen) and seen[:, :3].min() >= 225


async def test_operations_run_in_their_order(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(40, 30)
    operations = [op("crop", box=image_pb2.Box(x=10, y=0, width=20, height=30)), op("rotate", angle=90)]
    result, response = await house.edit(channel, pixels, *operations)
    assert np.array_equal(result, np.rot90(pixels[:, 10:30], -1))
    assert [record.step_id for record in response.records] == ["1", "2"]
    turned, _ = await house.edit(channel, pixels, operations[1], operations[0])
    assert np.array_equal(turned, np.rot90(pixels, -1)[:30, 10:30])


async def test_a_crop_keeps_what_is_selected_or_takes_off_the_sides(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(40, 30)
    box = editor_pb2.Selection(box=image_pb2.Box(x=4, y=6, width=10, height=5))
    around = editor_pb2.Operation(crop=editor_pb2.Crop(subject=True, margin=0.2), selection=box)
    result, _ = await house.edit(channel, pixels, around)
    assert np.array_equal(result, pixels[4:13, 2:16])
    off = op("crop", trim=editor_pb2.Trim(left=3, bottom=7))
    result, _ = await house.edit(channel, pixels, off)
    assert np.array_equal(result, pixels[:23, 3:])
    shares = op("crop", trim=editor_pb2.Trim(top=0.1, right=0.5, relative=True))
    result, _ = await house.edit(channel, pixels, shares)
    assert np.array_equal(result, pixels[3:, :20])


ANY_ORDER = [
    op("remove_background"),
    op("upscale", scale=1.5),
    op("color_correct", exposure=0.3, saturation=0.2),
    op("crop", subject=True),
    op("resize", scale=0.8),
    op("rotate", angle=7),
    op("analyze"),
]


@pytest.mark.parametrize("seed", range(12))
async def test_alpha_survives_any_order(channel: grpc.aio.Channel, seed: int) -> None:
    order = random.Random(seed).sample(ANY_ORDER, 5)
    pixels = house.picture(48, 40, alpha=True)
    result, response = await house.edit(channel, pixels, *order)
    assert result.shape[2] == 4
    assert result[..., 3].min() == 0 and result[..., 3].max() == 255
    assert len(response.records) == 5
    again, _ = await house.edit(channel, pixels, *order)
    assert np.array_equal(result, again), "the same request must give the same bytes"


async def test_the_stream_keeps_its_order(channel: grpc.aio.Channel) -> None:
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    request = editor_pb2.StreamEditImageRequest(
        spec=house.spec(house.picture(150, 90), op("upscale", scale=2), op("rotate", flip_horizontal=True))
    )
    kinds, fractions = [], []
    async for event in stub.StreamEditImage(request):
        kind = event.WhichOneof("event")
        kinds.append((kind, event.progress.operation_index) if kind == "progress" else kind)
        if kind == "progress":
            fractions.append((event.progress.operation, event.progress.fraction))
        if kind == "accepted":
            assert (event.accepted.width, event.accepted.height, event.accepted.num_operations) == (150, 90, 2)
    shape = [key for key, _ in itertools.groupby(kinds)]
    assert shape == ["accepted", ("progress", 0), "step", ("progress", 1), "step", "image", "completed"]
    upscaling = [fraction for name, fraction in fractions if name == "upscale"]
    assert len(upscaling) > 4 and upscaling == sorted(upscaling) and upscaling[-1] == 1


async def test_a_selection_binds_and_the_record_measures_it(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(40, 30)
    bound = op("color_correct", brightness=0.5)
    bound.selection.box.CopyFrom(image_pb2.Box(x=5, y=5, width=10, height=10))
    bound.selection.feather = 3
    result, response = await house.edit(channel, pixels, bound)
    outside = np.ones((30, 40), bool)
    outside[5:15, 5:15] = False
    assert np.array_equal(result[outside], pixels[outside])
    assert not np.array_equal(result[10, 10], pixels[10, 10])
    effect = response.records[0].effect
    assert effect.HasField("max_difference_outside") and effect.max_difference_outside == 0
    region = effect.changed_region
    assert region.x >= 5 and region.y >= 5 and region.x + region.width <= 15 and region.y + region.height <= 15


async def test_a_subject_can_be_selected(channel: grpc.aio.Channel) -> None:
    bound = op("color_correct", color="#00ff00")
    bound.selection.subject = True
    bound.selection.invert = True
    pixels = house.picture(60, 60)
    result, response = await house.edit(channel, pixels, bound)
    assert np.array_equal(result[30, 30], pixels[30, 30])
    assert not np.array_equal(result[2, 2], pixels[2, 2])
    assert response.records[0].models[0].name == "isnet"


async def test_what_changes_nothing_is_told(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(40, 30, alpha=True)
    result, response = await house.edit(channel, pixels, op("color_correct"), op("rotate", angle=360), op("analyze"))
    assert np.array_equal(result, pixels)
    assert [record.effect.effect for record in response.records] == [image_pb2.EFFECT_NO_EFFECT] * 3
    assert not response.records[0].effect.HasField("changed_region")
    assert response.records[2].parameters["has_transparency"] == "true"


async def test_the_result_is_written_as_asked(channel: grpc.aio.Channel) -> None:
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    spec = house.spec(house.picture(40, 30, alpha=True), op("resize", width=20))
    for kind, channels in ((image_pb2.IMAGE_FORMAT_JPEG, 3), (image_pb2.IMAGE_FORMAT_WEBP, 4), (0, 4)):
        spec.output.format = kind
        image = (await stub.EditImage(editor_pb2.EditImageRequest(spec=spec))).image
        assert (image.width, image.height) == (20, 15)
        assert image.format == (kind or image_pb2.IMAGE_FORMAT_PNG)
        assert decode(image.content, field="image").shape == (15, 20, channels)


async def test_analysis(channel: grpc.aio.Channel) -> None:
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    red = np.zeros((20, 20, 4), np.uint8)
    red[:, :10] = [220, 20, 30, 255]
    request = editor_pb2.AnalyzeImageRequest(image=to_message(red))
    found = (await stub.AnalyzeImage(request)).analysis
    assert (found.width, found.height, found.has_transparency) == (20, 20, True)
    assert [color.name for color in found.palette] == ["red"]
    assert found.HasField("lighting") and found.HasField("quality")
    request.kinds.append(editor_pb2.ANALYSIS_KIND_PALETTE)
    response = await stub.AnalyzeImage(request)
    assert not response.analysis.HasField("lighting")
    assert [model.name for model in response.record.models] == ["palette"]


async def test_regions(channel: grpc.aio.Channel) -> None:
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    request = editor_pb2.SelectRegionRequest(image=to_message(house.picture(60, 60)))
    request.selection.subject = True
    response = await stub.SelectRegion(request)
    mask = from_message(response.mask, field="mask")
    assert mask[30, 30, 0] == 255 and mask[0, 0, 0] == 0
    assert abs(response.box.x - 10) <= 1 and abs(response.box.width - 40) <= 2
    assert response.score > 0.8
    request.selection.box.CopyFrom(image_pb2.Box(x=1, y=2, width=3, height=4))
    assert (await stub.SelectRegion(request)).box == image_pb2.Box(x=1, y=2, width=3, height=4)


async def test_models_are_listed_and_become_ready(channel: grpc.aio.Channel) -> None:
    stub = model_pb2_grpc.ModelServiceStub(channel)
    before = {model.ref.name: model.state for model in (await stub.ListModels(model_pb2.ListModelsRequest())).models}
    assert before["span-x2"] == model_pb2.MODEL_STATE_AVAILABLE and before["far"] == model_pb2.MODEL_STATE_NOT_PULLED
    await house.edit(channel, house.picture(), op("upscale", scale=2, content=editor_pb2.CONTENT_KIND_PHOTO))
    after = (await stub.GetModel(model_pb2.GetModelRequest(name="span-x2"))).model
    assert after.state == model_pb2.MODEL_STATE_READY and after.ref.digest.startswith("sha256:")


async def test_preloading_opens_every_model_before_the_port(models: Path, tmp_path: Path) -> None:
    async with house.editor(models, cache=tmp_path, preload=True) as (_, channel):
        stub = model_pb2_grpc.ModelServiceStub(channel)
        states = {
            model.ref.name: model.state for model in (await stub.ListModels(model_pb2.ListModelsRequest())).models
        }
    assert states.pop("far") == model_pb2.MODEL_STATE_NOT_PULLED
    assert set(states.values()) == {model_pb2.MODEL_STATE_READY}
