import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.errors import DeadlineExceeded, InternalError, Overloaded, ServiceUnavailable
from diptych.serving.context import RequestContext, enter_request
from diptych.serving.dynamic_batcher import DynamicBatcher, Pending, choose_batch
from diptych.serving.worker import Worker

LONG = 30.0


class Doubler:
    """Doubles numbers and writes down every call. With `gated`, each call waits for `let_one_call`."""

    def __init__(self, *, gated: bool = False) -> None:
        self.calls: list[list[int]] = []
        self.began = threading.Semaphore(0)
        self._gate = threading.Semaphore(0) if gated else None

    def let_one_call(self) -> None:
        assert self._gate is not None
        self._gate.release()

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.calls.append(list(items))
        self.began.release()
        if self._gate is not None:
            assert self._gate.acquire(timeout=20)
        if 13 in items:
            raise ValueError("13")
        return [LookupError("7") if item == 7 else 2 * item for item in items]


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("toy")
    yield worker
    await worker.close()


def parity(item: int) -> int:
    return item % 2


async def test_items_of_one_key_share_a_call(worker: Worker) -> None:
    double = Doubler()
    batcher = DynamicBatcher(worker, double, key=parity, max_batch=3, max_wait=0)
    assert await asyncio.gather(*(batcher.submit(item) for item in (2, 1, 4, 6, 8))) == [4, 2, 8, 12, 16]
    assert double.calls[0] == [2, 4, 6]
    assert sorted(double.calls[1:]) == [[1], [8]]


async def test_a_full_batch_does_not_wait(worker: Worker) -> None:
    batcher = DynamicBatcher(worker, Doubler(), key=parity, max_batch=2, max_wait=LONG)
    async with asyncio.timeout(10):
        assert await asyncio.gather(batcher.submit(2), batcher.submit(4)) == [4, 8]


async def test_an_item_in_error_leaves_its_neighbours_alone(worker: Worker) -> None:
    batcher = DynamicBatcher(worker, Doubler(), key=parity, max_batch=3, max_wait=LONG)
    one, bad, two = await asyncio.gather(*(batcher.submit(item) for item in (1, 7, 3)), return_exceptions=True)
    assert (one, two) == (2, 6)
    assert isinstance(bad, LookupError)


async def test_a_failed_call_fails_its_batch_only(worker: Worker) -> None:
    batcher = DynamicBatcher(worker, Doubler(), key=parity, max_batch=2, max_wait=0)
    failed = await asyncio.gather(batcher.submit(13), batcher.submit(1), return_exceptions=True)
    assert all(isinstance(error, ValueError) for error in failed)
    assert await batcher.submit(3) == 6


async def test_a_wrong_number_of_results_is_an_internal_error(worker: Worker) -> None:
    batcher = DynamicBatcher[int, int](worker, lambda _: [], key=parity, max_batch=1)
    with pytest.raises(InternalError):
        await batcher.submit(1)


async def test_a_key_that_cannot_be_one_reaches_the_caller(worker: Worker) -> None:
    batcher = DynamicBatcher(worker, Doubler(), key=lambda item: [item], max_batch=1)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="unhashable"):
        await batcher.submit(1)
    assert batcher.waiting == 0


async def test_the_cancelled_cost_nothing(worker: Worker) -> None:
    double = Doubler(gated=True)
    batcher = DynamicBatcher(worker, double, key=parity, max_batch=4, max_wait=0)
    first = asyncio.create_task(batcher.submit(2))
    await asyncio.to_thread(double.began.acquire)
    cancelled, kept = asyncio.create_task(batcher.submit(4)), asyncio.create_task(batcher.submit(6))
    await asyncio.sleep(0)
    cancelled.cancel()
    with suppress(asyncio.CancelledError):
        await cancelled
    double.let_one_call()
    double.let_one_call()
    assert (await first, await kept) == (4, 12)
    assert double.calls == [[2], [6]]


async def test_a_full_line_refuses_at_once(worker: Worker) -> None:
    double = Doubler(gated=True)
    batcher = DynamicBatcher(worker, double, key=parity, max_batch=1, max_wait=0, max_waiting=1)
    running = asyncio.create_task(batcher.submit(2))
    await asyncio.to_thread(double.began.acquire)
    waiting = asyncio.create_task(batcher.submit(4))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        await batcher.submit(6)
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after > 0
    double.let_one_call()
    double.let_one_call()
    assert (await running, await waiting) == (4, 8)


async def test_the_deadline_holds_while_the_model_runs(worker: Worker) -> None:
    double = Doubler(gated=True)
    batcher = DynamicBatcher(worker, double, key=parity, max_batch=1, max_wait=0)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(2, deadline=time.monotonic() + 0.02)
    double.let_one_call()


async def test_closing_fails_what_waits(worker: Worker) -> None:
    double = Doubler(gated=True)
    batcher = DynamicBatcher(worker, double, key=parity, max_batch=1, max_wait=0)
    running = asyncio.create_task(batcher.submit(2))
    await asyncio.to_thread(double.began.acquire)
    waiting = asyncio.create_task(batcher.submit(4))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    double.let_one_call()
    await closing
    assert await running == 4
    for refused in (waiting, batcher.submit(6)):
        with pytest.raises(ServiceUnavailable):
            await refused


async def test_the_request_is_told_where_its_time_went(worker: Worker) -> None:
    request = RequestContext("id", "Toy/Run")
    enter_request(request)
    await DynamicBatcher(worker, Doubler(), key=parity, max_batch=1).submit(2)
    assert request.clock.compute_seconds > 0


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 10), st.sampled_from("abc"), st.none() | st.floats(0, 20)), max_size=20),
    now=st.floats(0, 20),
    max_batch=st.integers(1, 4),
    max_wait=st.floats(0, 5),
)
def test_choosing_is_by_age_and_never_late(
    arrivals: list[tuple[float, str, float | None]], now: float, max_batch: int, max_wait: float
) -> None:
    loop = asyncio.new_event_loop()
    pending: list[Pending[str, str]] = [
        Pending(key, key, arrived, deadline, loop.create_future())
        for arrived, key, deadline in sorted(arrivals, key=lambda arrival: arrival[0])
    ]
    loop.close()
    batch = choose_batch(pending, max_batch=max_batch, max_wait=max_wait, now=now)
    living = [one for one in pending if one.alive(now)]
    assert len(batch.members) <= max_batch
    assert len({one.key for one in batch.members}) <= 1
    assert all(one in living for one in batch.members)
    if batch.members:
        assert batch.wait is None
        same = [one for one in living if one.key == batch.members[0].key]
        assert list(batch.members) == same[:max_batch]
    elif living:
        assert batch.wait is not None
        assert now - living[0].arrived < max_wait
