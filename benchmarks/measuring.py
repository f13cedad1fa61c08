"""What the benchmarks share: services as processes, percentiles, and a line that says which machine it was."""

import asyncio
import datetime
import math
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Sequence
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


def machine() -> str:
    """Date, machine, load and Python, for the head of a report."""
    cpu = f"{os.cpu_count()} logical cores, load {os.getloadavg()[0]:.1f}"
    return f"{datetime.date.today()} · {platform.machine()} · {cpu} · Python {platform.python_version()}"
