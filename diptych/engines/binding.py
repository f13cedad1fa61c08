"""Inputs and outputs bound to places on the device, instead of copied there and back by every run."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime

from diptych.engines.base import Array, Held, TensorSpec, arrays_of

_Shapes = tuple[tuple[int | str, ...], ...]
_NO_GRAPH = -1  # What ONNX Runtime takes for: neither record nor replay this run.
_MOST_RECORDINGS, _MOST_SEEN = 16, 64


def run_bound(
    session: onnxruntime.InferenceSession,
    inputs: Mapping[str, Array | Held],
    names: Sequence[str],
    options: onnxruntime.RunOptions | None,
) -> dict[str, Array]:
    """The named outputs. Held inputs are used where they lie, the others are copied to the device."""
    binding = session.io_binding()
    for name, value in inputs.items():
        if isinstance(value, Held):
            binding.bind_ortvalue_input(name, value.device)
        else:
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
    for name in names:
        binding.bind_output(name)  # In the host's memory, which is where they are wanted.
    session.run_with_iobinding(binding, options)
    return dict(zip(names, binding.copy_outputs_to_cpu(), strict=True))


class FixedBinding:
    """One set of buffers that every run reuses, for one set of shapes: what a CUDA graph replays on.

    `graph` is the number that the provider keeps the recording under. Runs take turns.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        device: str,
        graph: int = 0,
    ) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._binding = session.io_binding()
        self._options = _options(graph)
        self._inputs = {spec.name: _buffer(spec, device) for spec in inputs}
        self._outputs = {spec.name: _buffer(spec, device) for spec in outputs}
        self._last: dict[str, Array | Held] = {}
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def run(self, inputs: Mapping[str, Array | Held], names: Sequence[str]) -> dict[str, Array]:
        """The named outputs, copies of the buffers'. What is held and lies in them already stays."""
        with self._lock:
            for name, value in inputs.items():
                if isinstance(value, Held) and value is self._last.get(name):
                    continue
                self._inputs[name].update_inplace(np.ascontiguousarray(arrays_of({name: value})[name]))
            self._last = {name: value for name, value in inputs.items() if isinstance(value, Held)}
            self._session.run_with_iobinding(self._binding, self._options)
            return {name: np.array(self._outputs[name].numpy()) for name in names}


class Recordings:
    """The runs of a graph whose sizes vary: shapes that come again are recorded as CUDA graphs, and from then replayed.

    A recording saves the host from launching some thousand small operations a run; it keeps buffers of its own, so
    only so many are made. Runs take turns.
    """

    def __init__(self, session: onnxruntime.InferenceSession, outputs: Sequence[TensorSpec], device: str) -> None:
        self._session = session
        self._device = device
        self._lock = threading.Lock()
        self._outputs = [spec.name for spec in outputs]
        self._unrecorded = _options(_NO_GRAPH)
        # By the shapes of inputs: what outputs they gave, and the recordings.
        self._seen: dict[_Shapes, list[TensorSpec]] = {}
        self._recorded: dict[_Shapes, FixedBinding] = {}

    def run(self, inputs: Mapping[str, Array | Held], names: Sequence[str]) -> dict[str, Array]:
        """The named outputs."""
        specs = [TensorSpec(name, str(array.dtype), array.shape) for name, array in sorted(arrays_of(inputs).items())]
        shapes = tuple(spec.shape for spec in specs)
        with self._lock:
            known = self._recorded.get(shapes)
            if known is None and shapes in self._seen and len(self._recorded) < _MOST_RECORDINGS:
                outputs, graph = self._seen[shapes], len(self._recorded) + 1
                known = self._recorded[shapes] = FixedBinding(self._session, specs, outputs, self._device, graph)
            if known is not None:
                return known.run(inputs, names)
            results = run_bound(self._session, inputs, self._outputs, self._unrecorded)
            if len(self._seen) == _MOST_SEEN:
                self._seen.clear()
            self._seen[shapes] = [TensorSpec(name, str(array.dtype), array.shape) for name, array in results.items()]
            return {name: results[name] for name in names}


def _options(graph: int) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options


def _buffer(spec: TensorSpec, device: str) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(spec.shape), np.dtype(spec.dtype), device, 0)
