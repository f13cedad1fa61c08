"""One picture from text to pixels with a model of full size: diffusers' pipeline against ours, on the same weights."""

import argparse
import time

import numpy as np

from benchmarks.generator_report import Line, Outcome, Verdict
from benchmarks.generator_subject import STEPS, Theirs, open_stage, ours, tell
from benchmarks.measuring import percentile
from diptych.images import Pixels

TARGET = 1.3
SEEDS = (1, 2)


async def measure(given: argparse.Namespace) -> list[Outcome]:
    """Milliseconds a picture, how far ours is ahead, and how far each is from diffusers in single precision."""
    remarks: list[str] = []
    stage = await open_stage(given)
    own = ours(stage.pipeline)

    async def draw_own(prompt: str, seed: int, steps: int) -> Pixels:
        return await stage.worker.run(own, prompt, seed, steps)

    theirs = {"diffusers, eager": Theirs(given.model, given.device)}
    if given.compile:
        theirs["diffusers, torch.compile"] = Theirs(given.model, given.device, compiled=True)
    taken: dict[str, list[float]] = {"ours": []}
    pictures: dict[str, list[Pixels]] = {"ours": [await draw_own("sun", seed, STEPS) for seed in SEEDS]}
    for label in list(theirs):
        began = time.perf_counter()
        try:
            pictures[label] = [theirs[label].draw("sun", seed, STEPS) for seed in SEEDS]
            taken[label] = []
        except RuntimeError as error:  # What the compiler lacks here is told, and the rest is measured.
            remarks.append(f"{label} does not work here: {str(error).splitlines()[0]}")
            theirs.pop(label)
        tell(f"{label}: first pictures after {time.perf_counter() - began:.1f} s")
    for run in range(given.runs):
        # A prompt of its own each, for ours remembers those that it encoded.
        began = time.perf_counter()
        await draw_own(f"sun {run}", run, STEPS)
        taken["ours"].append(1e3 * (time.perf_counter() - began))
        for label, pipe in theirs.items():
            began = time.perf_counter()
            pipe.draw(f"sun {run}", run, STEPS)
            taken[label].append(1e3 * (time.perf_counter() - began))
        tell(str({label: round(values[-1], 1) for label, values in taken.items()}))
    exact = theirs["diffusers, eager"]
    exact.exact()
    reference = [exact.draw("sun", seed, STEPS) for seed in SEEDS]
    return [_outcome(taken, pictures, reference, remarks)]


def _outcome(
    taken: dict[str, list[float]], pictures: dict[str, list[Pixels]], reference: list[Pixels], remarks: list[str]
) -> Outcome:
    p50 = {label: percentile(values, 0.5) for label, values in taken.items()}
    near = {label: _psnr(drawn, reference) for label, drawn in pictures.items()}
    lines: list[Line] = [
        {
            "way": label,
            "p50, ms": p50[label],
            "fastest, ms": min(values),
            "ours is faster by": p50[label] / p50["ours"],
            "PSNR to single precision, dB": near[label],
            "PSNR to ours, dB": _psnr(pictures[label], pictures["ours"]),
        }
        for label, values in taken.items()
    ]
    ahead = p50["diffusers, eager"] / p50["ours"]
    spread = np.mean([picture.std() for picture in reference])
    side = reference[0].shape[0]
    return Outcome(
        f"one picture of {side} x {side}, {STEPS} guided steps, text to pixels",
        lines,
        [
            Verdict("faster than diffusers eager", f"{ahead:.2f} times", f"{TARGET} times", ahead >= TARGET),
        ],
        [f"the pictures compared have a standard deviation of {spread:.0f} of 255", *remarks],
    )


def _psnr(some: list[Pixels], others: list[Pixels]) -> float:
    error = float(np.mean([(one.astype(float) - other) ** 2 for one, other in zip(some, others, strict=True)]))
    return 10 * float(np.log10(255**2 / error)) if error else 99.0
