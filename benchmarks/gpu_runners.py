"""The ways to run a denoiser that are compared: PyTorch as it is and compiled, ONNX Runtime, TensorRT."""

import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu_models import Denoiser
from diptych.engines import Engine, cuda
from diptych.engines.base import Array, Held
from diptych.engines.machine import tensorrt_module, this_machine
from diptych.engines.onnx import OnnxEngine
from diptych.engines.tensorrt import TensorRTEngine
from diptych.export.build_graph import fuse, simplify
from diptych.export.build_precision import to_half
from diptych.export.build_tensorrt import Compiler, Sizes
from diptych.export.graph import export_graph
from diptych.export.weights import store_weights

Inputs = Mapping[str, Tensor]
# Half precision over a whole denoiser; the parity that is reported says how far apart they are.
_EXPORT_TOLERANCE = 2e-2
_MOST_BATCH = 8


class Skipped(Exception):
    """A way that this machine does not have, and why."""


class Runner(Protocol):
    """One way to run one denoiser."""

    def run(self, inputs: Inputs) -> Array:
        """The prediction (B, ...) float32, when it is there."""

    def close(self) -> None:
        """Gives back what it holds."""


class Eager:
    """PyTorch as it is, on `device`: in half precision on a GPU."""

    def __init__(self, module: nn.Module, device: str) -> None:
        self._device = device
        self._dtype = torch.float16 if device == "cuda" else torch.float32
        self._call: Callable[..., Any] = module

    def run(self, inputs: Inputs) -> Array:
        """The prediction (B, ...) float32."""
        with torch.inference_mode():
            answer = self._call(**_arguments(inputs, self._device, self._dtype), return_dict=False)[0]
        return np.asarray(answer.float().cpu().numpy())  # Waits for the device.

    def close(self) -> None:
        """Forgets the module."""
        self._call = lambda **_: None


class Compiled(Eager):
    """PyTorch, compiled."""

    def __init__(self, module: nn.Module, device: str) -> None:
        super().__init__(module, device)
        self._call = torch.compile(module)


class EngineRunner:
    """An engine of diptych. What stays the same over the steps of a picture is held on the device."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._held: dict[str, Held] = {}
        self._last: Inputs | None = None

    def run(self, inputs: Inputs) -> Array:
        """The prediction (B, ...) float32."""
        arrays: dict[str, Array] = {name: tensor.cpu().float().numpy() for name, tensor in inputs.items()}
        if self._last is not inputs:
            self._held = {name: self.engine.hold(arrays[name]) for name in arrays if name not in ("sample", "timestep")}
            self._last = inputs
        return next(iter(self.engine.run({**arrays, **self._held}).values()))

    def close(self) -> None:
        """Closes the engine."""
        self._held.clear()
        self.engine.close()


def onnx_runner(denoiser: Denoiser, module: nn.Module, device: str, work: Path) -> EngineRunner:
    """ONNX Runtime with the provider for `device`, the graph fused, in half precision on a GPU."""
    if device == "cuda" and "CUDAExecutionProvider" not in this_machine().providers:
        raise Skipped("this ONNX Runtime has no CUDA provider; install onnxruntime-gpu in its place")
    path = _exported(denoiser, module, work)
    model = simplify(path, work / "onnx")
    sample = {name: tensor.cpu().numpy() for name, tensor in denoiser.inputs(1).items()}
    fuse(model, sample, work / "onnx")
    if device == "cuda":
        model = to_half(model, work / "onnx")
    target = work / "onnx" / "model.onnx"
    store_weights(model, target)
    return EngineRunner(OnnxEngine(target, preference="onnx"))


def tensorrt_runner(denoiser: Denoiser, module: nn.Module, device: str, work: Path) -> EngineRunner:
    """TensorRT, or TensorRT for RTX, in half precision."""
    name = next((one for one in ("tensorrt", "tensorrt_rtx") if tensorrt_module(one) is not None), "")
    if device != "cuda" or not this_machine().gpu:
        raise Skipped("there is no NVIDIA GPU on this machine")
    if not name:
        raise Skipped("neither tensorrt nor tensorrt_rtx is installed")
    path = _exported(denoiser, module, work)
    model = to_half(simplify(path, work / "trt"), work / "trt")
    graph = work / "trt" / "model.onnx"
    store_weights(model, graph)
    engine = OnnxEngine(path, providers=["CPUExecutionProvider"], keep_memory=False)
    shapes = {spec.name: spec for spec in (*engine.inputs, *engine.outputs)}
    engine.close()
    compiler = Compiler(name)
    target = this_machine().gpu if name == "tensorrt_rtx" else ""
    made = compiler.compile(graph, target, Sizes((1, 4, _MOST_BATCH), (denoiser.side,) * 3), shapes)
    file = work / "trt" / "model.engine"
    file.write_bytes(made.content)
    return EngineRunner(TensorRTEngine(file, name=name, precision="fp16", specs=(made.inputs, made.outputs)))


def memory(device: str) -> int:
    """Bytes in use: of the GPU by everyone, or the most that this process ever held."""
    if device == "cuda":
        free, total = cuda.driver().memory()
        return total - free
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _exported(denoiser: Denoiser, module: nn.Module, work: Path) -> Path:
    """The ONNX file of the module, exported once; it is traced on the CPU in single precision."""
    folder = work / "exported"
    if denoiser.graph is None:
        raise Skipped("no ONNX export of this architecture is served")
    if not (folder / "model.onnx").is_file():
        device, dtype = next(module.parameters()).device, next(module.parameters()).dtype
        module.to("cpu", torch.float32)
        try:
            with torch.device("cpu"):
                export_graph(denoiser.graph(module), folder, tolerance=_EXPORT_TOLERANCE)
        finally:
            module.to(device, dtype)
    return folder / "model.onnx"


def _arguments(inputs: Inputs, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """As diffusers' modules take them."""
    moved: dict[str, Any] = {name: tensor.to(device, dtype) for name, tensor in inputs.items()}
    added = {name: moved.pop(name) for name in ("text_embeds", "time_ids") if name in moved}
    return {**moved, **({"added_cond_kwargs": added} if added else {})}
