"""A process that runs one graph with MNN: `python -P mnn_process.py FD FILE THREADS INPUTS OUTPUTS`, names by commas.

Its arrays come and go through the socket FD. It imports nothing of diptych, so that it is small and there at once, and
it ends when the other side of the socket does.
"""

import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import MNN.expr as expr
import MNN.nn as nn
import numpy as np


class Graph:
    """The graph in `file`. `precision: high` is single precision everywhere."""

    def __init__(self, file: str, threads: int, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        settings = {"backend": "CPU", "numThread": threads, "precision": "high"}
        self._runtime = nn.create_runtime_manager((settings,))
        self._net = nn.load_module_from_file(file, list(inputs), list(outputs), runtime_manager=self._runtime)
        self._inputs, self._outputs = inputs, outputs

    def run(self, arrays: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
        """The wanted outputs."""
        given = [expr.const(arrays[name], list(arrays[name].shape), expr.NCHW) for name in self._inputs]
        found = self._net.forward(given)
        if len(found) != len(self._outputs):
            raise RuntimeError("MNN gave no result; its own words are above")
        return {
            # MNN keeps channels in blocks inside, and its memory for the next run.
            name: np.array(expr.convert(value, expr.NCHW).read(), np.float32).reshape(value.shape)
            for name, value in zip(self._outputs, found, strict=True)
            if name in wanted
        }


def main(socket: str, file: str, threads: str, inputs: str, outputs: str) -> None:
    """Answers until the other side hangs up: a dict of arrays, or what went wrong as text."""
    asked = Connection(int(socket))
    try:
        graph = Graph(file, int(threads), inputs.split(","), outputs.split(","))
        asked.send("")
        while True:
            arrays, wanted = asked.recv()
            try:
                asked.send(graph.run(arrays, wanted))
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                asked.send(f"{type(error).__name__}: {error}")
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
