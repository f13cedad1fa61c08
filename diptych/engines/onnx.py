"""Graphs run by ONNX Runtime."""

import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from diptych.engines.base import Array, Held, Precision, TensorSpec, arrays_of, check_inputs, choose_outputs
from diptych.engines.binding import FixedBinding, run_bound
from diptych.engines.device_rows import KeptRows
from diptych.engines.machine import rtx_devices, this_machine
from diptych.engines.providers import CPU, CUDA, REPLAY, RTX, Preference, Provider, choose_providers, names_of, replays
from diptych.engines.recording import TURNS, Recordings
from diptych.errors import DataCorrupted, FailedPrecondition, InternalError
from diptych.repository.onnx_file import external_files

_LOG = logging.getLogger(__name__)
_SWITCH = "DIPTYCH_CUDA_GRAPHS"

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
_UNREADABLE = (
    ort_errors.InvalidProtobuf,
    ort_errors.InvalidGraph,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.Fail,
)
_RUN_FAILURES = (ort_errors.Fail, ort_errors.RuntimeException, ort_errors.InvalidArgument, ort_errors.EPFail)


class OnnxEngine:
    """An ONNX file as an engine.

    `threads` is the number of threads inside one operator (0: one per core). `preference` chooses among the providers
    that this machine has, `providers` names them instead; `provider` says which one it became. `keep_memory=False`
    gives back the memory of intermediate results after each run: right for a graph that needs gigabytes and runs now
    and then, a few percent slower. `cache` is a folder for what a provider compiles.
    On a GPU, inputs and outputs are bound: held inputs stay there, and shapes that come again replay a CUDA graph
    (see `recording`) unless `records` is False, `DIPTYCH_CUDA_GRAPHS` is `off` or memory is given back.
    Raises DataCorrupted for a file that is no usable graph, FailedPrecondition for a provider this machine lacks.
    """

    name = "onnxruntime"

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 0,
        preference: Preference = "auto",
        providers: Sequence[str] | None = None,
        precision: Precision = "fp32",
        keep_memory: bool = True,
        cache: Path | None = None,
        records: bool = True,
    ) -> None:
        if threads < 0:
            raise ValueError(f"threads is {threads}; give 0 for one per core, or a positive number")
        available = this_machine().providers
        if providers is None:
            records = records and keep_memory and os.environ.get(_SWITCH) != "off"
            fixed = records and _may_record(path, available)
            wanted = choose_providers(
                available, preference, fixed_shapes=fixed, records=records, half=precision == "fp16", cache=cache
            )
        else:
            wanted = [(name, {}) for name in providers]
        missing = [name for name in names_of(wanted) if name not in available]
        if missing or not wanted:
            raise FailedPrecondition(
                f"this ONNX Runtime has no {', '.join(missing) or 'provider'}; it has {', '.join(available)}",
                reason="PROVIDER_MISSING",
            )
        session, wanted = _open(path, threads, wanted, keep_memory)
        self.precision: Precision = precision
        self.provider: str = session.get_providers()[0]
        if self.provider != wanted[0][0]:
            if providers is not None:
                raise FailedPrecondition(
                    f"{wanted[0][0]} could not start here; fix its installation or ask for {self.provider}",
                    reason="PROVIDER_MISSING",
                )
            _LOG.warning("%s could not start; %s runs %s", wanted[0][0], self.provider, path.name)
        self.inputs: tuple[TensorSpec, ...] = tuple(_spec(node) for node in session.get_inputs())
        self.outputs: tuple[TensorSpec, ...] = tuple(_spec(node) for node in session.get_outputs())
        self._file = path.name
        files = (path, *(path.parent / location for location in external_files(path)))
        self._weights = sum(file.stat().st_size for file in files)
        self._keep_memory = keep_memory
        self._device = "cpu" if self.provider == CPU else "cuda"
        self._replayed: FixedBinding | Recordings | None = None
        if replays(wanted) and self.provider == wanted[0][0]:
            if self.provider == CUDA:
                self._replayed = Recordings(session, self._device)
            else:
                self._replayed = FixedBinding(session, self.inputs, self.outputs, self._device)
        self._rows = KeptRows(self._device)
        self._open_unrecorded = partial(_open, path, threads, _without_replay(wanted), keep_memory)
        self._session: onnxruntime.InferenceSession | None = session

    def run(self, inputs: Mapping[str, Array | Held], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The named outputs (default: all); InvalidRequest names each input or output that does not fit its spec."""
        session, replayed = self._session, self._replayed
        if session is None:
            raise FailedPrecondition(f"the engine of {self._file} is closed", reason="ENGINE_CLOSED")
        check_inputs(self.inputs, inputs)
        names = [spec.name for spec in choose_outputs(self.outputs, outputs)]
        try:
            if replayed is not None:
                return replayed.run(inputs, names)
            if self._device != "cpu" or any(isinstance(value, Held) for value in inputs.values()):
                with TURNS.together():
                    return run_bound(session, inputs, names, self._run_options())
            results = session.run(names, dict(inputs), self._run_options())
        except _RUN_FAILURES as error:
            if replayed is not None:
                return self._without_recording(inputs, names, error)
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays_of(inputs).items())
            raise InternalError(f"{self._file} failed on {shapes}", reason="ENGINE_FAILED") from error
        return dict(zip(names, results, strict=True))

    def _without_recording(
        self, inputs: Mapping[str, Array | Held], names: Sequence[str], error: Exception
    ) -> dict[str, Array]:
        """The same in a new session that records nothing: the old one may be amid a recording."""
        _LOG.warning("%s runs without CUDA graphs from now on: %s", self._file, str(error)[:300])
        self._session = self._replayed = None
        self._session, _ = self._open_unrecorded()
        return self.run(inputs, names)

    def hold(self, given: Array | Sequence[Array]) -> Held:
        """The array, or the rows stacked, as a value on the engine's device, for `run`. A row that was held before does
        not cross again."""
        with TURNS.together():
            if self._device == "cpu":
                given = np.asarray(given)
            if not isinstance(given, np.ndarray):
                return Held(given, self._rows.stack(given))
            return Held(given, onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(given), self._device, 0))

    @property
    def memory_bytes(self) -> int:
        """Bytes of the file, and of those beside it that hold its weights."""
        return self._weights

    def _run_options(self) -> onnxruntime.RunOptions | None:
        if self._keep_memory or self._device == "cpu":
            return None
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "gpu:0")
        return options

    def close(self) -> None:
        """Frees the graph once the calls now running have returned; a later `run` raises FailedPrecondition."""
        self._session = self._replayed = None


def _open(
    path: Path, threads: int, wanted: list[Provider], keep_memory: bool
) -> tuple[onnxruntime.InferenceSession, list[Provider]]:
    """A session of the file on the wanted providers, and those with the options that it took."""
    options = _options(threads, keep_memory)
    try:
        if wanted[0][0] == RTX:  # A plugin takes devices instead of a name.
            options.add_provider_for_devices(rtx_devices(), wanted[0][1])
            return onnxruntime.InferenceSession(str(path), options), wanted
        return onnxruntime.InferenceSession(str(path), options, providers=list(wanted)), wanted
    except _UNREADABLE as error:
        if replays(wanted):
            # A provider that cannot run every node refuses to record a graph; without recording it hands them on.
            _LOG.warning("%s cannot record %s as a CUDA graph", wanted[0][0], f"{path.parent.name}/{path.name}")
            return _open(path, threads, _without_replay(wanted), keep_memory)
        raise DataCorrupted(
            f"{path.name} is not a graph that ONNX Runtime can load; pull its model again",
            reason="UNREADABLE_GRAPH",
        ) from error
    except ort_errors.NotImplemented as error:
        raise FailedPrecondition(
            f"{path.name} uses an operation that {wanted[0][0]} lacks; use another provider or a newer ONNX Runtime",
            reason="UNSUPPORTED_GRAPH",
        ) from error


def _may_record(path: Path, available: Sequence[str]) -> bool:
    """Whether a GPU is there and every size in the file is a number, so that a run can be recorded and replayed."""
    if not set(available) - {CPU, "AzureExecutionProvider"}:
        return False
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (OSError, ValueError, DecodeError):
        return False  # Opening it says what is wrong.
    weights = {tensor.name for tensor in graph.initializer}
    tensors = [value.type.tensor_type for value in (*graph.input, *graph.output) if value.name not in weights]
    return all(size.HasField("dim_value") for tensor in tensors for size in tensor.shape.dim)


def _without_replay(wanted: Sequence[Provider]) -> list[Provider]:
    """The providers with options that record nothing."""
    return [(name, {key: value for key, value in options.items() if key not in REPLAY}) for name, options in wanted]


def _options(threads: int, keep_memory: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # Without an arena intermediate results go back to the system one by one: less at the peak than shrinking it after.
    options.enable_cpu_mem_arena = keep_memory
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads of an idle session take whole cores from the sessions that work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _spec(node: onnxruntime.NodeArg) -> TensorSpec:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise FailedPrecondition(
            f"tensor {node.name} has type {node.type}, which no numpy dtype holds", reason="UNSUPPORTED_DTYPE"
        )
    return TensorSpec(node.name, dtype, tuple("?" if size is None else size for size in node.shape))
