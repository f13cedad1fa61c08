"""Which engine runs a file on this machine."""

from pathlib import Path
from typing import Literal

from diptych.engines.base import Engine, Precision
from diptych.engines.fake import fake_of
from diptych.engines.onnx import OnnxEngine
from diptych.errors import FailedPrecondition

EngineChoice = Literal["auto", "onnx", "fake"]


def open_engine(
    path: Path,
    *,
    choice: EngineChoice = "auto",
    threads: int = 0,
    precision: Precision = "fp32",
    keep_memory: bool = True,
) -> Engine:
    """The best engine for an ONNX file; `auto` is ONNX Runtime with the best provider that it has here.

    `keep_memory=False` gives a large graph's working memory back after each run.
    Raises FailedPrecondition if the file is missing, DataCorrupted if it holds no usable graph.
    """
    if not path.is_file():
        raise FailedPrecondition(f"there is no model file {path.name}; pull its model again", reason="FILE_MISSING")
    if choice == "fake":
        return fake_of(path, precision=precision)
    return OnnxEngine(path, threads=threads, precision=precision, keep_memory=keep_memory)
