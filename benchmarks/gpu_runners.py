"""The ways to run a denoiser that are compared: PyTorch as it is, compiled, recorded; ONNX Runtime; TensorRT.

Each takes the sample and the timestep from the host at every step and gives the prediction back there, as a step of a
picture needs it. What stays the same over the steps, such as the text, waits on the device.
"""

import gc
import resource
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu_graphs import FOR_CUDA, FUSED, PLAIN
from benchmarks.gpu_models import Denoiser, precision_on
from benchmarks.gpu_prepare import DONE, specs_of
from diptych.engines import Engine, cuda
from diptych.engines.base import Array, Held, Precision
from diptych.engines.machine import tensorrt_module, this_machine
from diptych.engines.onnx import OnnxEngine
from diptych.engines.providers import CUDA
from diptych.engines.tensorrt import TensorRTEngine
from diptych.export.build_tensorrt import Compiler, Sizes

Inputs = Mapping[str, Tensor]
_CHANGING = ("sample", "hidden_states", "timestep")
_MOST_BATCH = 8
_WARM_UPS = 3  # Calls before one is recorded: what is found or compiled at the first must be there.


class Skipped(Exception):
    """A way that this machine does not have, and why."""


class Runner(Protocol):
    """One way to run one denoiser."""

    def run(self, inputs: Inputs) -> Array:
        """The prediction (B, ...) float32, when it is there."""

    def memory(self) -> int:
        """Bytes it holds on the device, its weights among them, at the most since `forget`; of the host on a CPU."""

    def forget(self) -> None:
        """Before another batch: gives back what the last one needed."""

    def close(self) -> None:
        """Gives back all that it holds."""


class Torch:
    """PyTorch on `device`; `compiles` it for each batch, `records` each batch's call as a CUDA graph."""

    def __init__(
        self, module: nn.Module, denoiser: Denoiser, device: str, *, compiles: bool = False, records: bool = False
    ) -> None:
        if records and device != "cuda":
            raise Skipped("there is no NVIDIA GPU on this machine")
        self._device = device
        self._dtype = precision_on(device)
        self._records = records
        self._module: nn.Module | None = module
        self._call: Callable[..., Any] = module
        if compiles:
            self._call = _compiled(module, denoiser)
        self._last: Inputs | None = None
        self._given: dict[str, Tensor] = {}
        self._graph: torch.cuda.CUDAGraph | None = None
        self._answer: Tensor | None = None

    def run(self, inputs: Inputs) -> Array:
        """The prediction (B, ...) float32."""
        with torch.inference_mode():
            if self._last is not inputs:
                self._given = {name: _placed(tensor, self._device, self._dtype) for name, tensor in inputs.items()}
                self._last = inputs
                if self._records:
                    self._record()
            for name in _CHANGING:
                if name in inputs:
                    self._given[name].copy_(inputs[name])
            if self._graph is not None:
                self._graph.replay()
            else:
                self._answer = self._call(**_arguments(self._given), return_dict=False)[0]
            assert self._answer is not None
            return np.asarray(self._answer.float().cpu().numpy())  # Waits for the device.

    def _record(self) -> None:
        self._graph = self._answer = None
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._call(**_arguments(self._given), return_dict=False)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._answer = self._call(**_arguments(self._given), return_dict=False)[0]
        self._graph = graph

    def memory(self) -> int:
        """What PyTorch took from the device at the most."""
        return torch.cuda.max_memory_reserved() if self._device == "cuda" else _host_memory()

    def forget(self) -> None:
        """Gives back all but the weights."""
        self._last, self._given, self._graph, self._answer = None, {}, None, None
        gc.collect()
        if self._device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def close(self) -> None:
        """Forgets the module."""
        self._module, self._call = None, lambda **_: None
        self.forget()


class EngineRunner:
    """An engine of diptych. What stays the same over the steps of a picture is held on the device."""

    def __init__(self, engine: Engine, before: int, device: str) -> None:
        self.engine = engine
        self._before, self._device = before, device
        self._held: dict[str, Held] = {}
        self._arrays: dict[str, Array] = {}
        self._last: Inputs | None = None

    def run(self, inputs: Inputs) -> Array:
        """The prediction (B, ...) float32."""
        if self._last is not inputs:
            self._arrays = {name: tensor.float().numpy() for name, tensor in inputs.items()}
            self._held = {name: self.engine.hold(self._arrays[name]) for name in inputs if name not in _CHANGING}
            self._last = inputs
        return next(iter(self.engine.run({**self._arrays, **self._held}).values()))

    def memory(self) -> int:
        """What the GPU has less than before the engine was opened; engines keep what they once took."""
        return memory_used() - self._before if self._device == "cuda" else _host_memory()

    def forget(self) -> None:
        """Lets held inputs go."""
        self._held, self._last = {}, None

    def close(self) -> None:
        """Closes the engine."""
        self.forget()
        self.engine.close()
        gc.collect()


def onnx_runner(folder: Path, device: str, *, file: str = FUSED, records: bool = False) -> EngineRunner:
    """ONNX Runtime with the provider for `device`."""
    if device == "cuda" and CUDA not in this_machine().providers:
        raise Skipped("this ONNX Runtime has no CUDA provider; install onnxruntime-gpu in its place")
    if device != "cuda" and (records or file == FOR_CUDA):
        raise Skipped("there is no NVIDIA GPU on this machine")
    path = _there(folder / file)
    before = memory_used() if device == "cuda" else 0
    precision: Precision = "fp16" if device == "cuda" else "fp32"
    engine = OnnxEngine(path, preference="onnx", precision=precision, records=records)
    if device == "cuda" and engine.provider != CUDA:
        raise Skipped("ONNX Runtime has a CUDA provider that could not start: libraries of CUDA or cuDNN are missing")
    return EngineRunner(engine, before, device)


def tensorrt_runner(denoiser: Denoiser, folder: Path, device: str) -> EngineRunner:
    """TensorRT, or TensorRT for RTX, in half precision."""
    name = next((one for one in ("tensorrt", "tensorrt_rtx") if tensorrt_module(one) is not None), "")
    if device != "cuda" or not this_machine().gpu:
        raise Skipped("there is no NVIDIA GPU on this machine")
    if not name:
        raise Skipped("neither tensorrt nor tensorrt_rtx is installed")
    graph = _there(folder / PLAIN)
    engine = specs_of(graph)
    shapes = {spec.name: spec for spec in (*engine.inputs, *engine.outputs)}
    engine.close()
    compiler = Compiler(name)
    target = this_machine().gpu if name == "tensorrt_rtx" else ""
    made = compiler.compile(graph, target, Sizes((1, 4, _MOST_BATCH), (denoiser.side,) * 3), shapes)
    work = folder / "engine"
    work.mkdir(exist_ok=True)
    file = work / "model.engine"
    file.write_bytes(made.content)
    before = memory_used()
    try:
        opened = TensorRTEngine(file, name=name, precision="fp16", specs=(made.inputs, made.outputs))
    finally:
        shutil.rmtree(work)
    return EngineRunner(opened, before, device)


def memory_used() -> int:
    """Bytes of the GPU in use, by everyone."""
    free, total = cuda.driver().memory()
    return total - free


def _host_memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _there(path: Path) -> Path:
    if not path.is_file() or not (path.parent / DONE).is_file():
        raise Skipped(f"{path.name} was not prepared")
    return path


def _compiled(module: nn.Module, denoiser: Denoiser) -> Callable[..., Any]:
    """The module compiled for each shape by itself; of the transformer each block, for they share what is compiled."""
    if denoiser.compiles_blocks:
        for block in module.get_submodule("transformer_blocks"):  # type: ignore[attr-defined]
            block.compile(fullgraph=True, dynamic=False)
        return module
    return torch.compile(module, dynamic=False)


def _placed(tensor: Tensor, device: str, dtype: torch.dtype) -> Tensor:
    moved = tensor.to(device, dtype)
    return moved.to(memory_format=torch.channels_last) if moved.ndim == 4 else moved


def _arguments(given: Mapping[str, Tensor]) -> dict[str, Any]:
    """As diffusers' modules take them."""
    arguments: dict[str, Any] = dict(given)
    added = {name: arguments.pop(name) for name in ("text_embeds", "time_ids") if name in arguments}
    return {**arguments, **({"added_cond_kwargs": added} if added else {})}
