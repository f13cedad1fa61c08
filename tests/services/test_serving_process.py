"""A service as a process: ready line, signals, exit codes. The service is a toy; the runtime is the real one."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

TOY = """
import sys
from typing import ClassVar
import grpc
from diptych.errors import ModelNotPulled
from diptych.serving.config import ServiceConfig, load_config
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.server import ServiceServer, run_service
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker

class ToyConfig(ServiceConfig):
    service: ClassVar[str] = "toy"
    broken: bool = False

async def build(config):
    if config.broken:
        raise ModelNotPulled("toy-model")
    async def hold(requests, context):
        yield b"begun"
        await anext(requests)
        yield b"done"
    def add(server):
        handlers = {"Hold": grpc.stream_stream_rpc_method_handler(hold)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("toy.Toy", handlers),))
    lifecycle, worker = Lifecycle(), Worker("toy")
    lifecycle.on_stop(worker.close)
    await worker.run(int)
    return ServiceServer(config, add_services=add, service_names=["toy.Toy"], lifecycle=lifecycle,
                         telemetry=Telemetry("toy"))

raise SystemExit(run_service(load_config(ToyConfig), build))
"""


def command(*flags: str) -> list[str]:
    return [sys.executable, "-c", TOY, *flags]


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*flags), capture_output=True, text=True, timeout=60, check=False)


class Toy:
    """A running toy and its address."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        word, service, self.address = process.stdout.readline().split()
        assert (word, service) == ("ready", "toy")

    @contextmanager
    def held_call(self) -> Iterator[tuple["grpc.Channel", Iterator[bytes], threading.Event]]:
        """A call in flight: its channel, its answers, and the event that lets it end."""
        let_go = threading.Event()

        def requests() -> Iterator[bytes]:
            let_go.wait(30)
            yield b"end"

        with grpc.insecure_channel(self.address) as channel:
            answers = channel.stream_stream("/toy.Toy/Hold")(requests(), timeout=30)
            assert next(answers) == b"begun"
            try:
                yield channel, answers, let_go
            finally:
                let_go.set()


@pytest.fixture
def toy() -> Iterator[Toy]:
    with subprocess.Popen(command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Toy(process)
        finally:
            process.kill()


def wait_not_serving(channel: grpc.Channel) -> None:
    watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
    for answer in watching:
        if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
            watching.cancel()
            return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(toy: Toy, number: signal.Signals) -> None:
    with toy.held_call() as (channel, answers, let_go):
        toy.process.send_signal(number)
        wait_not_serving(channel)
        refused = channel.stream_stream("/toy.Toy/Hold")(iter([b""]), timeout=30)
        with pytest.raises(grpc.RpcError) as caught:
            next(refused)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        let_go.set()
        assert list(answers) == [b"done"]
    assert toy.process.wait(30) == 0


def test_a_second_signal_leaves_at_once(toy: Toy) -> None:
    with toy.held_call() as (channel, _, _):
        toy.process.send_signal(signal.SIGTERM)
        wait_not_serving(channel)
        toy.process.send_signal(signal.SIGTERM)
        assert toy.process.wait(30) == 1


def one_line(finished: "subprocess.CompletedProcess[str]") -> str:
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert finished.stdout == ""
    return lines[0]


def test_a_taken_port_is_one_line_and_exit_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finished = run("--port", str(port), "--log-level", "warning")
    assert finished.returncode == 1
    assert one_line(finished) == (
        f"toy: cannot listen on 127.0.0.1:{port}: address already in use; choose another with --port"
    )


def test_a_bad_flag_is_one_line_and_exit_2() -> None:
    finished = run("--port", "x")
    assert finished.returncode == 2
    assert "--port x" in one_line(finished)


def test_beyond_this_machine_without_protection_is_refused() -> None:
    finished = run("--host", "0.0.0.0")
    assert finished.returncode == 2
    assert "--allow-insecure" in one_line(finished)


def test_a_model_that_is_not_there_says_what_to_run() -> None:
    finished = run("--broken")
    assert finished.returncode == 1
    assert one_line(finished) == "toy: model 'toy-model' is not pulled; run: diptych models pull toy-model"


def test_the_environment_configures_it() -> None:
    finished = subprocess.run(
        command(), env={**os.environ, "DIPTYCH_TOY_PORT": "x"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2
    assert "DIPTYCH_TOY_PORT" in one_line(finished)
