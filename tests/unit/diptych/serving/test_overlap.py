import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from diptych.errors import ServiceUnavailable
from diptych.serving.overlap import Ended, Overlap
from diptych.serving.worker import Worker


@dataclass(eq=False)
class Call:
    """A call that waits to be let go."""

    fails: bool = False
    wanted: bool = True
    begun: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        self.begun.set()
        assert self.go.wait(20)
        if self.fails:
            raise ZeroDivisionError


class Bench:
    """An overlap and what it told."""

    def __init__(self, worker: Worker) -> None:
        self.told: list[Ended[Call]] = []
        self.overlap: Overlap[Call] = Overlap(
            worker, Call.run, trim=lambda call: call if call.wanted else None, ended=self.told.append
        )


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("toy")
    yield worker
    await worker.close()


async def test_the_next_call_begins_while_the_event_loop_is_busy(worker: Worker) -> None:
    bench, first, second = Bench(worker), Call(), Call()
    assert bench.overlap.offer(first)
    assert not bench.overlap.offer(second)
    first.go.set()
    assert second.begun.wait(20)  # Nothing on this loop runs meanwhile.
    assert bench.told == []
    second.go.set()
    await bench.overlap.rest()
    assert bench.told == [Ended(first, None, True), Ended(second, None, False)]


async def test_a_later_offer_takes_the_place_of_an_earlier_one(worker: Worker) -> None:
    bench, first, stale, fresh = Bench(worker), Call(), Call(), Call()
    bench.overlap.offer(first)
    bench.overlap.offer(stale)
    bench.overlap.offer(fresh)
    first.go.set()
    assert fresh.begun.wait(20)
    bench.overlap.offer(None)
    fresh.go.set()
    await bench.overlap.rest()
    assert [one.call for one in bench.told] == [first, fresh]
    assert not stale.begun.is_set()


async def test_after_a_failure_nothing_runs_that_was_chosen_before_it(worker: Worker) -> None:
    bench, failing, following = Bench(worker), Call(fails=True), Call()
    bench.overlap.offer(failing)
    bench.overlap.offer(following)
    failing.go.set()
    await bench.overlap.rest()
    assert isinstance(bench.told[0].error, ZeroDivisionError)
    assert not following.begun.is_set()
    following.go.set()
    assert bench.overlap.offer(following)
    await bench.overlap.rest()
    assert bench.told[1] == Ended(following, None, False)


async def test_what_is_no_longer_wanted_does_not_run(worker: Worker) -> None:
    bench, first, unwanted = Bench(worker), Call(), Call(wanted=False)
    assert bench.overlap.offer(first)
    bench.overlap.offer(unwanted)
    first.go.set()
    await bench.overlap.rest()
    assert bench.told == [Ended(first, None, False)]
    assert not unwanted.begun.is_set()


async def test_others_calls_on_the_worker_come_in_between(worker: Worker) -> None:
    bench, first, second = Bench(worker), Call(), Call()
    bench.overlap.offer(first)
    bench.overlap.offer(second)
    other = asyncio.create_task(worker.run(second.begun.is_set))
    await asyncio.sleep(0)
    first.go.set()
    assert await other is False
    second.go.set()
    await bench.overlap.rest()


async def test_a_worker_that_closes_ends_the_row_of_calls() -> None:
    worker = Worker("toy")
    bench, first, second = Bench(worker), Call(), Call()
    bench.overlap.offer(first)
    bench.overlap.offer(second)
    closing = asyncio.create_task(worker.close())
    with suppress(ServiceUnavailable):
        while True:
            worker.post(int)
            await asyncio.sleep(0)
    first.go.set()
    second.go.set()
    await closing
    await bench.overlap.rest()
    assert isinstance(bench.told[-1].error, ServiceUnavailable)
    with pytest.raises(ServiceUnavailable):
        bench.overlap.offer(Call())
    await bench.overlap.rest()
