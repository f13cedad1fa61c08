"""How long the things people do most take, warm, one at a time, as the caller's clock sees them.

    python -m benchmarks.latency [--runs N] [--threads N]

Starts the three services, measures, stops them: a plan, a default picture, and the edits with a model.
"""

import argparse
import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import machine, percentile, started
from diptych.client import AsyncClient
from diptych.types import Picture

GOALS = (
    "draw a red apple icon, cut out the background and make it four times bigger",
    "a watercolor lighthouse at dawn",
    "remove the background, then turn it by 90 degrees",
    "make it a bit warmer and brighter please",
    "crop it square and enlarge it twice",
)


async def timed(work: Callable[[], Awaitable[object]], runs: int) -> list[float]:
    """Milliseconds of each of `runs` calls, after two that are not counted."""
    await work()
    await work()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        await work()
        taken.append(1e3 * (time.perf_counter() - began))
    return taken


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="measured runs of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="threads for each engine; 0 leaves it to them")
    given = parser.parse_args()
    threads = ("--threads", str(given.threads))
    rows: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(started("generator", *threads))
        editor = await stack.enter_async_context(started("editor", *threads))
        peers = ("--generator-address", generator, "--editor-address", editor)
        address = await stack.enter_async_context(started("orchestrator", *threads, *peers))
        client = await stack.enter_async_context(
            AsyncClient(address, generator_address=generator, editor_address=editor)
        )
        for goal in GOALS:
            plans = await timed(lambda goal=goal: client.plan(goal, assumed_images=1), given.runs)  # type: ignore[misc]
            rows.setdefault("plan a goal", []).extend(plans)
        rows["draw one picture, 256 px, 16 steps, guided"] = await timed(
            lambda: client.generate("a red apple icon", seed=1, num_inference_steps=16), given.runs
        )
        rows["draw one picture, 256 px, turbo"] = await timed(
            lambda: client.generate("a red apple icon", seed=1, model="diptych-icons-turbo"), given.runs
        )
        drawn: Picture = (await client.generate("a red apple icon", seed=1)).images[0]
        for edit in ("remove_background", "upscale:scale=2", "upscale:scale=4", "color_correct:exposure=0.5"):
            rows[f"{edit} on 256 px"] = await timed(lambda edit=edit: client.edit(drawn, [edit]), given.runs)  # type: ignore[misc]
    table = Table(title=machine())
    for heading in ("", "p50, ms", "p95, ms"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, taken in rows.items():
        table.add_row(name, f"{percentile(taken, 0.5):.1f}", f"{percentile(taken, 0.95):.1f}")
    console = Console(width=100)
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    console.print(f"largest resident memory of a service process: {peak:.0f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
