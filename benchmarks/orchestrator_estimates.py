"""How near the orchestrator's estimates come: goals at sizes it has seen nothing of, after a few at other sizes.

    python -m benchmarks.orchestrator_estimates     starts the services with an empty history, measures, stops them

Each goal runs at the learning sizes first. Then, at the other sizes, its plan's estimates are compared with what the
steps and the whole goal took. Target: within 30 % for most.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data

from benchmarks.measuring import machine, started
from diptych.client import AsyncClient

LEARNT, ASKED = (384, 640, 896), (512, 768)  # long sides, pixels
TOLERANCE = 0.30
GOALS = (
    "cut out the background",
    "make it warmer",
    "upscale it by 2",
    "blur the background",
    "make it brighter, then crop it square",
    "paint it like a mosaic",
    "a product on white for a shop",
    "draw a red apple icon and cut out the background",
    "quick draft of a fox icon",
)


@dataclass(frozen=True)
class Compared:
    """What was expected and what came, seconds."""

    what: str
    expected: float
    took: float

    @property
    def error(self) -> float:
        """Relative to what it took."""
        return (self.expected - self.took) / self.took


async def compare(client: AsyncClient, goal: str, side: int) -> tuple[list[Compared], Compared | None]:
    """The steps of one goal, and the whole; none where there was no estimate."""
    picture = Image.fromarray(data.astronaut()).resize((side, side * 3 // 4))  # type: ignore[no-untyped-call]
    images = [] if goal.startswith(("draw", "quick")) else [picture]
    plan = await client.plan(goal, images=images, timeout=60)
    result = await client.run(plan, images=images, timeout=600)
    seconds = {record.step_id: record.total_seconds - record.queue_seconds for record in result.records}
    steps = [
        Compared(f"{side}: {step.operation}", step.estimated_seconds, seconds[step.id])
        for step in plan.steps
        if step.estimated_seconds is not None
    ]
    whole = plan.estimated_seconds
    return steps, None if whole is None else Compared(f"{side}: {goal}", whole, result.total_seconds)


def report(title: str, compared: Sequence[Compared], console: Console) -> bool:
    """Prints a table; whether most are within the tolerance."""
    table = Table(title=title)
    for heading in ("", "expected, ms", "took, ms", "off by"):
        table.add_column(heading, justify="right" if heading else "left")
    for one in compared:
        table.add_row(one.what, f"{1e3 * one.expected:.0f}", f"{1e3 * one.took:.0f}", f"{one.error:+.0%}")
    console.print(table)
    near = sum(abs(one.error) <= TOLERANCE for one in compared)
    console.print(f"{near} of {len(compared)} within {TOLERANCE:.0%}")
    return 2 * near > len(compared)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0, help="threads for each engine; 0 leaves it to them")
    given = parser.parse_args()
    console = Console(width=100)
    async with AsyncExitStack() as stack:
        threads = ("--threads", str(given.threads))
        generator = await stack.enter_async_context(started("generator", *threads))
        editor = await stack.enter_async_context(started("editor", *threads))
        peers = ("--generator-address", generator, "--editor-address", editor)
        state = stack.enter_context(tempfile.TemporaryDirectory())
        address = await stack.enter_async_context(started("orchestrator", *threads, *peers, "--state", state))
        client = await stack.enter_async_context(AsyncClient(address))
        for goal in GOALS:
            for side in LEARNT:
                await compare(client, goal, side)
        steps: list[Compared] = []
        goals: list[Compared] = []
        for goal in GOALS:
            for side in ASKED:
                of_steps, whole = await compare(client, goal, side)
                steps += of_steps
                goals += [whole] if whole is not None else []
    console.print(machine())
    met = [report("steps", steps, console), report("whole goals", goals, console)]
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
