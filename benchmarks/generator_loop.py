"""What batching at every step adds to the bare loop: the same rows stepped by a loop, and by the batcher.

In one process: the rest of the service, and its files and wires, is measured by `generator_serving`.
"""

import argparse
import asyncio
import time
from collections.abc import Hashable, Sequence
from itertools import pairwise

from benchmarks.generator_report import Line, Outcome, Verdict
from benchmarks.generator_subject import Stage, open_stage, spec_of, tell
from benchmarks.measuring import added_percent, percentile, side_by_side
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
    spans: list[tuple[float, float]] = []

    def step(rows: Sequence[ModelRow]) -> None:
        began = time.perf_counter()
        step_together(rows)
        spans.append((began, time.perf_counter()))

    batcher: ContinuousBatcher[ModelRow] = ContinuousBatcher(stage.worker, step, max_rows=count)
    batcher.pace = _AllTogether()  # The same calls on both sides.
    between: list[float] = []

    async def loop() -> None:
        await stage.worker.run(_bare, stage, count)

    async def batched() -> None:
        spans.clear()
        rows = [await stage.decoding.run(stage.model.prepare, _spec(stage, seed)) for seed in range(count)]
        await asyncio.gather(*(_batched(batcher, row) for row in rows))
        between.extend(1e3 * (later[0] - earlier[1]) for earlier, later in pairwise(spans))

    bare, ours = await side_by_side(loop, batched, runs * (6 if count == 1 else 1))
    await batcher.close()
    line: Line = {
        "pictures": str(count),
        "bare loop, ms": percentile(bare, 0.5),
        "batcher, ms": percentile(ours, 0.5),
        "overhead, %": added_percent(bare, ours),
        "a step, ms": percentile(bare, 0.5) / STEPS,
        "between two steps, ms": percentile(between, 0.5),
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
