"""Denoisers made ready to be timed: weights, and ONNX graphs in half precision. Needs no GPU, and may take minutes."""

import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.gpu_models import Denoiser
from diptych.engines.machine import tensorrt_versions
from diptych.engines.onnx import OnnxEngine
from diptych.export.build_cuda import fuse_for_cuda
from diptych.export.build_graph import fuse, simplify
from diptych.export.build_precision import to_half
from diptych.export.graph import export_graph
from diptych.export.weights import store_weights

# Half precision over a whole denoiser; the parity that is reported says how far apart they are.
_EXPORT_TOLERANCE = 2e-2
WEIGHTS, DONE = "weights.safetensors", "prepared.json"
# What ONNX Runtime runs anywhere, what its CUDA provider alone has operations for, and what TensorRT reads.
FUSED, FOR_CUDA, PLAIN = "model.onnx", "cuda.onnx", "plain.onnx"


def prepare(denoiser: Denoiser, folder: Path, *, half: bool) -> None:
    """Fills `folder` with the denoiser's weights and graphs; what was done before is not done again."""
    if (folder / DONE).is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spent: dict[str, float] = {}
    clock = _Clock(denoiser.name, spent)
    torch.manual_seed(0)
    module = denoiser.make().eval().requires_grad_(False)
    clock("made")
    dtype = denoiser.dtype if half else torch.float32
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in module.state_dict().items()}, folder / WEIGHTS)
    clock("weights saved")
    report: dict[str, object] = {"seconds": spent}
    if denoiser.graph is not None:
        graph = denoiser.graph(module)
        sample = {name: tensor.numpy() for name, tensor in graph.inputs.items()}
        report["export_difference"] = export_graph(graph, folder / "exported", tolerance=_EXPORT_TOLERANCE)
        clock("exported")
        del module, graph
        report["fused"] = _graphs(folder, sample, half, clock)
    report["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    (folder / DONE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(denoiser.name, json.dumps(report), flush=True)


def _graphs(folder: Path, sample: dict[str, np.ndarray], half: bool, clock: Callable[[str], None]) -> dict[str, int]:
    """Writes the graphs, the one for TensorRT where it is installed; what was fused."""
    work = folder / "work"
    model = simplify(folder / "exported" / "model.onnx", work)
    shutil.rmtree(folder / "exported")
    clock("simplified")
    if tensorrt_versions():
        _store(to_half(model, work) if half else _copy(model), folder / PLAIN)
        clock(f"{PLAIN} stored")
    counts = fuse(model, sample, work)
    clock("fused")
    model = to_half(model, work) if half else model
    clock("in half precision")
    _store(_copy(model), folder / FUSED)
    clock(f"{FUSED} stored")
    counts |= fuse_for_cuda(model)
    _store(model, folder / FOR_CUDA)
    clock(f"{FOR_CUDA} stored")
    shutil.rmtree(work)
    return counts


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _store(stored: onnx.ModelProto, path: Path) -> None:
    """Writes the graph; its weights, where they are many, are gone from `stored` then."""
    for tensor in stored.graph.initializer:
        if not tensor.raw_data:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    store_weights(stored, path)


def restored(denoiser: Denoiser, folder: Path, device: str) -> nn.Module:
    """The prepared denoiser on `device`, in the precision it was prepared in."""
    with torch.device("meta"):
        module = denoiser.make()
    module.load_state_dict(load_file(folder / WEIGHTS, device=device), assign=True)
    return laid_out(module)


def laid_out(module: nn.Module) -> nn.Module:
    """The module ready to be called, its convolutions' weights with channels last, as tensor cores take them."""
    for tensor in module.parameters():
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return module.eval().requires_grad_(False)


def specs_of(path: Path) -> OnnxEngine:
    """The graph on the CPU, for what it takes and gives."""
    return OnnxEngine(path, providers=["CPUExecutionProvider"], keep_memory=False)


class _Clock:
    """Prints what is done, with seconds since the last."""

    def __init__(self, name: str, spent: dict[str, float]) -> None:
        self._name, self._spent, self._last = name, spent, time.perf_counter()

    def __call__(self, what: str) -> None:
        now = time.perf_counter()
        self._spent[what] = round(now - self._last, 1)
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{self._name}: {what}, {now - self._last:.1f} s, {held:.1f} GB at the most", flush=True)
        self._last = now
