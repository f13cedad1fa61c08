"""A real server and a real client over loopback; the servicer is a toy that does what its request names."""

import asyncio
import hashlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from urllib3 import PoolManager

from diptych.errors import (
    DiptychError,
    FieldViolation,
    InternalError,
    InvalidRequest,
    Overloaded,
    ServiceUnavailable,
    Unauthenticated,
    from_status,
)
from diptych.serving.config import ServiceConfig
from diptych.serving.context import current_request
from diptych.serving.lifecycle import Lifecycle, State
from diptych.serving.server import ServiceServer, StartupError
from diptych.serving.telemetry import Telemetry
from diptych.v1 import model_pb2 as pb
from diptych.v1 import model_pb2_grpc

TOY = "diptych.v1.ModelService"
Request = pb.ListModelsRequest


class Toy(model_pb2_grpc.ModelServiceServicer):
    """Does what `task` names."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.ended: list[str] = []

    async def ListModels(self, request: Request, context: Any) -> pb.ListModelsResponse:
        match request.task:
            case "many faults":
                raise InvalidRequest([FieldViolation("spec.width", "too wide"), FieldViolation("spec.steps", "none")])
            case "overloaded":
                raise Overloaded("full", retry_after=1.5)
            case "grouped":
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._fail())
            case "bug":
                raise ValueError("/secret/path/of/weights.onnx is odd")
            case "wait":
                await self._wait("unary")
            case "who":
                caller = current_request().caller
                return pb.ListModelsResponse(models=[pb.Model(detail=caller or "nobody")])
        return pb.ListModelsResponse(models=[pb.Model(detail="x" * len(request.task))])

    async def _fail(self) -> None:
        raise Overloaded("full in a group", retry_after=2.0)

    async def _wait(self, name: str) -> None:
        self.entered.set()
        try:
            await self.let_go.wait()
        finally:
            self.ended.append(name)

    # The contract has no streaming method here, so the toy adds its own three below.
    async def one_to_many(self, request: Request, context: Any) -> AsyncIterator[pb.Model]:
        try:
            for index in range(3):
                yield pb.Model(detail=str(index))
            if request.task == "bug":
                raise ValueError("/secret")
            if request.task == "endless":
                while True:
                    self.entered.set()
                    yield pb.Model(detail="x" * 100_000)
            if request.task == "wait":
                await self._wait("inner")
        finally:
            self.ended.append("stream")

    async def many_to_one(self, requests: AsyncIterator[Request], context: Any) -> pb.Model:
        return pb.Model(detail=",".join([request.task async for request in requests]))

    async def many_to_many(self, requests: AsyncIterator[Request], context: Any) -> AsyncIterator[pb.Model]:
        async for request in requests:
            if request.task == "bad":
                raise InvalidRequest.single("task", "is bad")
            yield pb.Model(detail=request.task)

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        raise NotImplementedError

    async def LoadModel(self, request: pb.LoadModelRequest, context: Any) -> pb.LoadModelResponse:
        raise NotImplementedError

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Any) -> pb.UnloadModelResponse:
        raise NotImplementedError

    def add_to(self, server: grpc.aio.Server) -> None:
        model_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
        kinds = {
            "OneToMany": grpc.unary_stream_rpc_method_handler(self.one_to_many, *CODEC),
            "ManyToOne": grpc.stream_unary_rpc_method_handler(self.many_to_one, *CODEC),
            "ManyToMany": grpc.stream_stream_rpc_method_handler(self.many_to_many, *CODEC),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("toy.Streams", kinds),))


CODEC: tuple[Any, Any] = (Request.FromString, pb.Model.SerializeToString)


class Running:
    """A started server, its toy, and a channel to it."""

    def __init__(self, server: ServiceServer, toy: Toy, channel: grpc.aio.Channel) -> None:
        self.server, self.toy, self.channel = server, toy, channel
        self.list_models = model_pb2_grpc.ModelServiceStub(channel).ListModels
        self.health = health_pb2_grpc.HealthStub(channel)
        encode, decode = Request.SerializeToString, pb.Model.FromString
        self.one_to_many = channel.unary_stream("/toy.Streams/OneToMany", encode, decode)
        self.many_to_one = channel.stream_unary("/toy.Streams/ManyToOne", encode, decode)
        self.many_to_many = channel.stream_stream("/toy.Streams/ManyToMany", encode, decode)

    async def serving(self, name: str = "") -> str:
        answer = await self.health.Check(health_pb2.HealthCheckRequest(service=name))
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def sample(self, name: str, **labels: str) -> float | None:
        return self.server.telemetry.registry.get_sample_value(name, {"service": "toy", **labels})


Start = Callable[..., AbstractAsyncContextManager[Running]]


@asynccontextmanager
async def start(credentials: grpc.ChannelCredentials | None = None, **settings: Any) -> AsyncIterator[Running]:
    toy, lifecycle = Toy(), Lifecycle()
    server = ServiceServer(
        ServiceConfig(**settings),
        add_services=toy.add_to,
        service_names=[TOY, "toy.Streams"],
        lifecycle=lifecycle,
        telemetry=Telemetry("toy"),
    )
    await server.start()
    target = server.address.replace("127.0.0.1", "localhost") if credentials else server.address
    opened = grpc.aio.secure_channel(target, credentials) if credentials else grpc.aio.insecure_channel(target)
    async with opened as channel:
        try:
            yield Running(server, toy, channel)
        finally:
            toy.let_go.set()
            if lifecycle.state is State.READY:
                await server.stop()


async def failure(call: Any) -> DiptychError:
    """The error of a call, read back from the status it sent."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)
    assert status is not None, caught.value
    assert status.code == caught.value.code().value[0]
    return from_status(status)


async def test_errors_arrive_with_all_their_details() -> None:
    async with start() as running:
        error = await failure(running.list_models(Request(task="many faults")))
        assert isinstance(error, InvalidRequest)
        assert [violation.field for violation in error.violations] == ["spec.width", "spec.steps"]
        error = await failure(running.list_models(Request(task="overloaded")))
        assert isinstance(error, Overloaded)
        assert error.retry_after == 1.5
        error = await failure(running.list_models(Request(task="grouped")))
        assert isinstance(error, Overloaded)


async def test_a_bug_tells_a_reference_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with start() as running:
        with caplog.at_level(logging.ERROR):
            error = await failure(running.list_models(Request(task="bug"), metadata=(("x-request-id", "r-1"),)))
    assert isinstance(error, InternalError)
    assert error.metadata == {"reference": "r-1"}
    assert "secret" not in str(error)
    assert "r-1" in str(error)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


async def test_a_message_that_does_not_parse_is_the_callers_fault() -> None:
    async with start() as running:
        error = await failure(running.channel.unary_unary(f"/{TOY}/ListModels")(b"\xff\xff\xff"))
        assert isinstance(error, InvalidRequest)
        error = await failure(running.channel.unary_stream("/toy.Streams/OneToMany")(b"\x0a\x05").read())
        assert isinstance(error, InvalidRequest)


async def test_the_request_id_comes_back() -> None:
    async with start() as running:
        call = running.list_models(Request(), metadata=(("x-request-id", "mine-42"),))
        assert (await call.initial_metadata())["x-request-id"] == "mine-42"
        ids = set()
        for given in ("", "two words", "x" * 500):
            call = running.list_models(Request(), metadata=(("x-request-id", given),))
            ids.add((await call.initial_metadata())["x-request-id"])
        assert len(ids) == 3
        assert all(len(request_id) == 32 for request_id in ids)


async def test_streams_of_all_kinds() -> None:
    async with start() as running:
        assert [model.detail async for model in running.one_to_many(Request())] == ["0", "1", "2"]
        requests = [Request(task="a"), Request(task="b")]
        assert (await running.many_to_one(iter(requests))).detail == "a,b"
        assert [model.detail async for model in running.many_to_many(iter(requests))] == ["a", "b"]


async def test_a_stream_that_fails_keeps_what_it_sent() -> None:
    async with start() as running:
        call, seen = running.one_to_many(Request(task="bug")), []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for model in call:
                seen.append(model.detail)
        assert seen == ["0", "1", "2"]
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in (caught.value.details() or "")
        call = running.many_to_many(iter([Request(task="good"), Request(task="bad")]))
        assert (await call.read()).detail == "good"
        assert isinstance(await failure(call.read()), InvalidRequest)


@pytest.mark.parametrize("task", ["endless", "wait"])
async def test_a_caller_who_leaves_ends_the_handler(task: str) -> None:
    async with start() as running:
        call = running.one_to_many(Request(task=task))
        await call.read()
        await running.toy.entered.wait()
        call.cancel()
        assert await running.server.in_flight.wait_idle(10)
        assert running.toy.ended[-1] == "stream"
        labels = {"method": "Streams/OneToMany", "code": "CANCELLED"}
        assert running.sample("diptych_request_duration_seconds_count", **labels) == 1
        assert running.sample("diptych_requests_in_flight", method="Streams/OneToMany") == 0
        assert len((await running.list_models(Request(task="still here"))).models) == 1


async def test_a_deadline_ends_the_handler_and_is_counted_as_one() -> None:
    async with start() as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.list_models(Request(task="wait"), timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await running.server.in_flight.wait_idle(10)
        assert running.toy.ended == ["unary"]
        labels = {"method": "ModelService/ListModels", "code": "DEADLINE_EXCEEDED"}
        assert running.sample("diptych_request_duration_seconds_count", **labels) == 1


async def test_messages_over_the_limit_are_refused_both_ways() -> None:
    async with start(max_message_bytes=50_000) as running:
        for task in ("x" * 60_000, "x" * 49_995):  # The second is small enough to come, its answer too large to go.
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await running.list_models(Request(task=task))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len((await running.list_models(Request(task="small"))).models) == 1


async def test_health_and_reflection() -> None:
    async with start() as running:
        assert [await running.serving(name) for name in ("", TOY, "toy.Streams")] == ["SERVING"] * 3
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.serving("nobody")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter([ask]))]
        names = {service.name for service in answer.list_services_response.service}
        assert {TOY, "grpc.health.v1.Health"} <= names


async def test_draining_finishes_accepted_work_and_refuses_new() -> None:
    closed = []

    async def close() -> None:
        closed.append(True)

    async with start() as running:
        running.server.lifecycle.on_stop(close)
        accepted = running.list_models(Request(task="wait"))
        await running.toy.entered.wait()
        stopping = asyncio.create_task(running.server.stop())
        while running.server.lifecycle.state is State.READY:
            await asyncio.sleep(0)
        assert await running.serving() == "NOT_SERVING"
        assert await running.serving(TOY) == "NOT_SERVING"
        error = await failure(running.list_models(Request()))
        assert isinstance(error, ServiceUnavailable)
        assert error.service == "toy"
        assert not stopping.done()
        assert closed == []
        running.toy.let_go.set()
        assert len((await accepted).models) == 1
        await stopping
        assert closed == [True]
        assert running.server.lifecycle.state is State.STOPPED


async def test_draining_ends_with_its_time() -> None:
    async with start(drain_seconds=0.05) as running:
        accepted = running.list_models(Request(task="wait"))
        await running.toy.entered.wait()
        await running.server.stop()
        with pytest.raises(grpc.aio.AioRpcError):
            await accepted
        assert running.toy.ended == ["unary"]


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"studio:{hashlib.sha256(b'sesame').hexdigest()}\n")
    return path


async def test_tokens_open_everything_but_health_needs_none(tokens_file: Path) -> None:
    async with start(tokens_file=tokens_file) as running:
        for metadata in ((), (("authorization", "Bearer wrong"),)):
            assert isinstance(await failure(running.list_models(Request(), metadata=metadata)), Unauthenticated)
        asked = running.list_models(Request(task="who"), metadata=(("authorization", "Bearer sesame"),))
        assert (await asked).models[0].detail == "studio"
        assert await running.serving() == "SERVING"
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection_pb2_grpc.ServerReflectionStub(running.channel).ServerReflectionInfo(iter([ask]))
        assert isinstance(await failure(call.read()), Unauthenticated)


async def test_a_refused_call_is_refused_before_its_message_is_read(tokens_file: Path) -> None:
    async with start(tokens_file=tokens_file) as running:
        error = await failure(running.channel.unary_unary(f"/{TOY}/ListModels")(b"\xff" * 1_000_000))
        assert isinstance(error, Unauthenticated)


async def test_a_taken_port_is_one_readable_line() -> None:
    async with start() as running:
        with pytest.raises(StartupError, match=r"already in use.*--port") as caught:
            async with start(port=running.server.port):
                pass
        assert "\n" not in str(caught.value)
        with pytest.raises(StartupError, match=r"already in use.*--metrics-port"):
            async with start(metrics_port=running.server.port):
                pass


async def test_bad_files_are_one_readable_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("nonsense")
    with pytest.raises(StartupError, match="--tokens-file: line 1"):
        async with start(tokens_file=path):
            pass
    with pytest.raises(StartupError, match="cannot listen on"):
        async with start(tls_cert=path, tls_key=path):
            pass


async def test_the_metrics_page(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with start(metrics_port=port) as running:
        await running.list_models(Request())
        with suppress(grpc.aio.AioRpcError):
            await running.list_models(Request(task="overloaded"))
        assert await running.server.in_flight.wait_idle(10)
        with PoolManager() as pool:
            page = (await asyncio.to_thread(pool.request, "GET", f"http://127.0.0.1:{port}/metrics")).data.decode()
    for code in ("OK", "RESOURCE_EXHAUSTED"):
        labels = f'code="{code}",method="ModelService/ListModels",service="toy"'
        assert f"diptych_request_duration_seconds_count{{{labels}}} 1.0" in page
