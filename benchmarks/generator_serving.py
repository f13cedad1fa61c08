"""What the service costs beside the work itself: the bare loop against calls over loopback, memory, and the command."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence
from pathlib import Path

from benchmarks.generator_report import Line, Outcome, Verdict
from benchmarks.measuring import added_percent, percentile, side_by_side, started
from diptych.client import AsyncClient
from diptych.diffusion import Defaults, Pipeline, Row, RowSpec, open_pipeline
from diptych.images import to_message
from diptych.repository import ModelRepository

STEPS = 20
TOGETHER = 8
TARGET_PERCENT = 3.0
TARGET_MIB = 1.2 * 1024
TARGET_SECONDS = 3.0
PROMPT = "a smiling sun"


async def measure(given: argparse.Namespace) -> list[Outcome]:
    """The service's own share, its memory and the time of the command."""
    threads = given.threads or os.cpu_count() or 1
    local = ModelRepository().open("diptych-icons")
    pipeline = open_pipeline(local.directory, Defaults.from_table(local.manifest.defaults), threads=threads)
    pipeline.warm_up()
    async with (
        started("generator", "--threads", str(threads)) as address,
        AsyncClient(generator_address=address) as client,
    ):
        lines = [
            await _overhead(pipeline, client, given.runs, name, count, watched)
            for name, count, watched in (
                ("one", 1, False),
                ("one, every step watched", 1, True),
                (f"{TOGETHER} at once", TOGETHER, False),
            )
        ]
        resident = _resident_mib()
        taken = [await _command(address) for _ in range(max(3, given.runs // 2))]
    pipeline.close()
    seconds, share = percentile(taken, 0.5), float(lines[0]["overhead, %"])
    verdicts = [
        Verdict(
            "what the service adds to one picture", f"{share:+.1f} %", f"{TARGET_PERCENT} %", share <= TARGET_PERCENT
        ),
        Verdict("generator process", f"{resident:.0f} MiB", f"{TARGET_MIB:.0f} MiB", resident <= TARGET_MIB),
        Verdict(
            f"diptych generate, {STEPS} steps", f"{seconds:.2f} s", f"{TARGET_SECONDS:g} s", seconds <= TARGET_SECONDS
        ),
    ]
    return [Outcome(f"pictures of {STEPS} guided steps through the service, PNG included", lines, verdicts)]


async def _overhead(pipeline: Pipeline, client: AsyncClient, runs: int, name: str, count: int, watched: bool) -> Line:
    hear = (lambda _: None) if watched else None

    async def served() -> None:
        await asyncio.gather(
            *(client.generate(PROMPT, seed=seed, num_inference_steps=STEPS, on_event=hear) for seed in range(count))
        )

    async def loop() -> None:
        await asyncio.to_thread(_bare, pipeline, count)

    # A part of a percent is looked for, so a single picture, which is quick, is drawn often.
    bare, over = await side_by_side(loop, served, runs * (6 if count == 1 else 1))
    return {
        "pictures": name,
        "bare loop, ms": percentile(bare, 0.5),
        "served, ms": percentile(over, 0.5),
        "overhead, %": added_percent(bare, over),
    }


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
        to_message(pipeline.finish(row))


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
