"""What the service costs beside the work itself: the bare loop against calls over loopback, memory, and the command."""

import argparse
import asyncio
import io
import os
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import percentile, started
from diptych.client import AsyncClient
from diptych.diffusion import Defaults, Pipeline, Row, RowSpec, open_pipeline
from diptych.repository import ModelRepository

STEPS = 20
TOGETHER = 8
TARGET_SHARE = 0.03
TARGET_MIB = 1.2 * 1024
TARGET_SECONDS = 3.0
PROMPT = "a smiling sun"


async def measure(console: Console, given: argparse.Namespace) -> None:
    """Prints the service's own share, its memory and the time of the command."""
    threads = given.threads or os.cpu_count() or 1
    local = ModelRepository().open("diptych-icons")
    pipeline = open_pipeline(local.directory, Defaults.from_table(local.manifest.defaults), threads=threads)
    pipeline.warm_up()
    async with (
        started("generator", "--threads", str(threads)) as address,
        AsyncClient(generator_address=address) as client,
    ):
        await _overhead(console, pipeline, client, given.runs)
        resident = _resident_mib()
        word = "met" if resident <= TARGET_MIB else "missed"
        console.print(f"generator process: {resident:.0f} MiB resident, {TARGET_MIB:.0f} allowed: {word}")
        taken = [await _command(address) for _ in range(max(3, given.runs // 2))]
        p50 = percentile(taken, 0.5)
        word = "met" if p50 <= TARGET_SECONDS else "missed"
        console.print(f"diptych generate, {STEPS} steps: {p50:.2f} s, {TARGET_SECONDS:g} s allowed: {word}")
    pipeline.close()


async def _overhead(console: Console, pipeline: Pipeline, client: AsyncClient, runs: int) -> None:
    async def served(count: int) -> None:
        await asyncio.gather(*(client.generate(PROMPT, seed=seed, num_inference_steps=STEPS) for seed in range(count)))

    table = Table(title=f"pictures of {STEPS} guided steps, PNG included")
    for heading in ("", "bare loop, ms", "served, ms", "overhead"):
        table.add_column(heading, justify="right" if heading else "left")
    shares = {}
    for name, count in (("one", 1), (f"{TOGETHER} at once", TOGETHER)):
        bare, over = [], []
        for run in range(runs + 1):
            began = time.perf_counter()
            await asyncio.to_thread(_bare, pipeline, count)
            middle = time.perf_counter()
            await served(count)
            if run:  # The first is not counted.
                bare.append(1e3 * (middle - began))
                over.append(1e3 * (time.perf_counter() - middle))
        shares[name] = percentile(over, 0.5) / percentile(bare, 0.5) - 1
        table.add_row(name, f"{percentile(bare, 0.5):.0f}", f"{percentile(over, 0.5):.0f}", f"{shares[name]:+.1%}")
    console.print(table)
    word = "met" if shares["one"] <= TARGET_SHARE else "missed"
    console.print(f"the serving layer adds {shares['one']:.1%} to one picture, {TARGET_SHARE:.0%} allowed: {word}")


def _bare(pipeline: Pipeline, count: int) -> None:
    """The engine loop with all rows in each call, then pixels and files."""
    width, height = pipeline.sizes.native
    guidance, schedule = pipeline.defaults.guidance_scale, pipeline.default_schedule
    rows: Sequence[Row] = [
        pipeline.prepare(RowSpec(PROMPT, width, height, seed, STEPS, guidance, schedule)) for seed in range(count)
    ]
    while not rows[0].finished:
        pipeline.step(rows)
    for row in rows:
        Image.fromarray(pipeline.finish(row)).save(io.BytesIO(), "PNG")


async def _command(address: str) -> float:
    """Seconds of one `diptych generate`, Python's start included."""
    script = "from diptych.cli import main; main()"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "sun.png")
        flags = ["--steps", str(STEPS), "--seed", "1", "--address", address, "-o", str(output)]
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, "generate", PROMPT, *flags, stdout=DEVNULL, stderr=DEVNULL
        )
        code = await process.wait()
        seconds = time.perf_counter() - began
        if code or not output.exists():
            raise SystemExit("diptych generate failed")
    return seconds


def _resident_mib() -> float:
    """Memory of the generator, which is this process's only child."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    status = Path(f"/proc/{children[0]}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
