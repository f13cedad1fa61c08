"""Graphs run by MNN in a process of its own: the same numbers as ONNX Runtime, and what happens when it dies."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diptych.engines import open_engine
from diptych.engines.fake import fake_of
from diptych.engines.machine import mnn_version
from diptych.engines.mnn import MnnEngine
from diptych.engines.select import Built
from diptych.errors import DataCorrupted, FailedPrecondition, InternalError, InvalidRequest
from diptych.export.build_mnn import convert

pytestmark = pytest.mark.skipif(not mnn_version(), reason="the extra mnn is not installed")


@pytest.fixture
def opened(conv_file: Path, tmp_path: Path) -> Iterator[MnnEngine]:
    convert(conv_file, tmp_path / "conv.mnn")
    fake = fake_of(conv_file)
    engine = open_engine(conv_file, built=Built(tmp_path / "conv.mnn", "mnn", "fp32", (fake.inputs, fake.outputs)))
    assert isinstance(engine, MnnEngine)
    yield engine
    engine.close()


@pytest.mark.parametrize("shape", [(1, 3, 20, 24), (1, 3, 7, 5), (2, 3, 33, 16)])
def test_it_computes_what_onnx_runtime_does(
    opened: MnnEngine, conv_file: Path, shape: tuple[int, int, int, int]
) -> None:
    image = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (expected,) = open_engine(conv_file, choice="onnx").run({"image": image}).values()
    found = opened.run({"image": image})["upscaled"]
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(opened.run({"image": opened.hold(image)})["upscaled"], found)


def test_what_does_not_fit_is_named(opened: MnnEngine) -> None:
    with pytest.raises(InvalidRequest, match=r"inputs\.image: has dtype float64"):
        opened.run({"image": np.zeros((1, 3, 8, 8))})
    with pytest.raises(InvalidRequest, match=r"outputs\.depth"):
        opened.run({"image": np.zeros((1, 3, 8, 8), np.float32)}, ["depth"])


def test_others_work_while_it_computes(opened: MnnEngine) -> None:
    """Its module would hold the interpreter; from a process of its own it cannot."""
    ticks: list[float] = []
    over = threading.Event()

    def tick() -> None:
        while not over.wait(0.001):
            ticks.append(time.monotonic())

    ticking = threading.Thread(target=tick)
    ticking.start()
    began = time.monotonic()
    opened.run({"image": np.zeros((1, 3, 2048, 2048), np.float32)})
    taken = time.monotonic() - began
    over.set()
    ticking.join()
    assert max(np.diff(ticks)) < taken / 2


def test_a_process_that_dies_fails_one_run(opened: MnnEngine, caplog: pytest.LogCaptureFixture) -> None:
    image = {"image": np.ones((1, 3, 8, 8), np.float32)}
    expected = opened.run(image)["upscaled"]
    assert opened._worker is not None
    os.kill(opened._worker._process.pid, signal.SIGKILL)
    with pytest.raises(InternalError, match=r"conv\.mnn failed on image \(1, 3, 8, 8\)"):
        opened.run(image)
    assert "ended" in caplog.text
    np.testing.assert_array_equal(opened.run(image)["upscaled"], expected)


def test_what_interrupts_the_service_does_not_reach_it(opened: MnnEngine) -> None:
    assert opened._worker is not None
    assert os.getpgid(opened._worker._process.pid) != os.getpgid(0)


def test_it_tells_what_its_process_holds(opened: MnnEngine) -> None:
    before = opened.memory_bytes
    assert before > 1 << 20
    opened.run({"image": np.zeros((1, 3, 1024, 1024), np.float32)})
    assert opened.memory_bytes > before + (1 << 20)
    opened.close()
    assert opened.memory_bytes == 0


def test_it_ends_with_its_engine(opened: MnnEngine) -> None:
    assert opened._worker is not None
    process = opened._worker._process
    opened.close()
    assert process.poll() is not None
    with pytest.raises(FailedPrecondition, match="closed"):
        opened.run({"image": np.ones((1, 3, 8, 8), np.float32)})


def test_a_file_that_is_no_graph_is_refused(conv_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mnn").write_bytes(b"nothing")
    fake = fake_of(conv_file)
    with pytest.raises(DataCorrupted, match="build again"):
        MnnEngine(tmp_path / "bad.mnn", specs=(fake.inputs, fake.outputs))
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(FailedPrecondition, match=r"MNN cannot build bad\.onnx"):
        convert(tmp_path / "bad.onnx", tmp_path / "worse.mnn")
