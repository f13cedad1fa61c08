"""Streams of requests replayed without a machine: what order and width of calls can bring, and what they cannot.

A call takes `fixed + each * rows`, and nothing else takes time; the rest is as in `generator_load`. That leaves out
whatever else a machine does meanwhile, so the ways can be compared to the percent, over many streams.

ours            the batcher's own choice, with the times that it learns by itself
so many rows    the same order, the width given
far-sighted     the same order, every width tried at every step, knowing who will come: nobody can serve so
dynamic         whole requests are batched, and finished rows leave the batch
dynamic, padded the same, finished rows riding along to the end, as they do in one call of a batched pipeline
one at a time   no batching: whole requests, first come, first served
lower bound     the least work first on a machine that is as quick alone as in full calls, or every request alone on a
                machine of its own, whichever is more: no order and no width can do better
"""

import argparse
import heapq
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from benchmarks.generator_report import Line, Outcome
from diptych.serving.choosing import AGING, Place, choose
from diptych.serving.pace import StepTimes

STEPS = (4, 50)
MAX_ROWS = 8
STREAMS = 20
# Milliseconds of the default model's denoiser on two cores: a call, and a guided row in it.
FIXED, EACH = 0.014, 0.026
LOADS = (0.7, 1.1)

Request = tuple[float, int]  # When it comes, in seconds, and how many steps it asks for.
Choose = Callable[[Sequence[Place["Steps"]], float], Sequence[Place["Steps"]]]


@dataclass(eq=False)
class Steps:
    """A row that is nothing but its steps; guided, so it brings two samples."""

    num_steps: int
    key: Hashable = None
    finished: bool = False
    samples: int = 2


@dataclass(frozen=True)
class Cost:
    """Seconds of a call."""

    fixed: float
    each: float

    def call(self, rows: int) -> float:
        """One with so many rows."""
        return self.fixed + self.each * rows


async def measure(given: argparse.Namespace) -> list[Outcome]:
    """Mean latency of every way as a part of dynamic's, and our width against the best one for other machines."""
    if given.call:
        return [_ways(given.requests, Cost(*(milliseconds / 1e3 for milliseconds in given.call)))]
    return [_ways(given.requests, Cost(FIXED, EACH)), _widths(given.requests)]


def _ways(count: int, cost: Cost) -> Outcome:
    ways: dict[str, Callable[[Sequence[Request]], float]] = {
        "ours": lambda stream: replay(stream, cost, learning()),
        **{f"{width} rows": partial(_of_width, cost, width) for width in (1, 2, 4, 6, 8)},
        "far-sighted": lambda stream: far_sighted(stream, cost),
        "dynamic": lambda stream: dynamic(stream, cost),
        "dynamic, padded": lambda stream: dynamic(stream, cost, padded=True),
        "one at a time": lambda stream: dynamic(stream, cost, most=1),
        "lower bound": lambda stream: bound(stream, cost),
    }
    streams = {load: [poisson(cost, load, count, seed) for seed in range(STREAMS)] for load in LOADS}
    means = {name: {load: fmean(map(way, streams[load])) for load in LOADS} for name, way in ways.items()}
    parts = {name: {load: own[load] / means["dynamic"][load] for load in LOADS} for name, own in means.items()}
    lines: list[Line] = [
        {"way": name}
        | {f"mean at {load:.0%}, s": means[name][load] for load in LOADS}
        | {f"of dynamic's at {load:.0%}": parts[name][load] for load in LOADS}
        for name in ways
    ]
    call = f"a call of n rows takes {1e3 * cost.fixed:.1f} ms + n times {1e3 * cost.each:.1f} ms"
    seen = " and ".join(f"{parts['far-sighted'][load]:.2f} at {load:.0%}" for load in LOADS)
    return Outcome(
        f"replayed: {STREAMS} streams of {count} requests, {call}",
        lines,
        remarks=[f"who knew the future would wait {seen} of dynamic's: order and width bring hardly more than that"],
    )


def _widths(count: int) -> Outcome:
    """What our width costs beside the best one, which differs by load and is not known beforehand."""
    lines: list[Line] = []
    for ratio in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0):
        cost, line = Cost(ratio, 1.0), dict[str, str | float]({"fixed part, in rows": ratio})
        for load in (0.5, *LOADS):
            streams = [poisson(cost, load, count, seed, max_rows=64) for seed in range(STREAMS // 4)]
            ours = fmean(replay(stream, cost, learning(max_rows=64)) for stream in streams)
            widths = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
            best = min(fmean(_of_width(cost, width, stream) for stream in streams) for width in widths)
            line[f"over the best at {load:.0%}, %"] = 100 * (ours / best - 1)
        lines.append(line)
    return Outcome("replayed: the width of calls against the best width, up to 64 rows", lines)


def poisson(cost: Cost, load: float, count: int, seed: int, *, max_rows: int = MAX_ROWS) -> list[Request]:
    """Requests at `load`, a part of what full calls can do."""
    rate = load * max_rows / (cost.call(max_rows) * sum(STEPS) / 2)
    chance, now, requests = random.Random(seed), 0.0, []
    for _ in range(count):
        now += chance.expovariate(rate)
        requests.append((now, chance.randint(*STEPS)))
    return requests


def learning(max_rows: int = MAX_ROWS) -> Callable[[Cost], Choose]:
    """The batcher's own choice, with times as it learns them."""

    def begin(cost: Cost) -> Choose:
        pace = StepTimes()

        def step(places: Sequence[Place[Steps]], now: float) -> Sequence[Place[Steps]]:
            chosen = choose(places, pace, max_rows=max_rows, now=now).step
            pace.learn(None, 2 * len(chosen), cost.call(len(chosen)))
            return chosen

        return step

    return begin


def replay(stream: Sequence[Request], cost: Cost, begin: Callable[[Cost], Choose]) -> float:
    """Mean seconds from coming to the last step, `begin(cost)` choosing who steps."""
    pick, now, coming, total = begin(cost), 0.0, list(reversed(stream)), 0.0
    places: list[Place[Steps]] = []
    while coming or places:
        now = now if places else max(now, coming[-1][0])
        while coming and coming[-1][0] <= now:
            arrived, steps = coming.pop()
            places.append(Place(Steps(steps), arrived, idle_since=now, group=object()))
        chosen = pick(places, now)
        now += cost.call(len(chosen))
        for place in chosen:
            place.steps += 1
            if place.steps == place.row.num_steps:
                places.remove(place)
                total += now - place.arrived
    return total / len(stream)


def _of_width(cost: Cost, width: int, stream: Sequence[Request]) -> float:
    alone = cost.call(1)

    def pick(places: Sequence[Place[Steps]], now: float) -> Sequence[Place[Steps]]:
        return sorted(places, key=lambda place: place.steps_left * alone + AGING * place.arrived)[:width]

    return replay(stream, cost, lambda _: pick)


def far_sighted(stream: Sequence[Request], cost: Cost) -> float:
    """Mean seconds when at every step that width is taken which turns out best, calls of six following."""
    now, nexts, total = 0.0, 0, 0.0
    live: list[list[float]] = []  # steps left, when it came
    while nexts < len(stream) or live:
        now = now if live else max(now, stream[nexts][0])
        while nexts < len(stream) and stream[nexts][0] <= now:
            live.append([stream[nexts][1], stream[nexts][0]])
            nexts += 1
        live.sort()
        widths = range(min(MAX_ROWS, len(live)), 0, -1)
        ahead = partial(_waited, stream[nexts : nexts + 40], cost, live, now)
        width = min(widths, key=ahead) if len(live) > 1 else 1
        now, waited = _call(live, width, now, cost)
        total += waited
    return total / len(stream)


def _waited(coming: Sequence[Request], cost: Cost, live: Sequence[Sequence[float]], now: float, width: int) -> float:
    """Seconds that all wait, the next call being of `width` and the others of six."""
    places, nexts, total = [list(place) for place in live], 0, 0.0
    while nexts < len(coming) or places:
        now = now if places else max(now, coming[nexts][0])
        while nexts < len(coming) and coming[nexts][0] <= now:
            places.append([coming[nexts][1], coming[nexts][0]])
            nexts += 1
        places.sort()
        now, waited = _call(places, width, now, cost)
        total, width = total + waited, 6
    return total


def _call(places: list[list[float]], width: int, now: float, cost: Cost) -> tuple[float, float]:
    """The time after a call with the first `width`, and the seconds that those waited who left with it."""
    now += cost.call(min(width, len(places)))
    for place in places[:width]:
        place[0] -= 1
    done = [place for place in places[:width] if not place[0]]
    places[:width] = [place for place in places[:width] if place[0]]
    return now, sum(now - arrived for _, arrived in done)


def dynamic(stream: Sequence[Request], cost: Cost, *, most: int = MAX_ROWS, padded: bool = False) -> float:
    """Mean seconds when whole requests are batched, first come, first served; `padded`: none leaves before the end."""
    now, first, total = 0.0, 0, 0.0
    while first < len(stream):
        now, last = max(now, stream[first][0]), first
        while last < len(stream) and stream[last][0] <= now and last - first < most:
            last += 1
        batch = stream[first:last]
        for step in range(max(steps for _, steps in batch)):
            now += cost.call(len(batch) if padded else sum(steps > step for _, steps in batch))
        total += sum(now - arrived for arrived, _ in batch)
        first = last
    return total / len(stream)


def bound(stream: Sequence[Request], cost: Cost) -> float:
    """Mean seconds that nobody can be under."""
    alone = fmean(steps * cost.call(1) for _, steps in stream)
    step, now, nexts, total = cost.call(MAX_ROWS) / MAX_ROWS, 0.0, 0, 0.0
    work: list[tuple[float, float]] = []  # seconds left, when it came
    while nexts < len(stream) or work:
        now = now if work else max(now, stream[nexts][0])
        while nexts < len(stream) and stream[nexts][0] <= now:
            heapq.heappush(work, (stream[nexts][1] * step, stream[nexts][0]))
            nexts += 1
        left, arrived = heapq.heappop(work)
        free = stream[nexts][0] - now if nexts < len(stream) else left
        if left <= free:
            now += left
            total += now - arrived
        else:
            now += free
            heapq.heappush(work, (left - free, arrived))
    return max(alone, total / len(stream))
