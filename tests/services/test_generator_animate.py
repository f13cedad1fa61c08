"""Films through latent space, drawn by the real generator with the tiny model."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from PIL import Image, ImageSequence

from diptych.client import AsyncClient
from diptych.errors import DeadlineExceeded, InvalidRequest, ModelNotFound
from diptych.events import Event, StepFinished, StepProgress
from diptych.serving.server import ServiceServer
from diptych.types import Film
from diptych.v1 import generator_pb2 as v1
from diptych.v1 import image_pb2
from services.generator.app import GeneratorConfig, build

PLACES = ["a red apple", "the sun", "a blue cat"]


@asynccontextmanager
async def generator(models: Path, **settings: Any) -> AsyncIterator[tuple[ServiceServer, AsyncClient]]:
    config = GeneratorConfig(port=0, models=models, model="tiny", threads=1, **settings)
    async with await build(config) as server, AsyncClient(generator_address=server.address) as client:
        yield server, client


def frames_of(film: Film) -> list[np.ndarray[Any, Any]]:
    with Image.open(io.BytesIO(film.content)) as opened:
        return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(opened)]


def rows_running(server: ServiceServer) -> float | None:
    return server.telemetry.registry.get_sample_value("diptych_rows_running", {"service": "generator"})


async def test_a_film_passes_its_places_and_comes_back(tiny_models: Path) -> None:
    heard: list[Event] = []
    async with generator(tiny_models) as (server, client):
        result = await client.animate_latents(
            PLACES, seeds=[1, 2, 3], duration=1.5, frames_per_second=8, format="webp", on_event=heard.append
        )
        stills = [
            np.asarray((await client.generate(place, seed=seed, format="webp")).to_pil()).astype(int)
            for place, seed in zip(PLACES, (1, 2, 3), strict=True)
        ]
        assert rows_running(server) == 0
    film, frames = result.film, frames_of(result.film)
    assert (film.format, film.width, film.height, film.num_frames, film.frames_per_second) == ("WEBP", 64, 64, 12, 8)
    assert len(frames) == 12
    # At a place the film shows what the still shows, within what lossy WebP loses of such noise.
    for place, number in enumerate((0, 4, 8)):
        distances = [np.abs(frames[number] - still).mean() for still in stills]
        assert int(np.argmin(distances)) == place
        assert distances[place] < 0.4 * min(distances[:place] + distances[place + 1 :])
    between = [np.abs(one - other).mean() for one, other in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert max(between) < np.abs(frames[0] - frames[4]).mean() * 1.01, "a jump, or no way back to the beginning"
    assert [event.message for event in heard if isinstance(event, StepProgress)][-1] == "frame 12 of 12"
    assert isinstance(heard[-1], StepFinished)
    assert result.record.operation == "animate"
    assert result.record.parameters["seeds"] == "1,2,3"
    assert result.marking.label == "GENERATED"


async def test_the_same_walk_is_the_same_film_alone_and_in_company(tiny_models: Path) -> None:
    walk: dict[str, Any] = {"seeds": [5], "duration": 1.0, "frames_per_second": 6, "format": "webp", "loop": False}
    async with generator(tiny_models, max_rows=3) as (_, client):
        alone = await client.animate_latents(PLACES[:2], **walk)
        together = await asyncio.gather(
            client.animate_latents(PLACES[:2], **walk),
            client.generate("a tree", num_images=3, num_inference_steps=15),
            client.animate_latents(PLACES[1:], **walk),
        )
    assert together[0].film.content == alone.film.content
    assert together[2].film.content != alone.film.content


async def test_mp4_is_written_by_default(tiny_models: Path) -> None:
    pytest.importorskip("av")
    async with generator(tiny_models) as (_, client):
        film = (await client.animate_latents(PLACES[:2], duration=0.5, frames_per_second=8)).film
    assert (film.format, film.num_frames) == ("MP4", 4)
    assert film.content[4:8] == b"ftyp"


async def test_progress_comes_with_each_frame_and_tells_what_remains(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        request = v1.StreamAnimateLatentsRequest(
            keyframes=[v1.LatentKeyframe(prompt=place) for place in PLACES],
            duration=Duration(seconds=1),
            frames_per_second=9,
            format=image_pb2.VIDEO_FORMAT_WEBP,
        )
        async with aclosing(client.stream_animate_latents(request, timeout=600)) as stream:
            events = [event async for event in stream]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["accepted", *["progress"] * 9, "completed"]
    assert (events[0].accepted.num_frames, events[0].accepted.width) == (9, 64)
    assert [event.progress.frame for event in events[1:-1]] == list(range(1, 10))
    assert not events[1].progress.HasField("remaining")
    assert events[2].progress.remaining.ToNanoseconds() > 0
    assert events[-2].progress.remaining.ToNanoseconds() == 0
    assert len(set(events[-1].completed.record.parameters["seeds"].split(","))) == 3


async def test_who_leaves_a_film_leaves_no_rows(tiny_models: Path) -> None:
    async with generator(tiny_models) as (server, client):
        request = v1.StreamAnimateLatentsRequest(
            keyframes=[v1.LatentKeyframe(prompt=place) for place in PLACES],
            num_inference_steps=50,
            duration=Duration(seconds=30),
            format=image_pb2.VIDEO_FORMAT_WEBP,
        )
        async with aclosing(client.stream_animate_latents(request, timeout=6000)) as stream:
            async for event in stream:
                if event.HasField("progress"):
                    break
        async with asyncio.timeout(60):
            while server.in_flight.count:
                await asyncio.sleep(0)
        assert (await client.generate("a cat", num_inference_steps=2)).images
        assert rows_running(server) == 0


async def test_a_film_that_cannot_be_done_in_time_is_refused_at_once(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        with pytest.raises(DeadlineExceeded) as raised:
            await client.animate_latents(PLACES, num_inference_steps=200, duration=60, format="webp", timeout=5)
    assert raised.value.reason == "DEADLINE_TOO_SHORT"


async def test_faults_are_told_all_at_once(tiny_models: Path) -> None:
    async with generator(tiny_models) as (_, client):
        request = v1.StreamAnimateLatentsRequest(
            keyframes=[v1.LatentKeyframe()],
            width=63,
            guidance_scale=float("nan"),
            frames_per_second=0.5,
            duration=Duration(seconds=61),
            num_inference_steps=0,
        )
        with pytest.raises(InvalidRequest) as raised:
            async for _ in client.stream_animate_latents(request):
                pass
        assert {violation.field for violation in raised.value.violations} == {
            *("keyframes", "keyframes[0].prompt", "width", "guidance_scale", "frames_per_second", "duration"),
            "num_inference_steps",
        }
        with pytest.raises(InvalidRequest, match="seeds"):
            await client.animate_latents(PLACES, seeds=[1, 2])
        with pytest.raises(ModelNotFound):
            await client.animate_latents(PLACES, model="other")


async def test_a_film_too_large_for_an_answer_is_refused_as_soon_as_it_is(tiny_models: Path) -> None:
    async with generator(tiny_models, max_message_bytes=80 * 1024) as (server, client):
        with pytest.raises(InvalidRequest, match="and an answer holds 16384") as raised:
            await client.animate_latents(PLACES, num_inference_steps=1, duration=60, format="webp", timeout=600)
        drawn = server.telemetry.registry.get_sample_value("diptych_batch_rows_sum", {"service": "generator"})
    assert [violation.field for violation in raised.value.violations] == ["duration"]
    assert drawn is not None and drawn < 400  # Of 1440 frames.


@pytest.mark.parametrize(("format", "fps", "seconds", "frames"), [("mp4", 1, 0.001, 2), ("webp", 60, 0.04, 2)])
async def test_the_shortest_films_have_two_frames(
    tiny_models: Path, format: str, fps: float, seconds: float, frames: int
) -> None:
    async with generator(tiny_models) as (_, client):
        film = await client.animate_latents(
            PLACES, num_inference_steps=1, duration=seconds, frames_per_second=fps, format=format, timeout=600
        )
    assert film.film.num_frames == frames
