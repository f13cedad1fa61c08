"""The client against a real server: answers, errors, deadlines, cancelling, reconnecting."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import grpc.aio
import pytest

from diptych import AsyncClient, errors
from diptych.v1 import generator_pb2, model_pb2, orchestrator_pb2
from tests.services.client_peer import Peer, serving


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def everywhere(address: str, **more: str) -> AsyncClient:
    return AsyncClient(address, generator_address=address, editor_address=address, **more)


@pytest.fixture
async def peer() -> Peer:
    return Peer()


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[AsyncClient]:
    async with serving(peer) as address, everywhere(address) as client:
        yield client


def drawing(prompt: str) -> generator_pb2.GenerateImageRequest:
    return generator_pb2.GenerateImageRequest(spec=generator_pb2.GenerationSpec(prompt=prompt))


async def test_an_rpc_takes_and_gives_messages(client: AsyncClient) -> None:
    answer = await client.generate_image(drawing("a cat"))
    assert answer.record.operation == "generate"
    sizes = [
        orchestrator_pb2.UploadArtifactRequest(header=orchestrator_pb2.UploadHeader(size=6)),
        orchestrator_pb2.UploadArtifactRequest(chunk=b"abcdef"),
    ]
    assert (await client.upload_artifact(iter(sizes))).committed_size == 6
    chunks = [part.chunk async for part in client.download_artifact(orchestrator_pb2.DownloadArtifactRequest())]
    assert chunks == [b"abc"]


async def test_a_rich_error_keeps_its_kind_and_details(client: AsyncClient) -> None:
    with pytest.raises(errors.Overloaded, match="8 requests wait") as full:
        await client.generate_image(drawing("overloaded"))
    assert full.value.retry_after == 1.5
    with pytest.raises(errors.ModelNotFound) as unknown:
        await client.get_model(model_pb2.GetModelRequest(name="nope"), service="editor")
    assert unknown.value.metadata == {"model": "nope"}
    with pytest.raises(errors.InvalidRequest) as bad:
        await client.generate("")
    assert [violation.field for violation in bad.value.violations] == ["spec.prompt"]


async def test_a_plain_status_becomes_the_error_of_its_code(client: AsyncClient) -> None:
    with pytest.raises(errors.NotFound, match=r"generator at 127.0.0.1:\d+: nobody wrote details"):
        await client.generate_image(drawing("plain"))


async def test_nobody_there_names_the_service_and_says_what_to_do() -> None:
    port = free_port()
    async with AsyncClient(f"127.0.0.1:{port}", editor_address=f"127.0.0.1:{port}") as client:
        begun = time.monotonic()
        with pytest.raises(errors.ServiceUnavailable) as gone:
            await client.health("editor")
        assert time.monotonic() - begun < 2, "refused at once, not after a deadline"
    assert gone.value.service == gone.value.metadata["service"] == "editor"
    expected = f"editor at 127.0.0.1:{port} cannot be reached; is it running? start it with: diptych serve editor"
    assert gone.value.message == expected


async def test_the_deadline_is_kept_and_cancels_on_the_server(client: AsyncClient, peer: Peer) -> None:
    with pytest.raises(errors.DeadlineExceeded, match=r"generator at .* did not answer within 0.2 s"):
        await client.generate_image(drawing("slow"), timeout=0.2)
    async with asyncio.timeout(5):
        await peer.cancelled.acquire()


async def test_closing_a_stream_cancels_it_on_the_server(client: AsyncClient, peer: Peer) -> None:
    request = generator_pb2.StreamGenerateImageRequest(spec=generator_pb2.GenerationSpec(prompt="slow"))
    async with aclosing(client.stream_generate_image(request)) as events:
        assert (await anext(events)).WhichOneof("event") == "accepted"
        await peer.waiting.acquire()
    async with asyncio.timeout(5):
        await peer.cancelled.acquire()


async def test_cancelling_the_caller_cancels_on_the_server(client: AsyncClient, peer: Peer) -> None:
    task = asyncio.create_task(client.create("slow"))
    async with asyncio.timeout(5):
        await peer.waiting.acquire()
        task.cancel()
        await peer.cancelled.acquire()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_lost_connection_is_told_and_the_next_call_finds_the_service_again(peer: Peer) -> None:
    port = free_port()
    client = AsyncClient(generator_address=f"127.0.0.1:{port}")
    async with client:
        async with serving(peer, port=port):
            await client.generate_image(drawing("a cat"))
            task = asyncio.create_task(client.generate_image(drawing("slow")))
            await peer.waiting.acquire()
        with pytest.raises(errors.ServiceUnavailable, match=r"the connection to generator at .* was lost"):
            await task
        with pytest.raises(errors.ServiceUnavailable, match="cannot be reached"):
            await client.generate_image(drawing("a cat"))
        async with serving(peer, port=port):
            begun = time.monotonic()
            async with asyncio.timeout(5):
                while True:
                    try:
                        await client.generate_image(drawing("a cat"))
                        break
                    except errors.ServiceUnavailable:
                        await asyncio.sleep(0.01)
            assert time.monotonic() - begun < 2, "no more than the reconnect back-off of one second"


async def test_every_call_has_an_id_and_the_callers_own_is_kept(client: AsyncClient, peer: Peer) -> None:
    await client.generate_image(drawing("a cat"))
    first = peer.headers["x-request-id"]
    await client.generate_image(drawing("a cat"))
    assert len(first) == 32
    assert peer.headers["x-request-id"] != first
    await client.generate_image(drawing("a cat"), metadata={"X-Request-Id": "mine"})
    assert peer.headers["x-request-id"] == "mine"
    assert "authorization" not in peer.headers


async def test_a_token_travels_as_a_bearer(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(peer) as address:
        async with everywhere(address, token="secret") as client:
            await client.generate_image(drawing("a cat"))
            assert peer.headers["authorization"] == "Bearer secret"
        monkeypatch.setenv("DIPTYCH_TOKEN", "from the environment")
        async with everywhere(address) as client:
            await client.generate_image(drawing("a cat"))
            assert peer.headers["authorization"] == "Bearer from the environment"


async def test_health_knows_which_service_answers(peer: Peer) -> None:
    async with serving(peer, services=("generator",)) as address, everywhere(address) as client:
        assert await client.health("generator")
        with pytest.raises(errors.ServiceUnavailable, match="is not a diptych editor"):
            await client.health("editor")


async def test_a_server_of_another_kind_is_told() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        with pytest.raises(errors.Unsupported, match="does not know PlanGoal; is it a diptych orchestrator"):
            await client.plan("draw a cat")
    await server.stop(None)


async def test_a_message_over_the_limit_is_the_callers_fault(client: AsyncClient) -> None:
    huge = b"\x89PNG" + bytes(64 << 20)
    with pytest.raises(errors.InvalidRequest, match="over the message limit of editor at") as large:
        await client.edit(huge, "upscale")
    assert large.value.violations[0].field == "request"


async def test_a_closed_client_opens_again(client: AsyncClient) -> None:
    await client.generate_image(drawing("a cat"))
    await client.close()
    assert (await client.generate_image(drawing("a cat"))).record.service == "generator"
