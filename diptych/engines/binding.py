"""Inputs and outputs bound to places on the device, instead of copied there and back by every run."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime

from diptych.engines.base import Array, Held, TensorSpec, arrays_of


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
    """One set of buffers that every run reuses, for graphs whose shapes are fixed: what a CUDA graph replays on.

    Runs take turns.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        device: str,
    ) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._binding = session.io_binding()
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
            self._session.run_with_iobinding(self._binding)
            return {name: np.array(self._outputs[name].numpy()) for name in names}


def _buffer(spec: TensorSpec, device: str) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(spec.shape), np.dtype(spec.dtype), device, 0)
