"""Commands for one service, given nothing but the orchestrator's address: the same answers by way of a plan."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from diptych.cli.direct import ThroughOrchestrator, lift_pictures, open_direct
from diptych.client import AsyncClient
from diptych.errors import InvalidRequest, Overloaded, ServiceUnavailable
from diptych.events import Event, StepFinished, StepProgress, StepStarted
from diptych.operations import operation
from diptych.v1 import generator_pb2, image_pb2
from services.orchestrator.app import OrchestratorConfig, assemble
from services.orchestrator.intent import Intent
from tests.services.client_peer import Peer, picture, serving

PNG = picture(3, image_pb2.OutputOptions()).content


def never(goal: str, has_image: bool) -> Intent:
    raise AssertionError("a plan that is given is not read from words")


@pytest.fixture
async def peer() -> Peer:
    return Peer()


@pytest.fixture
async def orchestrator(peer: Peer) -> AsyncIterator[str]:
    async with serving(peer, services=("generator", "editor")) as behind:
        config = OrchestratorConfig(port=0, generator_address=behind, editor_address=behind)
        async with assemble(config, never) as server:
            yield server.address


@pytest.fixture
async def client(orchestrator: str) -> AsyncIterator[AsyncClient]:
    async with open_direct("generator", orchestrator) as client:
        assert isinstance(client, ThroughOrchestrator)
        yield client


async def test_a_generation_keeps_its_spec_and_seeds(client: AsyncClient, peer: Peer) -> None:
    heard: list[Event] = []
    result = await client.generate(
        "a cat", seed=5, num_images=2, width=16, format="webp", num_inference_steps=3, on_event=heard.append
    )
    spec = peer.requests[-1].spec
    assert (spec.prompt, spec.seed, spec.num_images, spec.width, spec.num_inference_steps) == ("a cat", 5, 2, 16, 3)
    assert [image.format for image in result.images] == ["WEBP", "WEBP"]
    assert [image.to_numpy()[0, 0, 0] // 2 for image in result.images] == [2, 3]
    assert result.records[0].models[0].kind == "GENERATIVE"
    fractions = [event.fraction for event in heard if isinstance(event, StepProgress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert heard[0] == StepStarted("1", "generator", "generate")


async def test_pictures_of_a_generation_travel_as_inputs(client: AsyncClient, peer: Peer) -> None:
    mask = picture(0, image_pb2.OutputOptions()).content
    await client.generate("a cat", init_image=PNG, mask_image=mask, strength=0.5)
    spec = peer.requests[-1].spec
    assert (spec.init_image.content, spec.mask_image.content, spec.strength) == (PNG, mask, 0.5)


async def test_edits_stay_one_request_with_their_pictures(client: AsyncClient, peer: Peer) -> None:
    heard: list[Event] = []
    overlay = picture(7, image_pb2.OutputOptions()).content
    result = await client.edit(
        PNG, ["upscale:scale=4", operation("composite", overlay=overlay), "rotate:angle=90"], on_event=heard.append
    )
    (request,) = peer.requests
    assert [one.WhichOneof("operation") for one in request.spec.operations] == ["upscale", "composite", "rotate"]
    assert request.spec.operations[1].composite.overlay.content == overlay
    assert request.spec.image.content == PNG
    assert [record.operation for record in result.records] == ["upscale", "composite", "rotate"]
    assert result.marking.label == "STANDARD_EDIT"
    assert [event.operation for event in heard if isinstance(event, StepStarted)] == ["upscale", "composite", "rotate"]
    assert len([event for event in heard if isinstance(event, StepFinished)]) == 3


async def test_an_analysis_comes_back_whole(client: AsyncClient) -> None:
    found = await client.analyze(PNG)
    assert found.lighting is not None
    assert (found.lighting.exposure, found.record.operation) == (-1.5, "analyze")


async def test_errors_come_through(client: AsyncClient) -> None:
    with pytest.raises(Overloaded):
        await client.generate("overloaded")
    with pytest.raises(InvalidRequest, match="is no picture"):
        await client.edit(b"only words", "upscale")


async def test_an_address_that_is_the_services_own_is_called_straight(peer: Peer) -> None:
    async with serving(peer, services=("generator",)) as address, open_direct("generator", address) as client:
        assert not isinstance(client, ThroughOrchestrator)
        await client.generate("a cat")


async def test_the_environment_decides_which(
    orchestrator: str, peer: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIPTYCH_ADDRESS", orchestrator)
    async with open_direct("editor", None) as client:
        assert isinstance(client, ThroughOrchestrator)
    monkeypatch.setenv("DIPTYCH_EDITOR_ADDRESS", "127.0.0.1:1")
    async with open_direct("editor", None) as client:
        assert not isinstance(client, ThroughOrchestrator)
        with pytest.raises(ServiceUnavailable, match=r"editor at 127.0.0.1:1 cannot be reached"):
            await client.edit(PNG, "upscale")


def test_lifting_leaves_the_places_of_pictures() -> None:
    spec = generator_pb2.GenerationSpec(prompt="x")
    spec.init_image.content, spec.mask_image.content = b"first", b"second"
    assert [image.content for image in lift_pictures(spec)] == [b"first", b"second"]
    assert not spec.init_image.content
    edit = operation("replace_background", image=image_pb2.Image(content=b"beach"))
    assert [image.content for image in lift_pictures(edit)] == [b"beach"]
    assert edit.replace_background.WhichOneof("background") == "image"
