"""How far a build is from its model, and how far it may be."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.engines import Engine
from diptych.engines.base import Array, Precision
from diptych.errors import FailedPrecondition
from diptych.export.build_inputs import Inputs, Outputs

_TIMED_SECONDS = 1.5
_LEAST_RUNS, _MOST_RUNS = 3, 15


@dataclass(frozen=True)
class Errors:
    """The largest and the mean difference, as parts of the largest number in the reference's answers."""

    largest: float
    mean: float


@dataclass(frozen=True)
class Tolerance:
    """What a build may differ by; `psnr`, of whole pictures in dB, at least."""

    largest: float
    mean: float
    psnr: float


TOLERANCES: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(1e-3, 1e-4, 60.0),
    "fp16": Tolerance(5e-2, 5e-3, 40.0),
    "int8": Tolerance(5e-1, 3e-2, 30.0),
}


def answers(engine: Engine, samples: Sequence[Inputs], names: Sequence[str] | None = None) -> list[Outputs]:
    """What the engine gives for each sample."""
    wanted = {spec.name for spec in engine.inputs}
    return [engine.run({name: array for name, array in one.items() if name in wanted}, names) for one in samples]


def compare(expected: Sequence[Outputs], found: Sequence[Outputs]) -> Errors:
    """Over all samples and outputs; infinite where a number is none."""
    largest, means = 0.0, []
    for want, got in zip(expected, found, strict=True):
        for name, reference in want.items():
            reference = np.asarray(reference, np.float64)
            difference = np.abs(np.asarray(got[name], np.float64) - reference) / max(np.abs(reference).max(), 1e-6)
            if not np.isfinite(difference).all():
                return Errors(math.inf, math.inf)
            largest = max(largest, float(difference.max()))
            means.append(float(difference.mean()))
    return Errors(largest, statistics.fmean(means))


def company_error(engine: Engine, samples: Sequence[Inputs]) -> float | None:
    """How far rows are from themselves when other rows share their call, as a part of the range; 0 when not a bit is.

    Alone a row is repeated, so that both calls have one shape. None for a graph that takes one fixed number of rows.
    """
    names = [spec.name for spec in engine.inputs]
    if any(not spec.shape or isinstance(spec.shape[0], int) for spec in engine.inputs):
        return None
    own, other = samples[0], samples[-1]
    if len(samples) == 1 or any(own[name].shape != other[name].shape for name in names):
        other = {name: -own[name] if own[name].dtype.kind == "f" else own[name] for name in names}
    rows = len(own[names[0]])
    together = engine.run({name: np.concatenate([own[name], other[name]]) for name in names})
    alone = engine.run({name: np.concatenate([own[name], own[name]]) for name in names})
    return compare(
        [{name: array[:rows] for name, array in alone.items()}],
        [{name: array[:rows] for name, array in together.items()}],
    ).largest


def psnr_of(expected: Sequence[Array], found: Sequence[Array], *, peak: float) -> float:
    """Peak signal to noise over all pictures, dB, at most 100; minus infinity where a number is none."""
    squares = [
        np.mean((np.clip(np.asarray(a, np.float64), 0, peak) - np.clip(np.asarray(b, np.float64), 0, peak)) ** 2)
        for a, b in zip(expected, found, strict=True)
    ]
    error = float(np.mean(squares))
    if not math.isfinite(error):
        return -math.inf
    return min(100.0, 10 * math.log10(peak**2 / error)) if error else 100.0


def require(what: str, errors: Errors, allowed: Tolerance) -> None:
    """Nothing if the errors are within what is allowed; FailedPrecondition otherwise."""
    if errors.largest <= allowed.largest and errors.mean <= allowed.mean:
        return
    raise FailedPrecondition(
        f"{what} differs from the model by {errors.largest:.2g} of its range at most and {errors.mean:.2g} on average; "
        f"{allowed.largest:g} and {allowed.mean:g} are allowed; the build is not kept, try another precision",
        reason="BUILD_DIFFERS",
    )


def require_pictures(psnr: float, allowed: Tolerance) -> None:
    """Nothing if pictures are as near to the model's as they have to be; FailedPrecondition otherwise."""
    if psnr < allowed.psnr:
        raise FailedPrecondition(
            f"pictures of the build are {psnr:.1f} dB from the model's own, {allowed.psnr:g} dB are wanted; the build "
            "is not kept, try another precision",
            reason="BUILD_DIFFERS",
        )


def times(engines: Sequence[Engine], sample: Inputs) -> list[float]:
    """Milliseconds of one run of each engine, the median; turn by turn, so that a busy moment hits all."""
    feeds = [{spec.name: sample[spec.name] for spec in engine.inputs} for engine in engines]
    for engine, feed in zip(engines, feeds, strict=True):
        engine.run(feed)
    seconds: list[list[float]] = [[] for _ in engines]
    began = time.perf_counter()
    while len(seconds[0]) < _LEAST_RUNS or (
        len(seconds[0]) < _MOST_RUNS and time.perf_counter() - began < _TIMED_SECONDS
    ):
        for own, engine, feed in zip(seconds, engines, feeds, strict=True):
            start = time.perf_counter()
            engine.run(feed)
            own.append(time.perf_counter() - start)
    return [1000 * statistics.median(own) for own in seconds]
