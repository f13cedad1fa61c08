"""What batching at every step adds to the bare loop: the same rows stepped by a loop, and by the batcher.

In one process: the rest of the service, and its files and wires, is measured by `generator_serving`.
"""

import argparse
import asyncio
import time
from collections.abc import Hashable

from benchmarks.generator_report import Line, Outcome, Verdict
from benchmarks.generator_subject import Stage, open_stage, spec_of, tell
from benchmarks.measuring import percentile
from diptych.diffusion import RowSpec
from diptych.serving.continuous_batcher import ContinuousBatcher
from diptych.serving.pace import StepTimes
from services.generator.models import ModelRow, step_together

STEPS = 20
TARGET_PERCENT = 3.0
TOGETHER = (1, 8)


async def measure(given: argparse.Namespace) -> list[Outcome]:
    """Milliseconds of both for one row and for eight at once, text encoding included, decoding not."""
    stage = await open_stage(given)
    lines = [await _compare(stage, count, given.runs) for count in TOGETHER]
    worst = max(float(line["overhead, %"]) for line in lines)
    verdict = Verdict("what batching adds", f"{worst:+.1f} %", f"{TARGET_PERCENT} %", worst <= TARGET_PERCENT)
    return [Outcome(f"pictures of {STEPS} guided steps, stepped by the batcher", lines, [verdict])]


async def _compare(stage: Stage, count: int, runs: int) -> Line:
    batcher: ContinuousBatcher[ModelRow] = ContinuousBatcher(stage.worker, step_together, max_rows=count)
    batcher.pace = _AllTogether()  # The same calls on both sides.
    bare, batched = [], []
    for run in range(runs + 1):
        began = time.perf_counter()
        await stage.worker.run(_bare, stage, count)
        middle = time.perf_counter()
        rows = [await stage.decoding.run(stage.model.prepare, _spec(stage, seed)) for seed in range(count)]
        await asyncio.gather(*(_batched(batcher, row) for row in rows))
        if run:  # The first is not counted.
            bare.append(1e3 * (middle - began))
            batched.append(1e3 * (time.perf_counter() - middle))
    await batcher.close()
    # Neighbours in time share the machine's moods: their ratio says more than that of all.
    ratios = [one / other for one, other in zip(batched, bare, strict=True)]
    line: Line = {
        "pictures": str(count),
        "bare loop, ms": percentile(bare, 0.5),
        "batcher, ms": percentile(batched, 0.5),
        "overhead, %": 100 * (percentile(ratios, 0.5) - 1),
        "a step, ms": percentile(bare, 0.5) / STEPS,
    }
    tell(str(line))
    return line


def _bare(stage: Stage, count: int) -> None:
    rows = [stage.model.prepare(_spec(stage, seed)) for seed in range(count)]
    while not rows[0].finished:
        step_together(rows)


async def _batched(batcher: ContinuousBatcher[ModelRow], row: ModelRow) -> None:
    async with batcher.submit([row]) as steps:
        async for _ in steps:
            pass


def _spec(stage: Stage, seed: int) -> RowSpec:
    return spec_of(stage.pipeline, "a smiling sun", seed, STEPS)


class _AllTogether(StepTimes):
    """Calls as wide as there are rows."""

    def worthwhile(self, key: Hashable, samples: int) -> int | None:
        """No limit."""
        return None
