"""Runs of a graph recorded, one for each shape that comes again, and replayed.

On a GPU a graph of a thousand small operations waits for the host that launches them; a recording (a CUDA graph) is
launched as one. It also keeps what ONNX Runtime would find out anew whenever shapes change, such as the plan of each
convolution, which takes longer than the run: in a batch that rows join and leave they change at every step.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import onnxruntime

from diptych.engines.base import Array, Held
from diptych.engines.binding import run_bound
from diptych.engines.device_rows import copying

# Shapes that are recorded; others run as they are. Each recording has buffers of its own.
_MOST = 32
_OPTION = "gpu_graph_id"


class Turns:
    """Many work together, or one alone: nothing else may touch the GPU's memory while a run is recorded."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._alone = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block beside others; it begins when nobody is alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block that begins when all others are over; those that come later wait."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            self._changed.wait_for(lambda: self._together == 0)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


TURNS = Turns()


class Recordings:
    """The recordings of one session that was opened to record. Runs take turns.

    A shape runs as it is the first time, which tells what its outputs look like, and is recorded the second time.
    """

    def __init__(self, session: onnxruntime.InferenceSession, device: str) -> None:
        self._session = session
        self._device = device
        self._lock = threading.Lock()
        self._plain = _options("-1")
        self._known: dict[tuple[object, ...], _Recording] = {}

    def run(self, inputs: Mapping[str, Array | Held], names: Sequence[str]) -> dict[str, Array]:
        """The named outputs."""
        key = (*names, *((name, inputs[name].shape) for name in sorted(inputs)))
        with self._lock:
            recording = self._known.get(key)
            if recording is not None:
                # ONNX Runtime keeps recordings by thread, so each thread makes its own.
                with TURNS.together() if threading.get_ident() in recording.threads else TURNS.alone():
                    return recording.run(inputs)
            with TURNS.together():
                results = run_bound(self._session, inputs, names, self._plain)
            if len(self._known) < _MOST:
                number = len(self._known) + 1
                self._known[key] = _Recording(self._session, self._device, number, inputs, results)
            return results


class _Recording:
    """Buffers that one recording reads and writes."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        device: str,
        number: int,
        inputs: Mapping[str, Array | Held],
        outputs: Mapping[str, Array],
    ) -> None:
        self.threads: set[int] = set()
        self._session = session
        self._copying = copying(device)
        self._options = _options(str(number))
        self._binding = session.io_binding()
        self._inputs = {name: _buffer(value, device) for name, value in inputs.items()}
        self._outputs = {name: _buffer(value, device) for name, value in outputs.items()}
        # What each buffer was last filled from, where that cannot have changed.
        self._filled: dict[str, Held] = {}
        for name, buffer in self._inputs.items():
            self._binding.bind_ortvalue_input(name, buffer)
        for name, buffer in self._outputs.items():
            self._binding.bind_ortvalue_output(name, buffer)

    def run(self, inputs: Mapping[str, Array | Held]) -> dict[str, Array]:
        """The outputs, copies of the buffers'."""
        for name, value in inputs.items():
            buffer = self._inputs[name]
            if not isinstance(value, Held):
                self._filled.pop(name, None)
                buffer.update_inplace(np.ascontiguousarray(value))
            elif self._filled.get(name) is not value:
                self._copying.copy(buffer.data_ptr(), value.device.data_ptr(), value.nbytes)
                self._filled[name] = value
        self._copying.wait()
        self._session.run_with_iobinding(self._binding, self._options)
        self.threads.add(threading.get_ident())
        return {name: np.array(buffer.numpy()) for name, buffer in self._outputs.items()}


def _buffer(like: Array | Held, device: str) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(like.shape), like.dtype, device, 0)


def _options(number: str) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_OPTION, number)
    return options
