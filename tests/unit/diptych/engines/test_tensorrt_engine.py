"""TensorRTEngine's own work (buffers, shapes, order of calls) with a device in this machine's memory. TensorRT itself
cannot run without a GPU: tests/gpu does that."""

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.engines.base import Array, TensorSpec
from diptych.engines.cuda import capability
from diptych.engines.tensorrt import TensorRTEngine
from diptych.errors import DataCorrupted, FailedPrecondition, InvalidRequest

SPECS = ((TensorSpec("x", "float32", ("batch", 3)),), (TensorSpec("y", "float32", ("batch", 3)),))


class HostDevice:
    """Memory of this machine in the place of a GPU's; what is not given back is seen."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.copied_in = 0

    def enter(self) -> None: ...

    def stream(self) -> int:
        return 1

    def end_stream(self, stream: int) -> None:
        assert stream == 1

    def wait(self, stream: int) -> None: ...

    def allocate(self, size: int) -> int:
        room = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(room)] = room
        return ctypes.addressof(room)

    def free(self, address: int) -> None:
        del self.memory[address]

    def copy_in(self, address: int, array: Array, stream: int) -> None:
        self.copied_in += 1
        assert array.nbytes <= len(self.memory[address])
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def copy_out(self, array: Array, address: int, stream: int) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)


class Context:
    """Doubles `x` into `y` where it is told they lie, for up to four rows."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return shape[0] <= 4

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))
        kind = ctypes.c_float * count
        x, y = (np.frombuffer(kind.from_address(self.addresses[name]), np.float32) for name in "xy")
        y[:] = 2 * x
        return True


@pytest.fixture
def device() -> HostDevice:
    return HostDevice()


@pytest.fixture
def engine(tmp_path: Path, device: HostDevice) -> TensorRTEngine:
    (tmp_path / "model.engine").write_bytes(b"plan")
    runtime = SimpleNamespace(
        deserialize_cuda_engine=lambda content: (
            SimpleNamespace(create_execution_context=Context, device_memory_size_v2=1000)
            if content == b"plan"
            else None
        )
    )
    module = SimpleNamespace(Logger=SimpleNamespace(ERROR=1), Runtime=lambda _: runtime)
    module.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
    return TensorRTEngine(tmp_path / "model.engine", specs=SPECS, precision="fp16", module=module, device=device)


def test_runs_at_every_shape_of_its_profile(engine: TensorRTEngine, device: HostDevice) -> None:
    for batch in (1, 4, 2, 4):
        x = np.random.default_rng(batch).random((batch, 3), np.float32)
        np.testing.assert_array_equal(engine.run({"x": x})["y"], 2 * x)
    assert len(device.memory) == 2  # One room an input and one an output, grown to the largest.
    assert (engine.name, engine.precision) == ("tensorrt_rtx", "fp16")
    with pytest.raises(FailedPrecondition, match=r"not built for x \(5, 3\).*--batch"):
        engine.run({"x": np.zeros((5, 3), np.float32)})
    with pytest.raises(InvalidRequest, match="float64"):
        engine.run({"x": np.zeros((1, 3))})


def test_a_held_input_crosses_once_and_is_given_back(engine: TensorRTEngine, device: HostDevice) -> None:
    x = np.ones((2, 3), np.float32)
    held = engine.hold(x)
    for _ in range(3):
        np.testing.assert_array_equal(engine.run({"x": held})["y"], 2 * x)
    assert device.copied_in == 1
    assert len(device.memory) == 2
    del held
    assert len(device.memory) == 1
    assert engine.memory_bytes == len(b"plan") + 1000
    engine.close()
    engine.close()
    assert not device.memory
    assert engine.memory_bytes == 0
    with pytest.raises(FailedPrecondition, match="closed"):
        engine.run({"x": x})


def test_a_file_that_is_no_engine_is_refused(tmp_path: Path, device: HostDevice) -> None:
    (tmp_path / "model.engine").write_bytes(b"other")
    logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
    module = SimpleNamespace(
        Logger=logger, Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=lambda content: None)
    )
    with pytest.raises(DataCorrupted, match="build it again"):
        TensorRTEngine(tmp_path / "model.engine", specs=SPECS, module=module, device=device)


@pytest.mark.skipif(bool(capability()), reason="says what is said where there is no GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.engine").write_bytes(b"plan")
    with pytest.raises(FailedPrecondition, match="no NVIDIA driver"):
        TensorRTEngine(tmp_path / "model.engine", specs=SPECS, module=SimpleNamespace())
