"""The generator as a process on a GPU: a picture over gRPC, and what its record says of who drew it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diptych.engines.cuda import driver
from diptych.engines.machine import this_machine
from diptych.engines.providers import CUDA
from diptych.repository import ModelRepository
from diptych.sync import Client

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 120

pytestmark = pytest.mark.skipif(
    CUDA not in this_machine().providers or ModelRepository().state("diptych-icons") != "READY",
    reason="this ONNX Runtime has no CUDA provider, or diptych-icons is not pulled",
)


@pytest.fixture
def generator(tmp_path: Path) -> Iterator[str]:
    """The address of a generator in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "generator.log"
    command = [sys.executable, "-m", "services.generator", "--port", str(port), "--model", "diptych-icons"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=file, stderr=subprocess.STDOUT)
    address = f"127.0.0.1:{port}"
    try:
        _wait_ready(address, process, log)
        yield address
    finally:
        process.terminate()
        code = process.wait(timeout=60)
    text = log.read_text(errors="replace")
    print(text[-3000:])
    assert code == 0
    assert f"provider={CUDA}" in text


def _wait_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < end:
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=2, wait_for_ready=True)
            except grpc.RpcError:
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
    raise AssertionError(log.read_text(errors="replace")[-3000:])


def test_a_picture_is_drawn_on_the_gpu_and_says_so(generator: str, kept: Path) -> None:
    free_before = driver().memory()[0]
    with Client(generator_address=generator) as client:
        results = [client.generate("a red apple", seed=7) for _ in range(2)]
        began = time.perf_counter()
        result = client.generate("a red apple", seed=7)
        print(f"{time.perf_counter() - began:.2f} s a picture, {free_before / 1e9:.1f} GB of the GPU were free")
    image = result.image
    image.save(kept / "gpu-apple.png")
    model = result.record.models[0]
    print(model)
    assert model.engine == "onnxruntime"
    # The same seed alone gives the same bytes, also where steps are replayed.
    assert [one.bytes for one in results] == [image.bytes] * 2
