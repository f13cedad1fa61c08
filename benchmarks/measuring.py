"""What the benchmarks share: services as processes, percentiles, and a line that says which machine it was."""

import asyncio
import datetime
import math
import os
import platform
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

START_SECONDS = 180.0


@asynccontextmanager
async def running(service: str, *flags: str) -> AsyncIterator[tuple[str, int]]:
    """The address and process id of a service started as a process, stopped at the end."""
    command = [sys.executable, "-m", f"services.{service}", "--port", "0", "--log-level", "warning", *flags]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        if process.stdout is None:
            raise SystemExit(f"{service} has no output to read")
        line = (await asyncio.wait_for(process.stdout.readline(), START_SECONDS)).decode()
        if not line.startswith(f"ready {service} "):
            raise SystemExit(f"{service} did not start; its own words are above")
        yield line.split()[2], process.pid
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


@asynccontextmanager
async def started(service: str, *flags: str) -> AsyncIterator[str]:
    """The address of a service started as a process, stopped at the end."""
    async with running(service, *flags) as (address, _):
        yield address


def peak_memory(process: int) -> int:
    """The most bytes that a running process of this machine and its children ever held, each on its own. Linux."""
    status = Path(f"/proc/{process}/status").read_text()
    children = Path(f"/proc/{process}/task").glob("*/children")
    own = 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return own + sum(peak_memory(int(child)) for path in children for child in path.read_text().split())


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


async def side_by_side(
    first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]], runs: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of both, run by turns, each going first every other time; one run before that is not counted."""
    taken: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        pair = [(first, taken[0]), (second, taken[1])]
        for work, times in pair if run % 2 else reversed(pair):
            began = time.perf_counter()
            await work()
            if run:
                times.append(1e3 * (time.perf_counter() - began))
    return taken


def added_percent(less: Sequence[float], more: Sequence[float]) -> float:
    """What the second took longer than the first, in percent: the mean of the middle half of the ratios of neighbours.

    Neighbours in time share the machine's moods, and the middle half leaves its fits out.
    """
    ratios = sorted(after / before for before, after in zip(less, more, strict=True))
    cut = len(ratios) // 4
    middle = ratios[cut : len(ratios) - cut]
    return 100 * (sum(middle) / len(middle) - 1)


def machine() -> str:
    """Date, machine, load and Python, for the head of a report."""
    cpu = f"{os.cpu_count()} logical cores, load {os.getloadavg()[0]:.1f}"
    return f"{datetime.date.today()} · {platform.machine()} · {cpu} · Python {platform.python_version()}"
