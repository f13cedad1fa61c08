"""Which options of ONNX Runtime's CUDA provider run a denoiser fastest: how convolutions' algorithms are found, and
in which layout they run.

`python -m benchmarks.gpu_options --prepared FOLDER/sd15 --out gpu-options.json`, after `python -m benchmarks.gpu
--prepare FOLDER --model sd15`. `first_seconds` is the first call of a batch, where algorithms are found: it is what a
service pays whenever a new batch size comes.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.gpu_graphs import FOR_CUDA, FUSED
from diptych.engines.base import Array
from diptych.engines.onnx import OnnxEngine
from diptych.engines.providers import CUDA

_FIXED = {"use_tf32": "1", "arena_extend_strategy": "kSameAsRequested"}
TRIED = (
    (FUSED, {"cudnn_conv_algo_search": "HEURISTIC"}),
    (FUSED, {"cudnn_conv_algo_search": "EXHAUSTIVE"}),
    (FUSED, {"cudnn_conv_algo_search": "HEURISTIC", "prefer_nhwc": "1"}),
    (FOR_CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}),
    (FOR_CUDA, {"cudnn_conv_algo_search": "EXHAUSTIVE"}),
)
_BATCHES, _RUNS = (2, 8), 20


def main() -> None:
    """Times each set of options, and writes what it found after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--cpu", action="store_true", help="no GPU: shows that it works")
    parser.add_argument("--out", type=Path, default=Path("gpu-options.json"))
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for file, settings in TRIED[:1] if options.cpu else TRIED:
        line: dict[str, Any] = {"file": file, **settings}
        try:
            line |= measure(options.prepared / file, settings, cpu=options.cpu)
        except Exception as error:  # One set of options that fails says so, and the others go on.
            line["failed"] = f"{type(error).__name__}: {error}"[:400]
        print(json.dumps(line), flush=True)
        lines.append(line)
        options.out.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")


def measure(path: Path, settings: dict[str, str], *, cpu: bool) -> dict[str, Any]:
    """Seconds to open, and for each batch of its first call and of a call on average, by the median."""
    providers: list[Any] = ["CPUExecutionProvider"] if cpu else [(CUDA, {**_FIXED, **settings}), "CPUExecutionProvider"]
    specs = OnnxEngine(path.with_name(FUSED), providers=["CPUExecutionProvider"], keep_memory=False).inputs
    began = time.perf_counter()
    session = onnxruntime.InferenceSession(str(path), providers=providers)
    found: dict[str, Any] = {"open_seconds": time.perf_counter() - began, "provider": session.get_providers()[0]}
    for batch in _BATCHES:
        inputs = {spec.name: _random(spec.shape, batch, cpu) for spec in specs}
        seconds = []
        for _ in range(2 if cpu else _RUNS + 1):
            began = time.perf_counter()
            session.run(None, inputs)
            seconds.append(time.perf_counter() - began)
        found[f"batch_{batch}"] = {"first_seconds": seconds[0], "ms": 1000 * statistics.median(seconds[1:])}
    return found


def _random(shape: tuple[int | str, ...], batch: int, cpu: bool) -> Array:
    side = 8 if cpu else 64
    sizes = [size if isinstance(size, int) else batch if axis == 0 else side for axis, size in enumerate(shape)]
    return np.random.default_rng(0).standard_normal(sizes).astype(np.float32)


if __name__ == "__main__":
    main()
