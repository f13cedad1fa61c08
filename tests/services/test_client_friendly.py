"""The friendly calls, asynchronous and not, against a real server."""

import asyncio
import inspect
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych import (
    AsyncClient,
    ClarificationNeeded,
    Client,
    Event,
    InvalidRequest,
    PlanMade,
    ServiceUnavailable,
    StepFinished,
    StepProgress,
    StepStarted,
    operation,
)
from diptych.errors import InternalError
from diptych.v1 import generator_pb2, image_pb2, orchestrator_pb2
from tests.services.client_peer import Peer, serving


@pytest.fixture
async def peer() -> Peer:
    return Peer()


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[AsyncClient]:
    async with (
        serving(peer) as address,
        AsyncClient(address, generator_address=address, editor_address=address) as client,
    ):
        yield client


def png(width: int = 4, height: int = 3, mode: str = "RGB") -> bytes:
    target = io.BytesIO()
    Image.new(mode, (width, height)).save(target, "PNG")
    return target.getvalue()


async def test_create_gives_pictures_records_marking_and_plan(client: AsyncClient) -> None:
    heard: list[Event] = []
    result = await client.create("draw an apple, bigger", on_event=heard.append)
    assert [(record.service, record.operation) for record in result.records] == [
        ("generator", "generate"),
        ("editor", "upscale"),
    ]
    assert [record.models[0].kind for record in result.records] == ["GENERATIVE", "ALGORITHM"]
    assert result.records[0].total_seconds == pytest.approx(0.12)
    assert (result.marking.label, result.marking.step_ids) == ("PARTLY_GENERATED", ("1",))
    assert result.plan.route == "CHAIN"
    assert (result.total_seconds, result.compute_seconds) == (0.25, 0.24)
    assert result.to_pil().size == (8, 6)
    assert isinstance(heard[0], PlanMade)
    kinds = [type(event) for event in heard[1:6]]
    assert kinds == [StepStarted, StepProgress, StepProgress, StepProgress, StepFinished]
    assert heard[1] == StepStarted("1", "generator", "generate")


async def test_a_goal_that_needs_an_answer_raises_the_question(client: AsyncClient) -> None:
    with pytest.raises(ClarificationNeeded) as asked:
        await client.create("please clarify")
    assert asked.value.question == "Which picture do you mean?"
    assert asked.value.options == ("The first", "A new one")


async def test_a_peer_that_is_down_is_named_through_the_orchestrator(client: AsyncClient) -> None:
    with pytest.raises(ServiceUnavailable) as gone:
        await client.create("draw, then fail")
    assert gone.value.service == "editor"


async def test_plan_reads_the_goal_and_run_does_exactly_that(client: AsyncClient, peer: Peer) -> None:
    plan = await client.plan("bigger", assumed_images=1)
    assert (plan.route, plan.reading.operations, plan.slots["scale"]) == ("EDIT", ("upscale",), "4")
    assert plan.steps[0].inputs == ("image 0",)
    await client.run(plan, images=[png()])
    sent = peer.requests[-1]
    assert isinstance(sent, orchestrator_pb2.RunPlanRequest)
    assert sent.plan == plan.message
    asked = (await client.plan("clarify")).clarification
    assert asked is not None
    assert asked.options[1].plan.digest == "sha256:A new one"


async def test_generate_takes_diffusers_names_and_gives_pictures_in_order(client: AsyncClient, peer: Peer) -> None:
    heard: list[Event] = []
    result = await client.generate(
        "a cat",
        negative_prompt="dog",
        width=16,
        height=8,
        num_images=3,
        seed=7,
        num_inference_steps=5,
        guidance_scale=2.5,
        init_image=png(),
        strength=0.4,
        mask_image=png(mode="L"),
        on_event=heard.append,
    )
    spec = peer.requests[-1].spec
    assert (spec.negative_prompt, spec.width, spec.height, spec.num_images) == ("dog", 16, 8, 3)
    assert (spec.seed, spec.num_inference_steps, spec.guidance_scale) == (7, 5, 2.5)
    assert (spec.init_image.content, spec.mask_image.content) == (png(), png(mode="L"))
    assert [picture.seed for picture in result.images] == [7, 8, 9]
    assert [picture.to_numpy()[0, 0, 0] for picture in result.images] == [7, 8, 9]
    assert (result.seed, result.num_inference_steps) == (7, 5)
    fractions = [event.fraction for event in heard if isinstance(event, StepProgress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


async def test_what_is_left_out_is_left_to_the_service(client: AsyncClient, peer: Peer) -> None:
    await client.generate("a cat")
    assert peer.requests[-1].spec == generator_pb2.GenerationSpec(prompt="a cat")


async def test_values_that_no_message_holds_are_named_all_at_once(client: AsyncClient) -> None:
    with pytest.raises(InvalidRequest) as bad:
        await client.generate("a cat", width=-1, seed=2**64, num_images="many")  # type: ignore[arg-type]
    assert {violation.field for violation in bad.value.violations} == {"width", "seed", "num_images"}


async def test_edit_takes_texts_and_messages(client: AsyncClient, peer: Peer) -> None:
    heard: list[Event] = []
    result = await client.edit(
        png(), ["upscale:scale=4", operation("rotate", angle=90)], format="webp", on_event=heard.append
    )
    first, second = peer.requests[-1].spec.operations
    assert (first.upscale.scale, second.rotate.angle) == (4, 90)
    assert [record.operation for record in result.records] == ["upscale", "rotate"]
    assert result.marking.label == "STANDARD_EDIT"
    assert result.image.format == "WEBP"
    assert [event.step_id for event in heard if isinstance(event, StepStarted)] == ["1", "2"]


async def test_analyze_gives_findings_as_values(client: AsyncClient, peer: Peer) -> None:
    found = await client.analyze(png(), kinds=["palette", "lighting"])
    assert list(peer.requests[-1].kinds) == [3, 1]
    assert found.lighting is not None
    assert (found.lighting.exposure, found.palette[0].name) == (-1.5, "dark red")
    assert found.quality is None
    with pytest.raises(InvalidRequest, match="'palete' is none of lighting"):
        await client.analyze(png(), kinds=["palete"])


async def test_models_are_those_of_both_services(client: AsyncClient) -> None:
    assert [(one.service, one.state) for one in await client.models()] == [("generator", "READY"), ("editor", "READY")]


async def test_every_kind_of_picture_arrives(client: AsyncClient, peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(png())
    earlier = await client.generate("a cat")
    array = np.full((3, 4, 4), 9, np.uint8)
    given = [str(path), path, png(), Image.open(path), array, earlier, earlier.image, image_pb2.Image(content=png())]
    await client.plan("all of these", images=given)
    sent = [one.image for one in peer.requests[-1].goal.images]
    assert [image.content for image in sent[:3]] == [png()] * 3
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent[4].content))), array)
    assert sent[5].content == earlier.bytes
    assert sent[5] == sent[6]


async def test_a_stream_without_an_end_is_no_result(client: AsyncClient) -> None:
    with pytest.raises(InternalError, match="without a result"):
        await client.generate("mute", on_event=lambda _: None)


async def test_results_are_saved_by_suffix(client: AsyncClient, tmp_path: Path) -> None:
    result = await client.generate("a cat", num_images=2, seed=3)
    written = result.save(tmp_path / "cat.png")
    assert [path.name for path in written] == ["cat-1.png", "cat-2.png"]
    assert written[1].read_bytes() == result.images[1].bytes
    one = await client.generate("a cat", seed=200)
    one.save(tmp_path / "cat.jpg")
    assert Image.open(io.BytesIO((tmp_path / "cat.jpg").read_bytes())).format == "JPEG"
    with pytest.raises(InvalidRequest, match=r"must end in one of .png"):
        one.save(tmp_path / "cat.tiff")


class Threaded:
    """A peer on a loop in its own thread, for callers that block."""

    def __init__(self) -> None:
        self.peer: Peer
        self.address = ""
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self.peer = asyncio.get_running_loop(), Peer()
        async with serving(self.peer) as self.address:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> "Threaded":
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def wait_cancelled(self) -> None:
        asyncio.run_coroutine_threadsafe(self.peer.cancelled.acquire(), self._loop).result(5)


def test_the_blocking_client_does_the_same() -> None:
    with Threaded() as there, Client(there.address, generator_address=there.address) as client:
        heard: list[Event] = []
        result = client.create("draw an apple, bigger", on_event=heard.append)
        assert [record.service for record in result.records] == ["generator", "editor"]
        assert len(heard) > 5
        assert client.generate("a cat", seed=5).seed == 5
        events = list(client.run_goal(orchestrator_pb2.RunGoalRequest(goal=orchestrator_pb2.Goal(text="draw"))))
        assert events[-1].event.WhichOneof("event") == "completed"
        with pytest.raises(ClarificationNeeded):
            client.create("clarify")


def test_leaving_a_blocking_stream_cancels_it_on_the_server() -> None:
    with Threaded() as there, Client(generator_address=there.address) as client:
        request = generator_pb2.StreamGenerateImageRequest(spec=generator_pb2.GenerationSpec(prompt="slow"))
        stream = client.stream_generate_image(request)
        next(stream)
        stream.close()
        there.wait_cancelled()


def test_the_blocking_client_refuses_what_would_hang() -> None:
    with Threaded() as there:
        client = Client(there.address)
        with pytest.raises(RuntimeError, match="would wait forever"):
            client.create("draw", on_event=lambda _: client.plan("draw"))
        client.close()
        client.close()
        with pytest.raises(RuntimeError, match="is closed"):
            client.plan("draw")


def test_the_blocking_client_lacks_nothing() -> None:
    def public(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)
