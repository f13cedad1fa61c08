"""Requests as a Poisson stream, of 4 to 50 steps each: ways of sharing one pipeline.

continuous           ours: rows join and leave at every step, the least work first
dynamic              whole requests are batched; a batch runs to its end, and only then answers and takes the next.
                     Rows that are finished leave its calls
dynamic, padded      the same, finished rows riding along to the end, as they do in one call of a batched pipeline
one at a time        no batching

Where requests queue, a machine that is slower by a tenth makes them wait for half as long again; so all ways take
turns with one stream after another.
"""

import argparse
import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.generator_report import Line, Outcome, Verdict
from benchmarks.generator_subject import MAX_ROWS, Stage, open_stage, spec_of, tell
from benchmarks.measuring import percentile
from diptych.diffusion import Pipeline, Row, RowSpec
from diptych.serving.continuous_batcher import ContinuousBatcher
from services.generator.models import ModelRow, step_together

STEPS = (4, 50)
TARGET = 0.6


@dataclass(eq=False)
class Request:
    """One picture to be drawn; times in seconds since the stream began."""

    spec: RowSpec
    arrives: float
    previewed: float = 0.0
    done: float = 0.0
    answered: asyncio.Event = field(default_factory=asyncio.Event)


Way = Callable[[Stage, "asyncio.Queue[Request]"], Awaitable[None]]


async def measure(given: argparse.Namespace, *, load: float) -> list[Outcome]:
    """Throughput and latency of every way at `load`, a part of what full calls can do."""
    stage = await open_stage(given)
    stage.capacity = capacity = stage.capacity or await stage.worker.run(_capacity, stage.pipeline)
    tell(f"capacity, {MAX_ROWS} rows in each call: {capacity:.2f} pictures a second")
    ways = {name: way for name, way in WAYS.items() if name in given.ways}
    count = _count(given, len(ways), min(load, 1.0) * capacity)
    done: dict[str, list[Request]] = {name: [] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for number in range(given.streams):
        for name, way in ways.items():
            requests = _stream(stage.pipeline, load * capacity, count, number)
            await _run(stage, way, requests)
            done[name] += requests
            seconds[name] += max(one.done for one in requests)
            tell(f"{load:.0%} {_line(name, requests, max(one.done for one in requests))}")
    streams = "1 stream" if given.streams == 1 else f"{given.streams} streams"
    lines = [_line(name, requests, seconds[name]) for name, requests in done.items()]
    means = {str(line["way"]): float(line["mean, s"]) for line in lines}
    shares = {name: means["continuous"] / means[name] for name in ("dynamic", "dynamic, padded") if name in means}
    return [
        Outcome(
            f"{streams} of {count} requests of {STEPS[0]} to {STEPS[1]} steps at {load:.0%} of capacity",
            lines,
            [
                Verdict(f"mean latency as a part of {name}'s", f"{share:.2f}", f"{TARGET}", share <= TARGET)
                for name, share in shares.items()
            ],
            [f"capacity, {MAX_ROWS} rows in each call: {capacity:.2f} pictures a second"],
        )
    ]


def _count(given: argparse.Namespace, ways: int, rate: float) -> int:
    """How many requests a stream has: as many as are asked for, or as fit in the time that is given."""
    if not given.seconds:
        return int(given.requests)
    requests: int = given.requests
    return max(8, min(requests, int(rate * given.seconds / (ways * given.streams))))


def _line(name: str, requests: Sequence[Request], seconds: float) -> Line:
    latencies = [one.done - one.arrives for one in requests]
    return {
        "way": name,
        "pictures/s": len(requests) / seconds,
        "mean, s": sum(latencies) / len(latencies),
        "p99, s": percentile(latencies, 0.99),
        "first preview, mean, s": sum(one.previewed - one.arrives for one in requests) / len(requests),
    }


def _capacity(pipeline: Pipeline) -> float:
    """Pictures of the mean number of steps that full calls give in a second."""
    rows = [pipeline.prepare(_spec(pipeline, seed, 12)) for seed in range(MAX_ROWS)]
    pipeline.step(rows)
    began = time.perf_counter()
    for _ in range(10):
        pipeline.step(rows)
    each = (time.perf_counter() - began) / 10
    return MAX_ROWS / (each * sum(STEPS) / 2)


def _stream(pipeline: Pipeline, rate: float, count: int, number: int) -> list[Request]:
    """Stream `number`: the same requests at the same moments every time."""
    chance, now, requests = random.Random(1 + number), 0.0, []
    for seed in range(count):
        now += chance.expovariate(rate)
        requests.append(Request(_spec(pipeline, seed, chance.randint(*STEPS)), now))
    return requests


def _spec(pipeline: Pipeline, seed: int, steps: int) -> RowSpec:
    return spec_of(pipeline, "a smiling sun" if pipeline.sizes.fixed else f"smiling sun number {seed}", seed, steps)


async def _run(stage: Stage, way: Way, requests: Sequence[Request]) -> None:
    queue: asyncio.Queue[Request] = asyncio.Queue()
    stage.began = time.perf_counter()

    async def arrive() -> None:
        for request in requests:
            await asyncio.sleep(max(0.0, request.arrives - stage.now()))
            queue.put_nowait(request)

    serving = asyncio.ensure_future(way(stage, queue))
    arriving = asyncio.create_task(arrive())
    await asyncio.gather(arriving, *(request.answered.wait() for request in requests))
    serving.cancel()
    await asyncio.wait([serving])


def _answer(stage: Stage, request: Request) -> None:
    request.done = stage.now()
    request.answered.set()


async def _continuous(stage: Stage, queue: "asyncio.Queue[Request]") -> None:
    batcher: ContinuousBatcher[ModelRow] = ContinuousBatcher(stage.worker, step_together, max_rows=MAX_ROWS)

    async def draw(request: Request) -> None:
        row = await stage.decoding.run(stage.model.prepare, request.spec)
        async with batcher.submit([row]) as steps:
            async for event in steps:
                if event.step == 1:
                    await stage.decoding.run(stage.model.preview, row)
                    request.previewed = stage.now()
        await stage.decoding.run(stage.model.finish, row)
        _answer(stage, request)

    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(draw(await queue.get()))


async def _dynamic(stage: Stage, queue: "asyncio.Queue[Request]", *, most: int, padded: bool) -> None:
    waiting: deque[Request] = deque()
    while True:
        waiting.append(await queue.get())
        while not queue.empty():
            waiting.append(queue.get_nowait())
        while waiting:
            batch = [waiting.popleft() for _ in range(min(most, len(waiting)))]
            await stage.worker.run(_to_the_end, stage, batch, padded)
            for request in batch:
                _answer(stage, request)
            while not queue.empty():
                waiting.append(queue.get_nowait())


def _to_the_end(stage: Stage, batch: Sequence[Request], padded: bool) -> None:
    pipeline = stage.pipeline
    rows: list[Row] = [pipeline.prepare(request.spec) for request in batch]
    # Only the time of what rides along counts, so it is a row of its own that never ends.
    riders = [pipeline.prepare(_spec(pipeline, 0, 200)) for _ in batch] if padded else []
    while live := [row for row in rows if not row.finished]:
        pipeline.step([*live, *riders[: len(rows) - len(live)]])
        for row, request in zip(rows, batch, strict=True):
            if not request.previewed:
                pipeline.preview(row)
                request.previewed = stage.now()
    for row in rows:
        pipeline.finish(row)


WAYS: dict[str, Way] = {
    "continuous": _continuous,
    "dynamic": partial(_dynamic, most=MAX_ROWS, padded=False),
    "dynamic, padded": partial(_dynamic, most=MAX_ROWS, padded=True),
    "one at a time": partial(_dynamic, most=1, padded=False),
}
