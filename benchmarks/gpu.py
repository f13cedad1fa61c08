"""What a machine's GPU does with denoisers of full size, by every way to run them that is there.

`python -m benchmarks.gpu --out gpu` detects what is there and writes gpu.json and gpu.png. Weights are random: nothing
is downloaded. `--toy --device cpu` goes the same way with a few channels: that says that it works, nothing of speed.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.gpu_models import Denoiser, denoisers
from benchmarks.gpu_runners import Compiled, Eager, Runner, Skipped, memory, onnx_runner, tensorrt_runner
from benchmarks.measuring import machine
from diptych.engines import cuda
from diptych.engines.base import Array
from diptych.engines.machine import tensorrt_versions, this_machine
from diptych.errors import DiptychError

BATCHES = (1, 4, 8)
# What a picture is counted as: calls of the denoiser, one a step, without guidance.
STEPS = 30
Ways = Mapping[str, Callable[[Denoiser, Any, str, Path], Runner]]
WAYS: Ways = {
    "torch eager": lambda _, module, device, work: Eager(module, device),
    "torch.compile": lambda _, module, device, work: Compiled(module, device),
    "onnxruntime": onnx_runner,
    "tensorrt": tensorrt_runner,
}


def main() -> None:
    """Measures, and writes both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="a few channels: shows that it works")
    parser.add_argument("--model", action="append", help="sd15, sdxl, transformer-12b; repeat; default: all")
    parser.add_argument("--way", action="append", choices=tuple(WAYS), help="default: all that are there")
    parser.add_argument("--runs", type=int, default=20, help="timed calls of each")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="path without suffix")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here; on a machine without one, --toy --device cpu shows that this works")
    wanted = [one for one in denoisers(toy=options.toy) if not options.model or one.name in options.model]
    results = [line for one in wanted for line in measure(one, options.device, options.way or list(WAYS), options.runs)]
    report = {"toy": options.toy, "steps": STEPS, "what": what_is_here(options.device), "results": results}
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    draw(report, options.out.with_suffix(".png"))


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
        "onnxruntime": onnxruntime.__version__,
        "providers": list(here.providers),
        "tensorrt": tensorrt_versions(),
    }


def measure(denoiser: Denoiser, device: str, ways: Sequence[str], runs: int) -> list[dict[str, Any]]:
    """One line for each way and batch; a line with `skipped` says why there are no numbers."""
    torch.manual_seed(0)
    try:
        with torch.device(device):
            dtype = torch.float16 if device == "cuda" else torch.float32
            torch.set_default_dtype(dtype)
            module = denoiser.make().eval().requires_grad_(False)
    except torch.cuda.OutOfMemoryError:
        return [{"model": denoiser.name, "skipped": "the GPU has too little memory for its weights"}]
    finally:
        torch.set_default_dtype(torch.float32)
    inputs = {batch: denoiser.inputs(batch) for batch in BATCHES}
    reference = Eager(module, device).run(inputs[BATCHES[0]])
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        for way in ways:
            base = {"model": denoiser.name, "way": way}
            before = memory(device)
            try:
                runner = WAYS[way](denoiser, module, device, Path(work))
                lines += [{**base, **line} for line in _batches(runner, inputs, reference, device, before, runs)]
                runner.close()
            except Skipped as reason:
                lines.append({**base, "skipped": str(reason)})
            except (DiptychError, torch.cuda.OutOfMemoryError) as error:
                lines.append({**base, "failed": str(error)[:300]})
            print(*(json.dumps(line) for line in lines if line.get("way") == way), sep="\n", flush=True)
            gc.collect()
            if device == "cuda":
                torch.cuda.empty_cache()
    return lines


def _batches(
    runner: Runner, inputs: Mapping[int, Any], reference: Array, device: str, before: int, runs: int
) -> list[dict[str, Any]]:
    lines = []
    for batch, given in inputs.items():
        began = time.perf_counter()
        answer = runner.run(given)  # Compiles, finds algorithms, records: not counted.
        first = time.perf_counter() - began
        seconds = []
        for _ in range(runs):
            began = time.perf_counter()
            answer = runner.run(given)
            seconds.append(time.perf_counter() - began)
        step = statistics.median(seconds)
        line = {
            "batch": batch,
            "ms_per_step": 1000 * step,
            "images_per_second": batch / (STEPS * step),
            "first_call_seconds": first,
            "memory_bytes": max(0, memory(device) - before),
        }
        if batch == BATCHES[0]:
            line["difference_to_eager"] = float(np.abs(answer - reference).max() / np.abs(reference).max())
        lines.append(line)
    return lines


def draw(report: Mapping[str, Any], path: Path) -> None:
    """A chart for each model: milliseconds a step by batch, one line a way."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [line for line in report["results"] if "ms_per_step" in line]
    names = list(dict.fromkeys(line["model"] for line in measured))
    figure, axes = pyplot.subplots(1, max(1, len(names)), figsize=(4.6 * max(1, len(names)), 3.6), squeeze=False)
    for name, axis in zip(names, axes[0], strict=False):
        for number, way in enumerate(WAYS):
            own = [line for line in measured if (line["model"], line["way"]) == (name, way)]
            steps = [line["ms_per_step"] for line in own]
            if own:
                axis.plot([line["batch"] for line in own], steps, "o-", color=f"C{number}", label=way)
        axis.set(title=name, xlabel="pictures in a call", xticks=BATCHES)
        axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("milliseconds a step")
    axes[0][0].legend(frameon=False, loc="upper left")
    here = report["what"]
    toy = "toy sizes, says nothing of speed · " if report["toy"] else ""
    figure.suptitle(f"{toy}{here.get('gpu', 'CPU')} · {here['machine']}", fontsize=9, color="#555555")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
