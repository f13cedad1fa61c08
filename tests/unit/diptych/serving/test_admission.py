import asyncio
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.errors import DeadlineExceeded, Overloaded
from diptych.serving.admission import Admission


async def enter(admission: Admission, order: list[str], name: str, leave: asyncio.Event) -> None:
    async with admission.permit():
        order.append(name)
        await leave.wait()


async def settle() -> None:
    """Lets every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_come_first_served() -> None:
    admission, order = Admission(1, 2), list[str]()
    leave = {name: asyncio.Event() for name in "abc"}
    tasks = [asyncio.create_task(enter(admission, order, name, leave[name])) for name in "abc"]
    await settle()
    assert (order, admission.running, admission.waiting) == (["a"], 1, 2)
    for name in "abc":
        leave[name].set()
        await settle()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c"]
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_full_line_refuses_in_milliseconds_with_a_delay() -> None:
    admission = Admission(1, 0)
    async with admission.permit():
        began = time.monotonic()
        with pytest.raises(Overloaded) as refusal:
            async with admission.permit():
                pass
        assert time.monotonic() - began < 0.1
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after > 0


async def test_the_delay_follows_recent_service_times_and_the_line() -> None:
    admission = Admission(2, 10)
    admission._learn(8.0)
    alone = admission.retry_after()
    assert alone == pytest.approx(4.0)
    leave = asyncio.Event()
    tasks = [asyncio.create_task(enter(admission, [], "x", leave)) for _ in range(3)]
    await settle()
    assert admission.retry_after() == pytest.approx(2 * alone)
    leave.set()
    await asyncio.gather(*tasks)
    assert admission.retry_after() < alone


async def test_the_deadline_holds_in_line() -> None:
    admission = Admission(1, 1)
    async with admission.permit():
        with pytest.raises(DeadlineExceeded):
            async with admission.permit(time.monotonic() + 0.02):
                pass
        assert admission.waiting == 0
    async with admission.permit():
        assert admission.running == 1


async def test_a_deadline_already_past_gets_no_permit() -> None:
    admission = Admission(1, 1)
    with pytest.raises(DeadlineExceeded):
        async with admission.permit(time.monotonic() - 1):
            pass
    assert admission.running == 0


async def test_a_permit_that_comes_with_the_cancellation_is_passed_on() -> None:
    admission, order = Admission(1, 2), list[str]()
    leave = asyncio.Event()
    first = asyncio.create_task(enter(admission, order, "first", leave))
    await settle()
    second = asyncio.create_task(enter(admission, order, "second", leave))
    third = asyncio.create_task(enter(admission, order, "third", leave))
    await settle()
    admission._release()  # The permit goes to the second, who is cancelled before it wakes.
    admission._running += 1
    second.cancel()
    await settle()
    assert order == ["first", "third"]
    leave.set()
    await asyncio.gather(first, third)
    with suppress(asyncio.CancelledError):
        await second
    assert admission.waiting == 0


@settings(max_examples=50, deadline=None)
@given(
    visits=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.none() | st.integers(0, 8)), max_size=12),
    running=st.integers(1, 3),
    waiting=st.integers(0, 4),
)
def test_no_schedule_loses_a_permit(visits: list[tuple[int, int, int | None]], running: int, waiting: int) -> None:
    async def visit(admission: Admission, ticks_before: int, ticks_inside: int) -> None:
        for _ in range(ticks_before):
            await asyncio.sleep(0)  # Lets the others move on one tick; nothing is waited for.
        with suppress(Overloaded):
            async with admission.permit():
                assert admission.running <= running
                assert admission.waiting <= waiting
                for _ in range(ticks_inside):
                    await asyncio.sleep(0)

    async def live() -> None:
        admission = Admission(running, waiting)
        tasks = []
        for before, inside, cancel_after in visits:
            task = asyncio.create_task(visit(admission, before, inside))
            tasks.append(task)
            for _ in range(cancel_after or 0):
                await asyncio.sleep(0)
            if cancel_after is not None:
                task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(live())
