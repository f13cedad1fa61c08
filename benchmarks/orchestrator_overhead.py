"""How much time the orchestrator itself takes for a goal of two steps: total minus the steps' own times.

    python -m benchmarks.orchestrator_overhead                      starts the three services, measures, stops them
    python -m benchmarks.orchestrator_overhead --address HOST:PORT  measures services that run already

The goal is one whose steps are quick, so that they hide little, run one at a time. Target: at most 5 % of the total or
30 ms, whichever is larger, at p50 and at p95.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import machine, percentile, started
from diptych.client import AsyncClient
from diptych.v1 import orchestrator_pb2 as v1

GOAL = "draw a quick draft of a red apple icon and make it black and white"
TARGET_SHARE = 0.05
TARGET_SECONDS = 0.030


@dataclass(frozen=True)
class Run:
    """One goal, in seconds. `total` and `compute` as the orchestrator tells them, `seen` by the caller's clock."""

    total: float
    compute: float
    seen: float

    @property
    def overhead(self) -> float:
        """What the orchestrator adds."""
        return self.total - self.compute


async def measure(client: AsyncClient, goal: str) -> Run:
    """One run of the goal."""
    began = time.perf_counter()
    async for answer in client.run_goal(v1.RunGoalRequest(goal=v1.Goal(text=goal)), timeout=600):
        if answer.event.HasField("plan") and len(answer.event.plan.steps) != 2:
            raise SystemExit(f"{goal!r} is planned as {len(answer.event.plan.steps)} steps; two are measured here")
    seen = time.perf_counter() - began
    timing = answer.event.completed.timing
    total, compute = timing.total.ToNanoseconds() / 1e9, timing.compute.ToNanoseconds() / 1e9
    return Run(total, compute, seen)


def report(runs: Sequence[Run], console: Console) -> bool:
    """Prints the table; whether the target is met."""
    console.print(machine())
    table = Table(title=f"two-step goal, {len(runs)} runs, one at a time")
    for heading in ("", "p50", "p95", "worst"):
        table.add_column(heading, justify="right" if heading else "left")
    rows = {
        "steps' own time, ms": [1e3 * run.compute for run in runs],
        "total, ms": [1e3 * run.total for run in runs],
        "total seen by the caller, ms": [1e3 * run.seen for run in runs],
        "overhead, ms": [1e3 * run.overhead for run in runs],
        "overhead, % of total": [100 * run.overhead / run.total for run in runs],
    }
    for name, values in rows.items():
        shown = (percentile(values, 0.5), percentile(values, 0.95), max(values))
        table.add_row(name, *(f"{value:.1f}" for value in shown))
    console.print(table)
    met = True
    for share in (0.5, 0.95):
        allowed = max(TARGET_SHARE * percentile([run.total for run in runs], share), TARGET_SECONDS)
        overhead = percentile([run.overhead for run in runs], share)
        met = met and overhead <= allowed
        word = "met" if overhead <= allowed else "missed"
        console.print(f"p{share * 100:.0f}: {1e3 * overhead:.1f} ms of {1e3 * allowed:.1f} ms allowed: {word}")
    return met


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help="a running orchestrator; without it all three services are started")
    parser.add_argument("--goal", default=GOAL, help="a goal of two steps that needs no picture (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="measured runs (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="runs before those (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="threads for each engine; 0 leaves it to them")
    given = parser.parse_args()
    console = Console(width=100)
    async with AsyncExitStack() as stack:
        address, threads = given.address, ("--threads", str(given.threads))
        if address is None:
            generator = await stack.enter_async_context(started("generator", *threads))
            editor = await stack.enter_async_context(started("editor", *threads))
            peers = ("--generator-address", generator, "--editor-address", editor)
            address = await stack.enter_async_context(started("orchestrator", *threads, *peers))
        client = await stack.enter_async_context(AsyncClient(address))
        for _ in range(given.warmup):
            await measure(client, given.goal)
        runs = [await measure(client, given.goal) for _ in range(given.runs)]
    return 0 if report(runs, console) else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
