"""Graphs run by MNN, whose convolutions need fewer multiplications (Winograd; Lavin and Gray 2015) than others'.

Its Python module keeps the interpreter locked while it computes, so it runs in a process of its own.
"""

import logging
import mmap
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from diptych.engines.base import Array, Held, Precision, TensorSpec, arrays_of, check_inputs, choose_outputs
from diptych.engines.machine import cores
from diptych.errors import DataCorrupted, FailedPrecondition, InternalError

_LOG = logging.getLogger(__name__)
_PROGRAM = Path(__file__).with_name("mnn_process.py")


class MnnEngine:
    """A file of MNN as an engine for the CPU; every tensor is float32.

    `specs` are its inputs and outputs, as the build wrote them down. `threads`: 0 for one per core. Runs take turns. A
    process that dies fails the run under way; the next run has a new one. DataCorrupted for a file that MNN cannot
    load.
    """

    name = "mnn"
    provider = "CPU"

    def __init__(
        self,
        path: Path,
        *,
        specs: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        threads: int = 0,
        precision: Precision = "fp32",
    ) -> None:
        self.inputs, self.outputs = specs
        self.precision: Precision = precision
        self._path = path
        self._threads = threads or cores()
        self._lock = threading.Lock()
        self._closed = False
        self._worker: _Worker | None = self._start()

    def run(self, inputs: Mapping[str, Array | Held], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The named outputs (default: all); InvalidRequest names each input or output that does not fit its spec."""
        check_inputs(self.inputs, inputs)
        names = [spec.name for spec in choose_outputs(self.outputs, outputs)]
        arrays = arrays_of(inputs)
        with self._lock:
            if self._closed:
                raise FailedPrecondition(f"the engine of {self._path.name} is closed", reason="ENGINE_CLOSED")
            self._worker = self._worker or self._start()
            try:
                answer = self._worker.ask((arrays, names))
            except (EOFError, OSError) as error:
                self._worker.stop()
                self._worker = None
                _LOG.error("the process that runs %s ended", self._path.name)
                raise self._failed(arrays) from error
        if isinstance(answer, str):
            _LOG.error("%s: %s", self._path.name, answer)
            raise self._failed(arrays)
        return {name: answer[name] for name in names}

    def hold(self, given: Array | Sequence[Array]) -> Held:
        """The array: it lies in main memory, and crosses to the process with each run."""
        return Held(given, None)

    @property
    def memory_bytes(self) -> int:
        """What its process holds at present; 0 between a process that died and the next run."""
        worker = self._worker
        return worker.memory() if worker is not None else 0

    def close(self) -> None:
        """Ends the process once the call now running has returned; a later `run` raises FailedPrecondition."""
        with self._lock:
            self._closed = True
            if self._worker is not None:
                self._worker.stop()
                self._worker = None

    def _start(self) -> "_Worker":
        names = [",".join(spec.name for spec in specs) for specs in (self.inputs, self.outputs)]
        worker = _Worker([str(self._path), str(self._threads), *names])
        try:
            worker.hear()
        except (EOFError, OSError) as error:
            worker.stop()
            raise DataCorrupted(
                f"{self._path.name} is not a graph that MNN can load; delete the build and build again",
                reason="UNREADABLE_GRAPH",
            ) from error
        return worker

    def _failed(self, arrays: Mapping[str, Array]) -> InternalError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        return InternalError(f"{self._path.name} failed on {shapes}", reason="ENGINE_FAILED")


class _Worker:
    """The process, and the socket to it."""

    def __init__(self, arguments: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: the folder of the program holds modules named like those of the standard library.
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_PROGRAM), str(theirs.fileno()), *arguments],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the service, which drains; this process ends after it.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # What MNN tells there is meant for those who work on MNN.
            )
        self._connection: Any = Connection(ours.detach())

    def ask(self, message: Any) -> Any:
        """What it answers; EOFError or OSError when it is gone."""
        self._connection.send(message)
        return self._connection.recv()

    def hear(self) -> Any:
        """What it says unasked."""
        return self._connection.recv()

    def memory(self) -> int:
        """Bytes that are its own in main memory; 0 where the system does not say, or when it is gone."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        except OSError:
            return 0
        return (int(pages[1]) - int(pages[2])) * mmap.PAGESIZE

    def stop(self) -> None:
        """Hangs up, which ends it."""
        self._connection.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
