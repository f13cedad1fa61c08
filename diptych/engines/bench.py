"""How long one graph takes on this machine, alone and warm."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.engines.base import Array, Precision, TensorSpec
from diptych.engines.select import open_engine


@dataclass(frozen=True)
class GraphTiming:
    """Milliseconds of a run. `first_ms` is the run before those that count; `shapes` those of the inputs."""

    engine: str
    provider: str
    shapes: dict[str, tuple[int, ...]]
    runs: int
    first_ms: float
    median_ms: float
    p95_ms: float


def time_graph(
    path: Path, *, batch: int = 1, size: int = 256, runs: int = 10, threads: int = 0, precision: Precision = "fp32"
) -> GraphTiming:
    """Times runs on zeros, after one that does not count. Sizes that vary are `batch` first and `size` elsewhere.

    InvalidRequest or InternalError where the graph takes other sizes.
    """
    engine = open_engine(path, threads=threads, precision=precision)
    try:
        inputs = {spec.name: _zeros(spec, batch, size) for spec in engine.inputs}
        seconds = []
        for _ in range(runs + 1):
            began = time.perf_counter()
            engine.run(inputs)
            seconds.append(time.perf_counter() - began)
    finally:
        engine.close()
    first, *rest = (1000 * each for each in seconds)
    shapes = {name: array.shape for name, array in inputs.items()}
    median, p95 = np.percentile(rest, (50, 95))
    return GraphTiming(engine.name, engine.provider, shapes, runs, first, float(median), float(p95))


def _zeros(spec: TensorSpec, batch: int, size: int) -> Array:
    shape = [
        wanted if isinstance(wanted, int) else batch if axis == 0 else size for axis, wanted in enumerate(spec.shape)
    ]
    return np.full(shape, "", object) if spec.dtype == "object" else np.zeros(shape, spec.dtype)
