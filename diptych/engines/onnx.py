"""Graphs run by ONNX Runtime."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from diptych.engines.base import Array, Precision, TensorSpec, check_inputs, choose_outputs
from diptych.errors import DataCorrupted, FailedPrecondition, InternalError

_LOG = logging.getLogger(__name__)

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
_PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")
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

    `threads` is the number of threads inside one operator (0: one per core). `providers` defaults to CUDA where this
    build of ONNX Runtime has it, then the CPU; `provider` says which one it became. `keep_memory=False` gives back the
    memory of intermediate results after each run: right for a graph that needs gigabytes and runs now and then, a few
    percent slower.
    Raises DataCorrupted for a file that is no usable graph, FailedPrecondition for a provider this machine lacks.
    """

    name = "onnxruntime"

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 0,
        providers: Sequence[str] | None = None,
        precision: Precision = "fp32",
        keep_memory: bool = True,
    ) -> None:
        if threads < 0:
            raise ValueError(f"threads is {threads}; give 0 for one per core, or a positive number")
        available = onnxruntime.get_available_providers()
        wanted = list(providers) if providers is not None else [name for name in _PREFERRED if name in available]
        missing = [name for name in wanted if name not in available]
        if missing or not wanted:
            raise FailedPrecondition(
                f"this ONNX Runtime has no {', '.join(missing) or 'provider'}; it has {', '.join(available)}",
                reason="PROVIDER_MISSING",
            )
        try:
            session = onnxruntime.InferenceSession(str(path), _options(threads), providers=wanted)
        except _UNREADABLE as error:
            raise DataCorrupted(
                f"{path.name} is not a graph that ONNX Runtime can load; pull its model again",
                reason="UNREADABLE_GRAPH",
            ) from error
        except ort_errors.NotImplemented as error:
            raise FailedPrecondition(
                f"{path.name} uses an operation that {wanted[0]} lacks; use another provider or a newer ONNX Runtime",
                reason="UNSUPPORTED_GRAPH",
            ) from error
        self.precision: Precision = precision
        self.provider: str = session.get_providers()[0]
        if self.provider != wanted[0]:
            if providers is not None:
                raise FailedPrecondition(
                    f"{wanted[0]} could not start here; fix its installation or ask for {self.provider}",
                    reason="PROVIDER_MISSING",
                )
            _LOG.warning("%s could not start; %s runs %s", wanted[0], self.provider, path.name)
        self.inputs: tuple[TensorSpec, ...] = tuple(_spec(node) for node in session.get_inputs())
        self.outputs: tuple[TensorSpec, ...] = tuple(_spec(node) for node in session.get_outputs())
        self._file = path.name
        self._keep_memory = keep_memory
        self._session: onnxruntime.InferenceSession | None = session

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The named outputs (default: all); InvalidRequest names each input or output that does not fit its spec."""
        session = self._session
        if session is None:
            raise FailedPrecondition(f"the engine of {self._file} is closed", reason="ENGINE_CLOSED")
        check_inputs(self.inputs, inputs)
        names = [spec.name for spec in choose_outputs(self.outputs, outputs)]
        try:
            results = session.run(names, dict(inputs), self._run_options())
        except _RUN_FAILURES as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise InternalError(f"{self._file} failed on {shapes}", reason="ENGINE_FAILED") from error
        return dict(zip(names, results, strict=True))

    def _run_options(self) -> onnxruntime.RunOptions | None:
        if self._keep_memory:
            return None
        options = onnxruntime.RunOptions()
        device = "gpu" if self.provider == "CUDAExecutionProvider" else "cpu"
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", f"{device}:0")
        return options

    def close(self) -> None:
        """Frees the graph once the calls now running have returned; a later `run` raises FailedPrecondition."""
        self._session = None


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
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
