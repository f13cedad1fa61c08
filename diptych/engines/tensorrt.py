"""Engines built by TensorRT or by TensorRT for RTX, run on the first GPU. The two modules share their interface."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diptych.engines import cuda
from diptych.engines.base import Array, Held, Precision, TensorSpec, arrays_of, check_inputs, choose_outputs
from diptych.engines.machine import MODULES, tensorrt_module
from diptych.errors import DataCorrupted, FailedPrecondition, InternalError

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}


class Device(Protocol):
    """What the engine needs of a GPU; `cuda.Driver` is one."""

    def enter(self) -> None: ...
    def stream(self) -> int: ...
    def end_stream(self, stream: int) -> None: ...
    def wait(self, stream: int) -> None: ...
    def allocate(self, size: int) -> int: ...
    def free(self, address: int) -> None: ...
    def copy_in(self, address: int, array: Array, stream: int) -> None: ...
    def copy_out(self, array: Array, address: int, stream: int) -> None: ...


class _Memory:
    """Bytes on the device that are given back with the last reference."""

    def __init__(self, device: Device, size: int) -> None:
        self.size = size
        self.address = device.allocate(size)
        self._device = device

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._device.enter()
            self._device.free(self.address)


class TensorRTEngine:
    """A serialized engine. `name` is the module that built it: `tensorrt` or `tensorrt_rtx`.

    `specs` are its inputs and outputs with the names of sizes that vary, as the build wrote them down; without, they
    are read from the engine and such sizes are called `?`. Runs take turns: they share one execution context.
    FailedPrecondition where the module or a GPU is missing, DataCorrupted for a file that is no engine for them.
    """

    provider = "CUDA"

    def __init__(
        self,
        path: Path,
        *,
        name: str = "tensorrt_rtx",
        precision: Precision = "fp32",
        specs: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]] | None = None,
        module: Any = None,
        device: Device | None = None,
    ) -> None:
        self.name = name
        self.precision: Precision = precision
        trt = module if module is not None else tensorrt_module(name)
        if trt is None:
            raise FailedPrecondition(
                f"{path.name} needs {' or '.join(MODULES[name])}, which is not installed", reason="PROVIDER_MISSING"
            )
        self._device: Device = device if device is not None else cuda.driver()
        self._device.enter()
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        content = path.read_bytes()
        self._size = len(content)
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise DataCorrupted(
                f"{path.name} is no engine for this GPU and this version of {name}; build it again",
                reason="UNREADABLE_GRAPH",
            )
        self.inputs, self.outputs = specs if specs is not None else _specs(trt, self._engine)
        self._context = self._engine.create_execution_context()
        self._stream = self._device.stream()
        self._file = path.name
        self._lock = threading.Lock()
        # Output and input buffers by tensor, kept from run to run and enlarged when a shape needs more.
        self._buffers: dict[str, _Memory] = {}

    def run(self, inputs: Mapping[str, Array | Held], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The named outputs (default: all); InvalidRequest names each input or output that does not fit its spec."""
        check_inputs(self.inputs, inputs)
        chosen = choose_outputs(self.outputs, outputs)
        with self._lock:
            if self._context is None:
                raise FailedPrecondition(f"the engine of {self._file} is closed", reason="ENGINE_CLOSED")
            self._device.enter()
            for name, value in inputs.items():
                self._bind(name, value)
            results = {spec.name: self._place(spec) for spec in self.outputs}
            if not self._context.execute_async_v3(self._stream):
                shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays_of(inputs).items())
                raise InternalError(f"{self._file} failed on {shapes}", reason="ENGINE_FAILED")
            for spec in chosen:
                self._device.copy_out(results[spec.name], self._buffers[spec.name].address, self._stream)
            self._device.wait(self._stream)
        return {spec.name: results[spec.name] for spec in chosen}

    def hold(self, given: Array | Sequence[Array]) -> Held:
        """The array in memory of its own on the GPU, for `run`."""
        with self._lock:
            self._device.enter()
            contiguous = np.ascontiguousarray(given)
            memory = _Memory(self._device, contiguous.nbytes)
            self._device.copy_in(memory.address, contiguous, self._stream)
            self._device.wait(self._stream)
        return Held(contiguous, memory)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the engine, which is mostly weights, and of the intermediate results of a run."""
        engine = self._engine
        return 0 if engine is None else self._size + int(engine.device_memory_size_v2)

    def close(self) -> None:
        """Frees the graph once the run under way has returned; a later `run` raises FailedPrecondition."""
        with self._lock:
            if self._context is None:
                return
            self._device.enter()
            self._context = self._engine = self._runtime = None
            self._buffers.clear()
            self._device.end_stream(self._stream)

    def _bind(self, name: str, value: Array | Held) -> None:
        if not self._context.set_input_shape(name, value.shape):
            raise FailedPrecondition(
                f"{self._file} was not built for {name} {value.shape}; build it for a wider --batch or --resolution",
                reason="OUTSIDE_PROFILE",
            )
        if isinstance(value, Held):
            self._context.set_tensor_address(name, value.device.address)
            return
        array = np.ascontiguousarray(value)
        memory = self._room(name, array.nbytes)
        self._device.copy_in(memory.address, array, self._stream)
        self._context.set_tensor_address(name, memory.address)

    def _place(self, spec: TensorSpec) -> Array:
        """A host array for an output, whose room on the device is bound."""
        result = np.empty(tuple(self._context.get_tensor_shape(spec.name)), np.dtype(spec.dtype))
        self._context.set_tensor_address(spec.name, self._room(spec.name, result.nbytes).address)
        return result

    def _room(self, name: str, size: int) -> _Memory:
        memory = self._buffers.get(name)
        if memory is None or memory.size < size:
            memory = self._buffers[name] = _Memory(self._device, size)
        return memory


def dtype_of(kind: Any) -> str:
    """The numpy name of a TensorRT data type; FailedPrecondition for one that numpy lacks."""
    name = str(kind).rpartition(".")[2]
    if name not in _DTYPES:
        raise FailedPrecondition(
            f"an engine has tensors of type {name}, which no numpy dtype holds", reason="UNSUPPORTED_DTYPE"
        )
    return _DTYPES[name]


def _specs(trt: Any, engine: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]

    def chosen(wanted: Any) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                name,
                dtype_of(engine.get_tensor_dtype(name)),
                tuple(size if size >= 0 else "?" for size in engine.get_tensor_shape(name)),
            )
            for name in names
            if engine.get_tensor_mode(name) == wanted
        )

    return chosen(trt.TensorIOMode.INPUT), chosen(trt.TensorIOMode.OUTPUT)
