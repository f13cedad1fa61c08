"""Random lives in a running batch, while steps run on a thread of their own: who joins, leaves, is cancelled, comes too
late or breaks a step, and a batcher that is closed under all of them."""

import asyncio
import gc
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pytest

from diptych.errors import DeadlineExceeded, ServiceUnavailable
from diptych.serving.continuous_batcher import ContinuousBatcher, Sketch
from diptych.serving.worker import Worker

CALLERS = 60


class BrokenError(Exception):
    pass


class Sample:
    """A row that notes which steps it got."""

    def __init__(self, key: str, num_steps: int, samples: int, breaks_at: int | None) -> None:
        self.key, self.num_steps, self.samples, self.breaks_at = key, num_steps, samples, breaks_at
        self.steps = 0
        self.gone_at: int | None = None

    @property
    def finished(self) -> bool:
        return self.steps >= self.num_steps


class Device:
    """Steps samples and holds the batcher to its word; each call takes its own time."""

    def __init__(self, seed: int, max_rows: int) -> None:
        self._chance, self._max_rows = random.Random(seed), max_rows
        self._turn = threading.Lock()
        self.faults: list[str] = []
        self.num_calls = 0

    def step(self, rows: Sequence[Sample]) -> None:
        if not self._turn.acquire(blocking=False):
            self.faults.append("two calls at once")
            return
        try:
            self.num_calls += 1
            if not 1 <= len(rows) <= self._max_rows or len(set(rows)) != len(rows) or len({r.key for r in rows}) != 1:
                self.faults.append(f"a call of {len(rows)}")
            self.faults += ["a step too many" for row in rows if row.finished]
            self.faults += ["a step for the gone" for row in rows if row.gone_at not in (None, row.steps)]
            time.sleep(self._chance.choice([0, 0, 0.0002, 0.002]))
            for row in rows:
                if row.breaks_at == row.steps:
                    raise BrokenError(row.key)  # Those before it have moved on already.
                row.steps += 1
        finally:
            self._turn.release()


async def call(batcher: ContinuousBatcher[Sample], chance: random.Random, outcomes: Counter[str]) -> None:
    """One caller's whole life; `outcomes` counts how they end."""
    key = chance.choice("aab")
    breaks_at = chance.randint(0, 5) if chance.random() < 0.05 else None
    rows = [
        Sample(key, chance.choice([0, 1, 3, 8, 50]), chance.choice([1, 2]), breaks_at)
        for _ in range(chance.randint(1, 3))
    ]
    leaves_after = chance.randint(0, 20) if chance.random() < 0.3 else None
    allowed = chance.choice([None, None, 30.0, 0.02])
    await asyncio.sleep(chance.random() * 0.3)
    deadline = None if allowed is None else time.monotonic() + allowed
    seen: dict[Sample, list[int]] = {row: [] for row in rows}
    try:
        with batcher.book([Sketch(key, row.num_steps, row.samples) for row in rows], deadline=deadline) as booking:
            assert 0 <= batcher.rows_before(booking) <= 3 * CALLERS
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * 0.01)  # It is prepared.
            async with batcher.submit(rows, deadline=deadline, booking=booking) as events:
                async for event in events:
                    seen[event.row].append(event.step)
                    assert event.remaining is None or event.remaining >= 0
                    assert event.at <= time.monotonic()
                    if leaves_after is not None and sum(map(len, seen.values())) > leaves_after:
                        outcomes["left"] += 1
                        return
        assert all(row.finished and steps == list(range(1, row.num_steps + 1)) for row, steps in seen.items())
        outcomes["done"] += 1
    except DeadlineExceeded:
        assert allowed == 0.02
        outcomes["late"] += 1
    except BrokenError as error:
        assert str(error) == key
        outcomes["broken"] += 1
    except ServiceUnavailable:
        outcomes["closed"] += 1
    finally:
        for row in rows:
            row.gone_at = row.steps  # A step under way may be its last.
        assert all(steps == list(range(1, len(steps) + 1)) for steps in seen.values())


async def live(seed: int, *, closes: bool) -> tuple[Counter[str], Device]:
    chance = random.Random(seed)
    max_rows = chance.choice([1, 3, 8])
    worker, device, outcomes = Worker("toy"), Device(seed, max_rows), Counter[str]()
    batcher = ContinuousBatcher[Sample](worker, device.step, max_rows=max_rows)
    callers = [asyncio.create_task(call(batcher, random.Random(seed * 1000 + n), outcomes)) for n in range(CALLERS)]
    killed = chance.sample(callers, CALLERS // 5)

    async def kill() -> None:
        for caller in killed:
            await asyncio.sleep(chance.random() * 0.05)
            caller.cancel()

    async def others() -> None:
        """Calls of others on the same thread, and a loop that is busy now and then."""
        while True:
            with suppress(ServiceUnavailable):
                await worker.run(time.sleep, 0.0003)
            time.sleep(chance.choice([0, 0, 0.004]))
            await asyncio.sleep(0.002)

    beside = [asyncio.create_task(kill()), asyncio.create_task(others())]
    async with asyncio.timeout(60):
        if closes:
            await asyncio.sleep(0.1 + chance.random() * 0.2)
            await batcher.close()
            calls = device.num_calls
        results = await asyncio.gather(*callers, return_exceptions=True)
        if closes:
            assert device.num_calls == calls
    for one in beside:
        one.cancel()
    await asyncio.wait(beside)
    assert [one for one in results if one is not None and not isinstance(one, asyncio.CancelledError)] == []
    await batcher._calls.rest()
    left = (batcher._places, batcher._owner, batcher._booked, batcher._ends or {})
    assert not any(left), left
    await worker.close()
    return outcomes, device


@pytest.mark.parametrize("seed", range(6))
def test_every_life_keeps_every_promise(seed: int) -> None:
    outcomes, device = asyncio.run(live(seed, closes=False))
    assert device.faults == []
    assert outcomes["done"] > 10
    assert outcomes["closed"] == 0


@pytest.mark.parametrize("seed", range(10, 13))
def test_closing_under_load_tells_everyone_and_runs_nothing_more(seed: int) -> None:
    outcomes, device = asyncio.run(live(seed, closes=True))
    assert device.faults == []
    assert outcomes["closed"] > 0


async def test_nothing_is_kept_of_rows_that_are_over() -> None:
    worker, device = Worker("toy"), Device(1, 8)
    batcher = ContinuousBatcher[Sample](worker, device.step, max_rows=8)
    kept: weakref.WeakSet[Sample] = weakref.WeakSet()

    async def draw(number: int) -> None:
        rows = [Sample("a", 3, 1, None) for _ in range(2)]
        kept.update(rows)
        with batcher.book([Sketch("a", 3, 1)] * 2) as booking:
            async with batcher.submit(rows, booking=booking) as events:
                async for _ in events:
                    if number % 3 == 0:
                        break

    for _ in range(10):
        await asyncio.gather(*(draw(number) for number in range(20)))
    await batcher._calls.rest()
    await worker.run(gc.collect)  # The thread forgets its last call with the next.
    gc.collect()
    assert len(kept) == 0
    await worker.close()
