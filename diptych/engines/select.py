"""Which engine runs a file on this machine, and which of a model's builds it runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from diptych.engines.base import Engine, Precision, TensorSpec
from diptych.engines.fake import fake_of
from diptych.engines.machine import Machine
from diptych.engines.mnn import MnnEngine
from diptych.engines.onnx import OnnxEngine
from diptych.engines.providers import CPU, CUDA, RTX, choose_providers
from diptych.engines.tensorrt import TensorRTEngine
from diptych.errors import FailedPrecondition

EngineChoice = Literal["auto", "onnx", "tensorrt", "fake"]
ONNX, MNN = "onnxruntime", "mnn"
# The target of graphs with operations that ONNX Runtime has for CUDA alone.
FOR_CUDA = "cuda"
# Best first, where nothing was measured on this machine: half precision is what GPUs are fast at.
_UNMEASURED: tuple[Precision, ...] = ("fp16", "int8", "fp32")


@dataclass(frozen=True)
class Built:
    """A file that a build made of one ONNX file. `specs`: inputs and outputs of a serialized engine."""

    path: Path
    engine: str
    precision: Precision
    specs: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]] | None = None


@dataclass(frozen=True)
class Variant:
    """One way to run a model: the files of a build by the ONNX files that they stand for, and what is known of it.

    `target` is the compute capability that an engine is for, `cuda` or empty for ONNX. `checked`: whether the engine
    itself was compared with the model, or only the graph that it was built from. `speedup` is the model's time by the
    build's, measured with `provider`. `company_error` is how far rows that share a call were from themselves alone, as
    a part of the range; None where that was not measured.
    """

    engine: str
    engine_version: str
    precision: Precision
    target: str = ""
    checked: bool = True
    provider: str = ""
    speedup: float = 1.0
    files: Mapping[str, Built] = field(default_factory=dict)
    company_error: float | None = None


def choose_variant(variants: Iterable[Variant], machine: Machine, choice: EngineChoice = "auto") -> Variant | None:
    """The build that runs best on `machine`, None for the model's own files. Pure.

    A serialized engine runs on the GPU and with the version that it was built for, nowhere else; unasked, only one that
    was itself checked. Other builds are taken where they were measured to be faster, MNN's on a CPU, with the version
    that they were made by; on a GPU where nothing was measured half precision is.
    """
    if choice == "fake":
        return None
    known = list(variants)
    engines = [
        one
        for one in known
        if one.target
        and one.target == machine.gpu
        and machine.tensorrt.get(one.engine) == one.engine_version
        and (one.checked or choice == "tensorrt")
    ]
    if engines and choice != "onnx":
        return min(engines, key=lambda one: (_UNMEASURED.index(one.precision), one.engine != "tensorrt"))
    provider = choose_providers(machine.providers, choice)[0][0]
    graphs = [one for one in known if one.engine == ONNX and (one.target != FOR_CUDA or provider == CUDA)]
    rivals = [one for one in known if one.engine == MNN and one.engine_version == machine.mnn]
    here = graphs if choice == "onnx" or provider != CPU else graphs + rivals
    measured = [one for one in here if one.provider in (provider, MnnEngine.provider) and one.speedup > 1]
    if measured:
        return max(measured, key=lambda one: one.speedup)
    if provider in (CUDA, RTX) and not any(one.provider == provider for one in graphs):
        return min(graphs, key=lambda one: _UNMEASURED.index(one.precision), default=None)
    return None


def open_engine(
    path: Path,
    *,
    choice: EngineChoice = "auto",
    threads: int = 0,
    precision: Precision = "fp32",
    keep_memory: bool = True,
    built: Built | None = None,
) -> Engine:
    """The engine for an ONNX file, or for what was built of it; `auto` is the best that this machine has.

    `keep_memory=False` gives a large graph's working memory back after each run.
    Raises FailedPrecondition if the file is missing, DataCorrupted if it holds no usable graph.
    """
    if not path.is_file():
        raise FailedPrecondition(f"there is no model file {path.name}; pull its model again", reason="FILE_MISSING")
    if choice == "fake":
        return fake_of(path, precision=precision)
    if built is not None and built.engine == MNN and built.specs is not None:
        return MnnEngine(built.path, specs=built.specs, threads=threads, precision=built.precision)
    if built is not None and built.engine != ONNX:
        return TensorRTEngine(built.path, name=built.engine, precision=built.precision, specs=built.specs)
    if built is not None:
        path, precision = built.path, built.precision
    return OnnxEngine(path, threads=threads, preference=choice, precision=precision, keep_memory=keep_memory)
