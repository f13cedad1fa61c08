"""What a machine's GPU does with denoisers of full size, by every way to run them that is there.

`python -m benchmarks.gpu --out gpu` detects what is there and writes gpu.json, gpu.png and gpu.md. Weights are random:
nothing is downloaded. Where the GPU is had for a short time, `--prepare FOLDER --bare` writes the graphs beforehand on
any machine, without weights; there `--prepare FOLDER` adds these, `--compile-ahead` fills PyTorch's cache of compiled
code, and `--prepared FOLDER` then measures alone.
`--toy --device cpu` goes the same way with a few channels: that says that it works, nothing of speed.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from benchmarks.gpu_graphs import FOR_CUDA
from benchmarks.gpu_models import Denoiser, denoisers
from benchmarks.gpu_plot import draw, write
from benchmarks.gpu_prepare import made, prepare
from benchmarks.gpu_runners import Runner, Skipped, Torch, onnx_runner, tensorrt_runner
from benchmarks.measuring import machine
from diptych.engines import cuda
from diptych.engines.base import Array
from diptych.engines.machine import tensorrt_versions, this_machine

BATCHES = (1, 4, 8)
# What a picture is counted as: calls of the denoiser, one a step, without guidance.
STEPS = 30
# Calls of one line: until so much time is spent, but no fewer than the least.
_TIMED_SECONDS, _LEAST_RUNS = 1.5, 5
Opens = Callable[[Denoiser, nn.Module, Path, str], Runner]
WAYS: Mapping[str, Opens] = {
    "torch eager": lambda one, module, _, device: Torch(module, one, device),
    "torch.compile": lambda one, module, _, device: Torch(module, one, device, compiles=True),
    "torch.compile, CUDA graph": lambda one, module, _, device: Torch(module, one, device, compiles=True, records=True),
    "onnxruntime": lambda _, __, folder, device: onnx_runner(folder, device),
    "onnxruntime, CUDA graph": lambda _, __, folder, device: onnx_runner(folder, device, records=True),
    "onnxruntime, for CUDA": lambda _, __, folder, device: onnx_runner(folder, device, file=FOR_CUDA, records=True),
    "tensorrt": lambda one, _, folder, device: tensorrt_runner(one, folder, device),
}


def main() -> None:
    """Measures, and writes both files."""
    options = _options()
    if options.page:
        _publish(json.loads(options.page.read_text(encoding="utf-8")), options.page)
        return
    wanted = [one for one in denoisers(toy=options.toy) if not options.model or one.name in options.model]
    half = options.device == "cuda"
    if options.prepare is not None:
        for one in wanted:
            prepare(one, options.prepare / one.name, half=half, device=options.device, bare=options.bare)
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here; on a machine without one, --toy --device cpu shows that this works")
    torch.backends.cudnn.benchmark = True  # Finds algorithms by trying, as ONNX Runtime is told to here.
    if options.compile_ahead:
        for one in wanted:
            _compile(one, options)
        return
    report: dict[str, Any] = {"toy": options.toy, "steps": STEPS, "what": what_is_here(options.device), "results": []}
    with tempfile.TemporaryDirectory() as own:
        folder = options.prepared or Path(own)
        for one in wanted:
            if options.prepared is None and one.graph is not None:
                prepare(one, folder / one.name, half=half, device=options.device)
            for line in measure(one, folder / one.name, options):
                print(json.dumps(line), flush=True)
                report["results"].append(line)
                # After every line: what ends this run early takes nothing with it.
                options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _publish(report, options.out)


def _publish(report: dict[str, Any], out: Path) -> None:
    """Writes the chart and the page."""
    draw(report, list(WAYS), out.with_suffix(".png"))
    write(report, out.with_suffix(".md"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="a few channels: shows that it works")
    parser.add_argument("--model", action="append", help="sd15, sdxl, sd3-12b; repeat; default: all")
    parser.add_argument("--way", action="append", choices=tuple(WAYS), help="default: all that are there")
    parser.add_argument("--batch", type=int, action="append", help=f"default: {BATCHES}")
    parser.add_argument("--runs", type=int, default=50, help="timed calls of each, at the most")
    parser.add_argument("--seconds", type=float, default=60, help="a way whose time is spent begins no other batch")
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="graphs and weights there, measure nothing")
    parser.add_argument("--bare", action="store_true", help="with --prepare: graphs alone, a few megabytes")
    parser.add_argument("--prepared", type=Path, metavar="FOLDER", help="measure what was exported there")
    parser.add_argument("--compile-ahead", action="store_true", help="fill PyTorch's cache, measure nothing")
    parser.add_argument("--page", type=Path, metavar="JSON", help="draw what was measured before, measure nothing")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="path without suffix")
    return parser.parse_args()


def _compile(denoiser: Denoiser, options: argparse.Namespace) -> None:
    """Compiles a denoiser of any weights for every batch; PyTorch keeps the code on disk."""
    module = made(denoiser, Path(), options.device)
    runner = Torch(module, denoiser, options.device, compiles=True)
    for batch in options.batch or BATCHES:
        began = time.perf_counter()
        runner.run(denoiser.inputs(batch))
        print(f"{denoiser.name}: compiled for {batch} in {time.perf_counter() - began:.1f} s", flush=True)


def what_is_here(device: str) -> dict[str, Any]:
    """Machine, date and versions."""
    here = this_machine()
    gpu: dict[str, Any] = {}
    if device == "cuda":
        free, total = cuda.driver().memory()
        gpu = {"gpu": cuda.driver().name, "capability": here.gpu, "memory_bytes": total, "free_bytes": free}
    return {
        **gpu,
        "machine": machine(),
        "processor": platform.processor(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version() if device == "cuda" else None,  # type: ignore[no-untyped-call]
        "onnxruntime": onnxruntime.__version__,
        "providers": list(here.providers),
        "tensorrt": tensorrt_versions(),
    }


def measure(denoiser: Denoiser, folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each way and batch; a line with `skipped` or `failed` says why there are no numbers."""
    device = options.device
    try:
        module = made(denoiser, folder, device)
    except torch.cuda.OutOfMemoryError:
        yield {"model": denoiser.name, "skipped": "the GPU has too little memory for its weights"}
        return
    torch._dynamo.reset()
    torch.manual_seed(1)
    inputs = {batch: denoiser.inputs(batch) for batch in options.batch or BATCHES}
    try:
        reference = Torch(module, denoiser, device).run(next(iter(inputs.values())))
    except torch.cuda.OutOfMemoryError:
        yield {"model": denoiser.name, "skipped": "the GPU has too little memory for a call"}
        return
    for way in options.way or WAYS:
        base = {"model": denoiser.name, "way": way}
        _collect(device)
        runner: Runner | None = None
        try:
            began = time.perf_counter()
            runner = WAYS[way](denoiser, module, folder, device)
            opened = time.perf_counter() - began
            for line in _batches(runner, inputs, reference, options):
                yield {**base, "open_seconds": opened, **line}
        except Skipped as reason:
            yield {**base, "skipped": str(reason)}
        except Exception as error:  # A way that fails says so, and the others go on.
            yield {**base, "failed": f"{type(error).__name__}: {error}"[:600]}
        finally:
            if runner is not None:
                runner.close()


def _collect(device: str) -> None:
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def _batches(
    runner: Runner, inputs: Mapping[int, Any], reference: Array, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    start = time.perf_counter()
    for number, (batch, given) in enumerate(inputs.items()):
        if number and time.perf_counter() - start > options.seconds:
            yield {"batch": batch, "skipped": f"the {options.seconds:g} s of this way were spent"}
            continue
        runner.forget()
        began = time.perf_counter()
        answer = runner.run(given)  # Compiles, finds algorithms: not counted.
        first = time.perf_counter() - began
        answer = runner.run(given)  # Shapes that came twice are recorded, where a way does.
        seconds: list[float] = []
        while len(seconds) < options.runs and (len(seconds) < _LEAST_RUNS or sum(seconds) < _TIMED_SECONDS):
            began = time.perf_counter()
            answer = runner.run(given)
            seconds.append(time.perf_counter() - began)
        step = statistics.median(seconds)
        line = {
            "batch": batch,
            "ms_per_step": 1000 * step,
            "images_per_second": batch / (STEPS * step),
            "runs": len(seconds),
            "first_call_seconds": first,
            "memory_bytes": runner.memory(),
        }
        if not number:
            line["difference_to_eager"] = float(np.abs(answer - reference).max() / np.abs(reference).max())
        yield line


if __name__ == "__main__":
    main()
