"""What the editor refuses, cannot do, or stops doing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import status_pb2

from diptych.errors import DiptychError, InvalidRequest, ModelNotFound, ModelNotPulled, from_status
from diptych.images import to_message
from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2
from services.editor.operations import EDITS
from tests.services import editor_house as house

op = house.operation


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def channel(models: Path, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with house.editor(models, cache=tmp_path, max_image_pixels=100_000) as (_, channel):
        yield channel


async def refused(channel: grpc.aio.Channel, spec: editor_pb2.EditSpec) -> DiptychError:
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.EditImage(editor_pb2.EditImageRequest(spec=spec))
    return _error(caught.value)


def _error(error: grpc.aio.AioRpcError) -> DiptychError:
    trailers = dict(error.trailing_metadata() or ())
    return from_status(status_pb2.Status.FromString(trailers["grpc-status-details-bin"]))  # type: ignore[arg-type]


def fields(error: DiptychError) -> list[str]:
    assert isinstance(error, InvalidRequest)
    return [violation.field for violation in error.violations]


async def test_every_fault_is_told_at_once(channel: grpc.aio.Channel) -> None:
    spec = house.spec(
        house.picture(),
        op("upscale", scale=9, content=7),
        op("color_correct", exposure=float("nan"), contrast=2, color="red"),
        op("crop"),
        op("crop", aspect="16x9"),
        op("resize", width=10, scale=2),
        op("resize", platform="myspace"),
        op("rotate", angle=float("inf")),
        editor_pb2.Operation(),
        editor_pb2.Operation(rotate=editor_pb2.Rotate(), selection=editor_pb2.Selection(subject=True)),
        editor_pb2.Operation(crop=editor_pb2.Crop(aspect="1:1"), selection=editor_pb2.Selection(subject=True)),
        op("crop", trim=editor_pb2.Trim()),
        op("crop", trim=editor_pb2.Trim(left=-1, top=float("nan"), relative=True)),
    )
    spec.output.quality = 101
    spec.output.format = 77  # type: ignore[assignment]
    assert fields(await refused(channel, spec)) == [
        "spec.operations[0].upscale.scale",
        "spec.operations[0].upscale.content",
        "spec.operations[1].color_correct.exposure",
        "spec.operations[1].color_correct.contrast",
        "spec.operations[1].color_correct.color",
        "spec.operations[2].crop",
        "spec.operations[3].crop.aspect",
        "spec.operations[4].resize.scale",
        "spec.operations[5].resize.platform",
        "spec.operations[6].rotate.angle",
        "spec.operations[7]",
        "spec.operations[8].selection",
        "spec.operations[9].selection",
        "spec.operations[10].crop.trim",
        "spec.operations[11].crop.trim.left",
        "spec.operations[11].crop.trim.top",
        "spec.output.format",
        "spec.output.quality",
    ]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "spec.image.content"),
        (b"just text", "spec.image.content"),
        (to_message(house.picture()).content[:80], "spec.image.content"),
    ],
)
async def test_bad_pictures(channel: grpc.aio.Channel, content: bytes, field: str) -> None:
    spec = editor_pb2.EditSpec(image=image_pb2.Image(content=content), operations=[op("rotate")])
    assert fields(await refused(channel, spec)) == [field]


async def test_no_operations_and_too_many(channel: grpc.aio.Channel) -> None:
    assert fields(await refused(channel, house.spec(house.picture()))) == ["spec.operations"]
    assert fields(await refused(channel, house.spec(house.picture(), *[op("rotate")] * 33))) == ["spec.operations"]
    assert fields(await refused(channel, editor_pb2.EditSpec())) == ["spec.image.content", "spec.operations"]


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (op("crop", box=image_pb2.Box(x=30, y=0, width=11, height=5)), "crop.box"),
        (op("crop", box=image_pb2.Box(x=4_000_000_000, y=0, width=4_000_000_000, height=5)), "crop.box"),
        (op("crop", trim=editor_pb2.Trim(left=20, right=20)), "crop.trim"),
        (op("crop", trim=editor_pb2.Trim(top=0.6, bottom=0.4, relative=True)), "crop.trim"),
        (op("upscale", width=20), "upscale.width"),
        (op("upscale", height=300), "upscale.height"),
        (op("resize", width=9000), "resize.width"),
        (op("resize", scale=0.001), "resize.scale"),
    ],
)
async def test_faults_that_only_the_picture_shows(
    channel: grpc.aio.Channel, operation: editor_pb2.Operation, field: str
) -> None:
    error = await refused(channel, house.spec(house.picture(40, 30), op("rotate"), operation))
    assert fields(error) == [f"spec.operations[1].{field}"]


async def test_a_result_beyond_the_limits_is_refused_before_the_network_runs(channel: grpc.aio.Channel) -> None:
    error = await refused(channel, house.spec(house.picture(200, 200), op("upscale", scale=8)))
    assert fields(error) == ["spec.operations[0].upscale.scale"]
    assert "100000" in error.message


async def test_a_result_too_large_for_an_answer_is_explained(models: Path, tmp_path: Path) -> None:
    async with house.editor(models, cache=tmp_path, max_message_bytes=200_000) as (_, channel):
        error = await refused(channel, house.spec(house.picture(100, 100), op("resize", width=300)))
        assert fields(error) == ["spec.output.format"] and "270000 bytes" in error.message


async def test_masks_and_boxes_must_fit(channel: grpc.aio.Channel) -> None:
    bound = op("color_correct", exposure=1)
    bound.selection.mask.CopyFrom(to_message(np.zeros((5, 5), np.uint8)))
    assert fields(await refused(channel, house.spec(house.picture(), bound))) == ["spec.operations[0].selection.mask"]
    bound.selection.box.CopyFrom(image_pb2.Box(x=0, y=0, width=41, height=1))
    assert fields(await refused(channel, house.spec(house.picture(), bound))) == ["spec.operations[0].selection.box"]
    bound.selection.box.Clear()
    bound.selection.box.SetInParent()
    assert fields(await refused(channel, house.spec(house.picture(), bound))) == ["spec.operations[0].selection.box"]


def test_every_operation_of_the_contract_is_served() -> None:
    assert set(EDITS) == {one.name for one in editor_pb2.Operation.DESCRIPTOR.oneofs[0].fields}


async def test_things_that_need_a_model_that_is_not_here(channel: grpc.aio.Channel) -> None:
    bound = op("color_correct")
    bound.selection.label = "dog"
    assert "centernet" in (await refused(channel, house.spec(house.picture(), bound))).message
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.AnalyzeImage(
            editor_pb2.AnalyzeImageRequest(image=to_message(house.picture()), kinds=[editor_pb2.ANALYSIS_KIND_FACES])
        )
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_unspecified_and_unknown_kinds(channel: grpc.aio.Channel) -> None:
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    request = editor_pb2.AnalyzeImageRequest(image=to_message(house.picture()), kinds=[0, 99])  # type: ignore[list-item]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.AnalyzeImage(request)
    assert fields(_error(caught.value)) == ["kinds[0]", "kinds[1]"]


async def test_models_by_name(channel: grpc.aio.Channel) -> None:
    missing = await refused(channel, house.spec(house.picture(), op("upscale", model="nope")))
    assert isinstance(missing, ModelNotFound) and "span-x2" in missing.message
    wrong = await refused(channel, house.spec(house.picture(), op("rotate"), op("upscale", model="isnet")))
    assert fields(wrong) == ["spec.operations[1].upscale.model"]
    far = await refused(channel, house.spec(house.picture(), op("upscale", model="far")))
    assert isinstance(far, ModelNotPulled) and "diptych models pull far" in far.message


async def test_an_editor_without_models_still_does_the_rest(tmp_path: Path) -> None:
    async with house.editor(tmp_path, cache=tmp_path / "cache") as (_, channel):
        result, _ = await house.edit(channel, house.picture(40, 30), op("resize", width=20))
        assert result.shape == (15, 20, 3)
        error = await refused(channel, house.spec(house.picture(), op("remove_background")))
        assert isinstance(error, ModelNotFound)


async def test_leaving_stops_the_work_and_frees_the_place(models: Path, tmp_path: Path) -> None:
    settings = {"cache": tmp_path, "tile": 64, "max_running": 1, "max_queue": 0}
    async with house.editor(models, **settings) as (server, channel):
        stub = editor_pb2_grpc.EditorServiceStub(channel)
        call = stub.StreamEditImage(
            editor_pb2.StreamEditImageRequest(
                spec=house.spec(house.picture(900, 900), op("upscale", scale=4, content=editor_pb2.CONTENT_KIND_PHOTO))
            )
        )
        async for event in call:
            if event.WhichOneof("event") == "progress":
                assert event.progress.fraction < 0.5
                break
        call.cancel()
        await server.in_flight.wait_idle(10)
        # With one place and no line, the next call is only served if the first has let go.
        result, _ = await house.edit(channel, house.picture(40, 30), op("rotate", angle=180))
        assert result.shape == (30, 40, 3)


async def test_overload_is_refused_at_once_and_the_rest_completes(models: Path, tmp_path: Path) -> None:
    async with house.editor(models, cache=tmp_path, max_running=1, max_queue=1) as (_, channel):
        calls = [house.edit(channel, house.picture(60, 60), op("remove_background")) for _ in range(8)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    done = [one for one in results if isinstance(one, tuple)]
    refused = [one for one in results if isinstance(one, grpc.aio.AioRpcError)]
    assert len(done) + len(refused) == 8 and len(done) >= 1
    assert all(one.code() == grpc.StatusCode.RESOURCE_EXHAUSTED for one in refused)
    assert all(np.array_equal(one[0], done[0][0]) for one in done)
