"""A still becomes a film through a real editor."""

import asyncio
import io
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import av
import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from PIL import Image

from diptych.images import to_message
from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2
from tests.services import editor_house as house

MP4, WEBP = image_pb2.VIDEO_FORMAT_MP4, image_pb2.VIDEO_FORMAT_WEBP


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def stub(models: Path, tmp_path: Path) -> AsyncIterator[editor_pb2_grpc.EditorServiceStub]:
    async with house.editor(models, cache=tmp_path) as (_, channel):
        yield editor_pb2_grpc.EditorServiceStub(channel)


def request(pixels: np.ndarray, seconds: float = 0.5, **fields: object) -> editor_pb2.StreamAnimateImageRequest:
    length = Duration(nanos=round(seconds % 1 * 1e9), seconds=int(seconds))
    return editor_pb2.StreamAnimateImageRequest(image=to_message(pixels), duration=length, **fields)  # type: ignore[arg-type]


async def film(
    stub: editor_pb2_grpc.EditorServiceStub, asked: editor_pb2.StreamAnimateImageRequest
) -> tuple[list[str], editor_pb2.ImageAnimationCompleted]:
    events = [event async for event in stub.StreamAnimateImage(asked)]
    return [event.WhichOneof("event") or "" for event in events], events[-1].completed


def frames(video: image_pb2.Video) -> list[np.ndarray]:
    if video.format == WEBP:
        image = Image.open(io.BytesIO(video.content))
        shown = []
        for number in range(image.n_frames):
            image.seek(number)
            shown.append(np.asarray(image.convert("RGB")).astype(int))
        return shown
    with av.open(io.BytesIO(video.content)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


@pytest.mark.parametrize("format", [MP4, WEBP])
@pytest.mark.parametrize("motion", [1, 2, 3, 4])
async def test_every_motion_makes_a_film(stub: editor_pb2_grpc.EditorServiceStub, motion: int, format: int) -> None:
    kinds, done = await film(stub, request(house.picture(90, 60), motion=motion, format=format))
    assert kinds == ["accepted", *["progress"] * 12, "completed"]
    shown = frames(done.video)
    assert len(shown) == done.video.num_frames == 12 and done.video.frames_per_second == 24
    assert shown[0].shape == (60, 90, 3)
    steps = [np.abs(b - a).mean() for a, b in itertools.pairwise(shown)]
    assert max(steps) > 0.05
    assert done.record.operation == "animate" and done.record.parameters["parallax"] == "true"
    assert done.record.effect.effect == image_pb2.EFFECT_CHANGED
    assert "isnet" in [model.name for model in done.record.models]


async def test_an_orbit_closes(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    _, done = await film(stub, request(house.picture(90, 60), 1, motion=4, amount=1, format=WEBP))
    shown = frames(done.video)
    steps = [np.abs(b - a).mean() for a, b in zip(shown, [*shown[1:], shown[0]], strict=True)]
    assert steps[-1] < 1.5 * np.median(steps)


async def test_the_same_request_gives_the_same_bytes(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    asked = request(house.picture(64, 48), motion=4)
    assert (await film(stub, asked))[1].video.content == (await film(stub, asked))[1].video.content


async def test_size_rate_and_what_is_not_wanted(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    asked = request(
        house.picture(301, 151), 0.2, max_side=101, frames_per_second=30, parallax=False, motion=1, direction=90
    )
    _, done = await film(stub, asked)
    assert (done.video.width, done.video.height, done.video.num_frames) == (100, 50, 6)
    assert done.record.parameters["parallax"] == "false"
    assert [model.name for model in done.record.models] == ["camera"]


async def test_no_motion_is_said_to_be_none(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    _, done = await film(stub, request(house.picture(64, 48), amount=0.0))
    assert done.record.effect.effect == image_pb2.EFFECT_NO_EFFECT


async def test_a_cut_out_moves_with_its_alpha(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    _, done = await film(stub, request(house.picture(64, 48, alpha=True), format=WEBP))
    image = Image.open(io.BytesIO(done.video.content))
    assert np.asarray(image.convert("RGBA"))[:, -4:, 3].max() == 0


async def test_leaving_stops_the_work_and_frees_the_place(models: Path, tmp_path: Path) -> None:
    async with house.editor(models, cache=tmp_path, max_running=1, max_queue=0) as (_, channel):
        stub = editor_pb2_grpc.EditorServiceStub(channel)
        call = stub.StreamAnimateImage(request(house.picture(600, 400), 60, frames_per_second=60))
        seen = 0
        async for event in call:
            seen = event.progress.frame
            if seen == 3:
                break
        call.cancel()
        async with asyncio.timeout(60):
            while True:
                try:
                    _, done = await film(stub, request(house.picture(40, 30), 0.1))
                    break
                except grpc.aio.AioRpcError as error:
                    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                    await asyncio.sleep(0.05)
        assert done.video.num_frames == 2


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"seconds": 0}, "duration"),
        ({"seconds": 60.5}, "duration"),
        ({"amount": 1.5}, "amount"),
        ({"frames_per_second": 0.5}, "frames_per_second"),
        ({"max_side": 5000}, "max_side"),
        ({"motion": 9}, "motion"),
        ({"format": 9}, "format"),
        ({"motion": 4, "direction": 10}, "direction"),
    ],
)
async def test_what_cannot_be_meant_is_said(
    stub: editor_pb2_grpc.EditorServiceStub, fields: dict[str, object], named: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await film(stub, request(house.picture(), **fields))  # type: ignore[arg-type]
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert named in (caught.value.details() or "")
