"""The real generator with the tiny model on ONNX Runtime, called by the real client over loopback."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import images
from diptych.client import AsyncClient
from diptych.errors import DeadlineExceeded, FailedPrecondition, InvalidRequest, ModelNotFound, Overloaded, Unsupported
from diptych.serving.server import ServiceServer
from diptych.v1 import generator_pb2 as v1
from diptych.v1 import image_pb2, model_pb2
from services.generator.app import GeneratorConfig, build

RAW = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW)
PIXELS = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
MASK = np.zeros((64, 64, 3), np.uint8)
MASK[20:40, 8:32] = 255


@asynccontextmanager
async def generator(models: Path, **settings: Any) -> AsyncIterator[tuple[ServiceServer, AsyncClient]]:
    config = GeneratorConfig(port=0, models=models, model="tiny", threads=1, **settings)
    async with await build(config) as server, AsyncClient(generator_address=server.address) as client:
        yield server, client


def spec(**fields: Any) -> v1.GenerationSpec:
    return v1.GenerationSpec(**{"prompt": "a red apple", "seed": 7, "output": RAW, **fields})


async def generate(client: AsyncClient, **fields: Any) -> v1.GenerateImageResponse:
    return await client.generate_image(v1.GenerateImageRequest(spec=spec(**fields)), timeout=600)


async def watch(
    client: AsyncClient, preview_interval: int = 0, **fields: Any
) -> Sequence[v1.StreamGenerateImageResponse]:
    request = v1.StreamGenerateImageRequest(spec=spec(**fields), preview_interval=preview_interval)
    async with aclosing(client.stream_generate_image(request, timeout=600)) as events:
        return [event async for event in events]


def metric(server: ServiceServer, name: str, **labels: str) -> float:
    return server.telemetry.registry.get_sample_value(name, {"service": "generator", **labels}) or 0.0


def device_calls(server: ServiceServer) -> int:
    return int(metric(server, "diptych_step_duration_seconds_count"))


async def idle(server: ServiceServer, method: str = "GeneratorService/StreamGenerateImage") -> None:
    """Returns when no call is in flight."""
    async with asyncio.timeout(30):
        while metric(server, "diptych_requests_in_flight", method=method):
            await asyncio.sleep(0)


async def test_the_stream_keeps_its_promised_order(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        events = await watch(client, 2, num_images=3, num_inference_steps=5)
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "completed"
    assert Counter(kinds) == {
        "accepted": 1,
        "progress": 15,
        "preview": kinds.count("preview"),
        "image": 3,
        "completed": 1,
    }
    for index in range(3):
        steps = [
            event.progress.step for event in events if event.HasField("progress") and event.progress.index == index
        ]
        assert steps == [1, 2, 3, 4, 5]
        image = next(n for n, event in enumerate(events) if event.HasField("image") and event.image.index == index)
        last = max(n for n, event in enumerate(events) if event.HasField("progress") and event.progress.index == index)
        assert image > last
    assert all(event.progress.num_steps == 5 for event in events if event.HasField("progress"))
    resolved = events[-1].completed.resolved
    assert events[0].accepted.resolved == resolved
    assert (resolved.seed, resolved.num_images, resolved.width, resolved.height) == (7, 3, 64, 64)
    assert resolved.model.engine == "onnxruntime"
    assert resolved.model.digest.startswith("sha256:")


async def test_previews_come_as_often_as_asked_and_none_unasked(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        asked = [
            event.preview for event in await watch(client, 40, num_inference_steps=200) if event.HasField("preview")
        ]
        assert not any(event.HasField("preview") for event in await watch(client))
    assert [preview.step for preview in asked] == [40, 80, 120, 160]
    assert images.from_message(asked[0].image, field="preview").shape == (64, 64, 3)
    assert asked[0].image.format == image_pb2.IMAGE_FORMAT_JPEG


async def test_speed_and_time_left_are_told(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        progress = [e.progress for e in await watch(client, num_inference_steps=200) if e.HasField("progress")]
    assert all(one.HasField("remaining") for one in progress)
    left = [one.remaining.ToNanoseconds() for one in progress]  # Estimates, on a machine that others use too.
    assert max(left[:50]) > max(left[-5:]) >= 0
    assert all(one.steps_per_second > 0 for one in progress[1:])
    assert progress[-1].remaining.ToNanoseconds() == 0


async def test_the_unary_call_gives_the_same_picture_with_its_record(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        response = await generate(client, num_images=2)
        events = await watch(client, num_images=2)
    assert [image.index for image in response.images] == [0, 1]
    assert [image.seed for image in response.images] == [7, 8]
    streamed = {event.image.index: event.image.image.content for event in events if event.HasField("image")}
    assert [image.image.content for image in response.images] == [streamed[0], streamed[1]]
    assert streamed[0] != streamed[1]
    assert response.record.models == [response.resolved.model]
    assert response.record.parameters["seed"] == "7"
    assert response.record.timing.total.ToNanoseconds() > 0
    assert response.marking == image_pb2.MarkingVerdict(marking=image_pb2.MARKING_GENERATED, step_ids=["1"])


async def test_the_second_picture_of_a_request_is_the_first_of_the_next_seed(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        both = await generate(client, num_images=2)
        alone = await generate(client, seed=8)
    assert both.images[1].image.content == alone.images[0].image.content


async def test_a_request_in_company_gives_the_bytes_it_gives_alone(tiny_models: Path) -> None:
    picture, mask = images.to_message(PIXELS), images.to_message(MASK)
    requests: list[dict[str, Any]] = [
        {"prompt": "a red apple", "num_inference_steps": 12},
        {"prompt": "a blue cat", "num_inference_steps": 3, "guidance_scale": 1.0},
        {"prompt": "the tree house", "num_inference_steps": 7, "guidance_scale": 9.0, "num_images": 3},
        {"prompt": "sun", "negative_prompt": "green", "num_inference_steps": 20},
        {"prompt": "a cat", "init_image": picture, "strength": 0.5, "num_inference_steps": 9},
        {"prompt": "a house", "init_image": picture, "mask_image": mask, "strength": 1.0},
    ]
    async with generator(tiny_models, max_rows=5) as (server, client):
        alone = [await generate(client, seed=100 + n, **fields) for n, fields in enumerate(requests)]
        before = device_calls(server)
        together = await asyncio.gather(
            *(generate(client, seed=100 + n, **fields) for n, fields in enumerate(requests))
        )
        calls = device_calls(server) - before
        rows = sum(one.resolved.num_images * one.resolved.num_inference_steps for one in alone)
    assert calls < rows, "they did not share a single call"
    for one, other in zip(alone, together, strict=True):
        assert [image.image.content for image in one.images] == [image.image.content for image in other.images]


async def test_a_cancelled_client_stops_the_denoising(tiny_models: Path) -> None:
    """Steps are counted on the device: after the call has ended only the next request's own are added."""
    async with generator(tiny_models, max_rows=1) as (server, client):
        request = v1.StreamGenerateImageRequest(spec=spec(num_images=16, num_inference_steps=200))
        async with aclosing(client.stream_generate_image(request, timeout=600)) as events:
            async for event in events:
                if event.HasField("progress") and event.progress.step == 3:
                    break
        await idle(server)
        at_end = device_calls(server)
        assert 3 <= at_end < 3200
        await watch(client, num_inference_steps=6)
        # One more may have been under way when its rows were taken out.
        assert device_calls(server) - at_end - 6 in (0, 1)
        assert metric(server, "diptych_rows_running") == 0


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(tiny_models: Path) -> None:
    async with generator(tiny_models) as (server, client):
        before = device_calls(server)
        request = v1.GenerateImageRequest(spec=spec(num_images=16, num_inference_steps=200))
        with pytest.raises(DeadlineExceeded, match="fewer steps or pictures") as raised:
            await client.generate_image(request, timeout=0.9)
        assert raised.value.reason == "DEADLINE_TOO_SHORT"
        assert float(raised.value.metadata["predicted_seconds"]) > 0.9
        assert device_calls(server) == before
        assert (await generate(client)).images


async def test_too_many_requests_are_told_when_to_come_back(tiny_models: Path) -> None:
    async with generator(tiny_models, max_running=1, max_queue=0) as (_, client):
        request = v1.StreamGenerateImageRequest(spec=spec(num_images=16, num_inference_steps=200))
        async with aclosing(client.stream_generate_image(request, timeout=600)) as events:
            assert (await anext(events)).HasField("accepted")
            with pytest.raises(Overloaded) as raised:
                await generate(client)
    assert raised.value.retry_after is not None


async def test_who_waits_learns_how_many_are_before(tiny_models: Path) -> None:
    async with generator(tiny_models, max_rows=1) as (_, client):
        request = v1.StreamGenerateImageRequest(spec=spec(num_images=5, num_inference_steps=200))
        async with aclosing(client.stream_generate_image(request, timeout=600)) as events:
            async for event in events:
                if event.HasField("progress"):
                    break
            second = client.stream_generate_image(request, timeout=600)
            async with aclosing(second):
                assert (await anext(second)).accepted.queue_position == 4


async def test_inpainting_keeps_the_bits_outside_and_says_so(tiny_models: Path) -> None:
    picture, mask = images.to_message(PIXELS), images.to_message(MASK)
    async with generator(tiny_models) as (_, client):
        response = await generate(client, init_image=picture, mask_image=mask, strength=1.0)
    result = images.from_message(response.images[0].image, field="image")
    outside = MASK[..., 0] == 0
    assert (result[outside] == PIXELS[outside]).all()
    assert (result[~outside] != PIXELS[~outside]).any()
    assert response.record.operation == "vary"
    assert response.record.effect.max_difference_outside == 0
    assert response.record.effect.HasField("max_difference_outside")
    assert response.marking.marking == image_pb2.MARKING_PARTLY_GENERATED


async def test_strength_nought_gives_the_picture_back(tiny_models: Path) -> None:
    async with generator(tiny_models) as (server, client):
        before = device_calls(server)
        response = await generate(client, init_image=images.to_message(PIXELS), strength=0.0, num_images=2)
        assert device_calls(server) == before
    assert [image.image.content for image in response.images] == [PIXELS.tobytes()] * 2
    assert response.resolved.num_inference_steps == 0
    assert response.record.effect.effect == image_pb2.EFFECT_NO_EFFECT
    assert response.marking.marking == image_pb2.MARKING_STANDARD_EDIT


@pytest.mark.parametrize(
    ("format", "start"),
    [
        (image_pb2.IMAGE_FORMAT_UNSPECIFIED, b"\x89PNG"),
        (image_pb2.IMAGE_FORMAT_JPEG, b"\xff\xd8"),
        (image_pb2.IMAGE_FORMAT_WEBP, b"RIFF"),
    ],
)
async def test_results_are_written_as_asked(
    tiny_models: Path, format: image_pb2.ImageFormat.ValueType, start: bytes
) -> None:
    async with generator(tiny_models) as (_, client):
        image = (await generate(client, output=image_pb2.OutputOptions(format=format))).images[0].image
    assert image.content.startswith(start)
    assert (image.width, image.height) == (64, 64)


async def test_faults_are_refused_and_the_service_goes_on(tiny_models: Path) -> None:
    async with generator(tiny_models) as (server, client):
        before = device_calls(server)
        with pytest.raises(InvalidRequest) as raised:
            await generate(client, prompt="", guidance_scale=float("nan"), width=0)
        assert {violation.field for violation in raised.value.violations} == {
            "spec.prompt",
            "spec.guidance_scale",
            "spec.width",
        }
        with pytest.raises(InvalidRequest):
            await client.generate_image(v1.GenerateImageRequest())
        with pytest.raises(ModelNotFound, match="tiny"):
            await generate(client, model="other")
        with pytest.raises(Unsupported, match="references"):
            await generate(client, references=[v1.ReferenceImage()])
        assert device_calls(server) == before
        assert (await generate(client)).images


async def test_it_tells_of_its_model(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        (model,) = (await client.list_models(model_pb2.ListModelsRequest(), service="generator")).models
    assert (model.ref.name, model.state, model.task) == ("tiny", model_pb2.MODEL_STATE_READY, "text-to-image")
    assert model.defaults["num_inference_steps"] == "4"


async def test_an_accepted_request_is_finished_while_draining(tiny_models: Path) -> None:
    server = await build(GeneratorConfig(port=0, models=tiny_models, model="tiny", threads=1))
    await server.start()
    async with AsyncClient(generator_address=server.address) as client:
        request = v1.StreamGenerateImageRequest(spec=spec(num_inference_steps=100))
        async with aclosing(client.stream_generate_image(request, timeout=600)) as events:
            await anext(events)
            stopping = asyncio.create_task(server.stop())
            kinds = [event.WhichOneof("event") async for event in events]
            await stopping
    assert kinds[-2:] == ["image", "completed"]


async def test_a_model_that_is_not_there_ends_the_start(tiny_models: Path) -> None:
    with pytest.raises(ModelNotFound, match="tiny"):
        await build(GeneratorConfig(port=0, models=tiny_models, model="missing"))
    with pytest.raises(FailedPrecondition, match="folder of models"):
        await build(GeneratorConfig(port=0, models=tiny_models / "none"))
