import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from diptych.errors import DeadlineExceeded, ServiceUnavailable
from diptych.serving.context import RequestContext, enter_request
from diptych.serving.continuous_batcher import Booking, ContinuousBatcher, Sketch
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker


class PoisonedError(Exception):
    pass


@dataclass(eq=False)
class Toy:
    total: int
    key: str = "a"
    poison_at: int | None = None
    steps: list[int] = field(default_factory=list)
    samples: int = 1

    @property
    def num_steps(self) -> int:
        return self.total

    @property
    def finished(self) -> bool:
        return len(self.steps) == self.total


class ToyModel:
    """Steps toy rows and writes down every call. With `gated`, each call waits for `let_one_step`."""

    def __init__(self, *, gated: bool = False) -> None:
        self.calls: list[list[Toy]] = []
        self._gate = threading.Semaphore(0) if gated else None

    def let_one_step(self) -> None:
        assert self._gate is not None
        self._gate.release()

    def step(self, rows: Sequence[Toy]) -> None:
        self.calls.append(list(rows))
        if self._gate is not None:
            assert self._gate.acquire(timeout=20)
        for row in rows:
            if row.poison_at == len(row.steps) + 1:
                raise PoisonedError(row.key)
        for row in rows:
            row.steps.append(len(row.steps) + 1)


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("toy")
    yield worker
    await worker.close()


async def run(batcher: ContinuousBatcher[Toy], rows: Sequence[Toy], deadline: float | None = None) -> list[int]:
    seen = []
    async with batcher.submit(rows, deadline=deadline) as events:
        async for event in events:
            seen.append(event.step)
    return seen


async def test_a_row_is_seen_after_each_of_its_steps(worker: Worker) -> None:
    batcher = ContinuousBatcher(worker, ToyModel().step, max_rows=2)
    assert await run(batcher, [Toy(3)]) == [1, 2, 3]
    assert (batcher.rows_running, batcher.rows_waiting) == (0, 0)


async def test_rows_that_need_no_step_end_at_once(worker: Worker) -> None:
    model = ToyModel()
    assert await run(ContinuousBatcher(worker, model.step, max_rows=2), [Toy(0)]) == []
    assert model.calls == []


async def test_a_newcomer_joins_at_the_next_step(worker: Worker) -> None:
    model = ToyModel(gated=True)
    batcher = ContinuousBatcher(worker, model.step, max_rows=2)
    first, second = Toy(3), Toy(1)
    async with batcher.submit([first]) as events:
        model.let_one_step()
        assert (await anext(events)).step == 1
        newcomer = asyncio.create_task(run(batcher, [second]))
        while batcher.rows_waiting == 0:
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # The next step is planned anew.
        model.let_one_step()
        assert (await anext(events)).step == 2
        model.let_one_step()
        assert await newcomer == [1]
    assert model.calls[0] == [first]
    assert [first, second] in model.calls


async def test_leaving_frees_the_row_before_the_next_step_and_changes_no_neighbour(worker: Worker) -> None:
    model = ToyModel(gated=True)
    batcher = ContinuousBatcher(worker, model.step, max_rows=2)
    leaver, neighbour = Toy(50), Toy(3)

    async def stay_for_one_step() -> None:
        async with batcher.submit([leaver]) as events:
            await anext(events)

    leaving = asyncio.create_task(stay_for_one_step())
    staying = asyncio.create_task(run(batcher, [neighbour]))
    model.let_one_step()
    await leaving
    for _ in range(4):
        model.let_one_step()
    assert await staying == [1, 2, 3]
    assert len(leaver.steps) <= 2
    assert all(leaver not in call for call in model.calls[2:])


async def test_cancelling_the_reader_frees_a_row_that_waits(worker: Worker) -> None:
    model = ToyModel(gated=True)
    batcher = ContinuousBatcher(worker, model.step, max_rows=1)
    waiter = Toy(5)
    async with batcher.submit([Toy(2)]) as events:
        waiting = asyncio.create_task(run(batcher, [waiter]))
        model.let_one_step()
        await anext(events)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert batcher.rows_waiting == 0
        model.let_one_step()
        assert (await anext(events)).step == 2
    assert waiter.steps == []


async def test_a_failed_step_fails_only_the_rows_of_that_call(worker: Worker) -> None:
    batcher = ContinuousBatcher(worker, ToyModel().step, max_rows=4)
    poisoned = run(batcher, [Toy(4, key="bad", poison_at=2)])
    healthy = run(batcher, [Toy(4, key="good")])
    failed, fine = await asyncio.gather(poisoned, healthy, return_exceptions=True)
    assert isinstance(failed, PoisonedError)
    assert fine == [1, 2, 3, 4]
    assert await run(batcher, [Toy(1)]) == [1]


async def test_the_rest_of_a_failed_submission_leaves_too(worker: Worker) -> None:
    batcher = ContinuousBatcher(worker, ToyModel().step, max_rows=1)
    with pytest.raises(PoisonedError):
        await run(batcher, [Toy(1, poison_at=1), second := Toy(1)])
    assert second.steps == []
    assert (batcher.rows_running, batcher.rows_waiting) == (0, 0)


async def test_a_key_that_raises_reaches_the_reader(worker: Worker) -> None:
    class Keyless(Toy):
        @property
        def key(self) -> str:  # type: ignore[override]
            raise PoisonedError("no key")

        @key.setter
        def key(self, value: str) -> None: ...

    batcher = ContinuousBatcher(worker, ToyModel().step, max_rows=1)
    with pytest.raises(PoisonedError):
        await run(batcher, [Keyless(1)])
    assert await run(batcher, [Toy(1)]) == [1]


async def test_an_expired_row_costs_no_more_steps(worker: Worker) -> None:
    now = 100.0
    model = ToyModel(gated=True)
    batcher = ContinuousBatcher(worker, model.step, max_rows=2, clock=lambda: now)
    row = Toy(50)
    async with batcher.submit([row], deadline=110.0) as events:
        model.let_one_step()
        await anext(events)
        now = 111.0
        model.let_one_step()
        assert (await anext(events)).step == 2
        with pytest.raises(DeadlineExceeded):
            await anext(events)
    assert len(row.steps) == 2


async def test_a_deadline_already_past_is_refused_before_any_step(worker: Worker) -> None:
    model = ToyModel()
    with pytest.raises(DeadlineExceeded):
        await run(ContinuousBatcher(worker, model.step, max_rows=1, clock=lambda: 5.0), [Toy(1)], deadline=5.0)
    assert model.calls == []


async def test_closing_fails_readers_and_refuses_newcomers(worker: Worker) -> None:
    model = ToyModel(gated=True)
    batcher = ContinuousBatcher(worker, model.step, max_rows=1)
    reader = asyncio.create_task(run(batcher, [Toy(50)]))
    async with batcher.submit([Toy(50)]):
        model.let_one_step()
        closing = asyncio.create_task(batcher.close())
        model.let_one_step()
        await closing
    with pytest.raises(ServiceUnavailable):
        await reader
    with pytest.raises(ServiceUnavailable):
        await run(batcher, [Toy(1)])


async def test_a_closed_worker_reaches_the_reader() -> None:
    worker = Worker("toy")
    await worker.close()
    with pytest.raises(ServiceUnavailable):
        await run(ContinuousBatcher(worker, ToyModel().step, max_rows=1), [Toy(1)])


async def test_times_go_to_the_clock_of_the_request_and_to_metrics(worker: Worker) -> None:
    registry = CollectorRegistry()
    batcher = ContinuousBatcher(worker, ToyModel().step, max_rows=4, telemetry=Telemetry("toy", registry))
    request = RequestContext("id", "Toy/Run")
    enter_request(request)
    await run(batcher, [Toy(2), Toy(2)])
    assert 0 < request.clock.compute_seconds < request.clock.total_seconds()
    assert request.clock.queue_seconds < request.clock.total_seconds()
    labels = {"service": "toy"}
    assert registry.get_sample_value("diptych_batch_rows_sum", labels) == 4
    assert registry.get_sample_value("diptych_step_duration_seconds_count", labels) == 2
    assert registry.get_sample_value("diptych_queue_wait_seconds_count", {**labels, "queue": "batch"}) == 2
    assert registry.get_sample_value("diptych_rows_running", labels) == 0


async def test_who_comes_in_the_moment_the_batch_runs_empty_is_served(worker: Worker) -> None:
    batcher = ContinuousBatcher(worker, ToyModel().step, max_rows=1)
    await run(batcher, [Toy(1)])
    await batcher._calls.rest()
    assert await run(batcher, [Toy(2)]) == [1, 2]


@dataclass(frozen=True)
class Visit:
    """One submission of a random schedule."""

    ticks_before: int
    key: str
    totals: tuple[int, ...]
    leaves_after: int | None
    poison_at: int | None


VISITS = st.lists(
    st.builds(
        Visit,
        ticks_before=st.integers(0, 40),
        key=st.sampled_from("abc"),
        totals=st.lists(st.integers(0, 6), min_size=1, max_size=4).map(tuple),
        leaves_after=st.none() | st.integers(0, 5),
        poison_at=st.none() | st.none() | st.integers(1, 4),
    ),
    max_size=10,
)


@settings(max_examples=60, deadline=None)
@given(visits=VISITS, max_rows=st.integers(1, 4))
def test_any_schedule_keeps_every_promise(visits: list[Visit], max_rows: int) -> None:
    async def visit(batcher: ContinuousBatcher[Toy], plan: Visit) -> None:
        for _ in range(plan.ticks_before):
            await asyncio.sleep(0)  # Lets the others move on one tick; nothing is waited for.
        rows = [Toy(total, plan.key, plan.poison_at) for total in plan.totals]
        seen: dict[Toy, list[int]] = {row: [] for row in rows}
        count = 0
        try:
            async with batcher.submit(rows) as events:
                while plan.leaves_after is None or count < plan.leaves_after:
                    event = await anext(events)
                    count += 1
                    seen[event.row].append(event.step)
                    assert event.step <= len(event.row.steps)
        except StopAsyncIteration:
            assert all(row.finished for row in rows)
            assert all(steps == row.steps for row, steps in seen.items())
        except PoisonedError as error:
            # Keys never mix, so a failure can only come from a row of one's own key.
            assert str(error) == plan.key
        assert all(steps == list(range(1, len(steps) + 1)) for steps in seen.values())

    async def live() -> list[list[Toy]]:
        model, worker = ToyModel(), Worker("toy")
        batcher = ContinuousBatcher(worker, model.step, max_rows=max_rows)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for plan in visits:
                group.create_task(visit(batcher, plan))
        assert (batcher.rows_running, batcher.rows_waiting) == (0, 0)
        assert batcher._owner == {}
        await batcher.close()
        await worker.close()
        return model.calls

    for call in asyncio.run(live()):
        assert 1 <= len(call) <= max_rows
        assert len({row.key for row in call}) == 1
        assert len({id(row) for row in call}) == len(call)


def booked(batcher: ContinuousBatcher[Toy], steps: int, deadline: float | None = None) -> Booking:
    with batcher.book([Sketch("a", steps, 1)], deadline=deadline) as booking:
        return booking


async def test_a_deadline_that_cannot_be_met_is_refused_before_any_step(worker: Worker) -> None:
    model = ToyModel()
    batcher = ContinuousBatcher(worker, model.step, max_rows=1, clock=lambda: 100.0)
    batcher.pace.learn("a", 1, 2.0)
    assert booked(batcher, 5).remaining == pytest.approx(10)
    assert booked(batcher, 5, deadline=110.5).remaining == pytest.approx(10)
    with pytest.raises(DeadlineExceeded, match=r"about 10\.00 s and 9\.50 s are left") as raised:
        booked(batcher, 5, deadline=109.5)
    assert raised.value.reason == "DEADLINE_TOO_SHORT"
    assert model.calls == []


async def test_nobody_is_refused_while_nothing_was_measured(worker: Worker) -> None:
    batcher = ContinuousBatcher(worker, ToyModel().step, max_rows=1, clock=lambda: 100.0)
    assert booked(batcher, 200, deadline=100.001).remaining is None


async def test_work_that_is_booked_counts_until_it_is_given_up(worker: Worker) -> None:
    batcher = ContinuousBatcher(worker, ToyModel().step, max_rows=1, clock=lambda: 100.0)
    batcher.pace.learn("a", 1, 1.0)
    with batcher.book([Sketch("a", 3, 1)] * 2) as first:
        assert first.remaining == pytest.approx(6)
        with batcher.book([Sketch("a", 10, 1)]) as second:
            assert second.remaining == pytest.approx(16)
            assert (batcher.rows_before(first), batcher.rows_before(second)) == (0, 2)
    assert booked(batcher, 1).remaining == pytest.approx(1)


async def test_a_booking_is_counted_once_when_its_rows_come(worker: Worker) -> None:
    model = ToyModel(gated=True)
    batcher = ContinuousBatcher(worker, model.step, max_rows=1)
    batcher.pace.learn("a", 1, 1.0)
    with batcher.book([Sketch("a", 2, 1)]) as booking:
        async with batcher.submit([Toy(2)], booking=booking) as events:
            assert booked(batcher, 3).remaining == pytest.approx(5)
            model.let_one_step()
            first = await anext(events)
            model.let_one_step()
            last = await anext(events)
    assert first.remaining is not None and first.remaining > 0
    assert last.remaining == 0


async def test_short_work_passes_long_work_that_came_first(worker: Worker) -> None:
    model = ToyModel(gated=True)
    batcher = ContinuousBatcher(worker, model.step, max_rows=1)
    ended: list[str] = []

    async def watch(name: str, steps: int) -> None:
        await run(batcher, [Toy(steps)])
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch("long", 30))
        await asyncio.sleep(0)
        group.create_task(watch("short", 3))
        for _ in range(33):
            await asyncio.sleep(0.003)  # A step has to take its time for work to outweigh age.
            model.let_one_step()
    assert ended == ["short", "long"]
