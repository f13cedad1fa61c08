"""Denoisers made ready to be timed: graphs, and random weights for them. Needs no GPU."""

import json
import resource
import shutil
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.gpu_graphs import SMALL, fill, write_graphs
from benchmarks.gpu_models import Denoiser, precision_on
from diptych.engines.onnx import OnnxEngine

# What says that the graphs are written, and that they have their weights.
GRAPHS, DONE = "graphs.json", "prepared.json"


def prepare(denoiser: Denoiser, folder: Path, *, half: bool, device: str = "cpu", bare: bool = False) -> None:
    """Fills `folder` with the denoiser's graphs and, unless they stay `bare`, its weights as they are made on `device`;
    what was done before is not done again."""
    if (folder / DONE).is_file():
        return
    spent: dict[str, float] = {}
    clock = _Clock(denoiser.name, spent)
    if not (folder / GRAPHS).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        report = {"fused": write_graphs(denoiser, folder, half=half, clock=clock), "half": half, "seconds": spent}
        (folder / GRAPHS).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if bare:
        return
    fill(made(denoiser, folder, device), folder)
    clock("weights")
    shutil.copyfile(folder / GRAPHS, folder / DONE)


def made(denoiser: Denoiser, folder: Path, device: str) -> nn.Module:
    """The denoiser on `device` with random weights, the same every time on one kind of device; its small weights are
    those in the graphs of `folder`, where there are any."""
    torch.manual_seed(0)
    dtype = precision_on(device)
    try:
        torch.set_default_dtype(dtype)
        with torch.device(device):
            module = denoiser.make()
    finally:
        torch.set_default_dtype(torch.float32)
    if (folder / SMALL).is_file():
        small = {name: tensor.to(dtype) for name, tensor in load_file(folder / SMALL, device=device).items()}
        module.load_state_dict(small, strict=False)
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
