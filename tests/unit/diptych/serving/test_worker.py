import asyncio
import threading
from contextlib import suppress

import pytest

from diptych.errors import ServiceUnavailable
from diptych.serving.context import RequestContext, current_request, enter_request
from diptych.serving.worker import Worker


async def test_calls_run_in_order_on_one_thread_that_is_not_the_loops() -> None:
    worker = Worker("device")
    threads = await asyncio.gather(*(worker.run(threading.current_thread) for _ in range(3)))
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()
    assert threads[0].name.startswith("device")
    await worker.close()


async def test_what_a_call_raises_reaches_the_caller() -> None:
    worker = Worker("device")
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await worker.run(next, iter(()))
    await worker.close()


async def test_a_cancelled_call_that_has_not_begun_never_runs() -> None:
    worker, gate, ran = Worker("device"), threading.Event(), list[int]()
    busy = asyncio.create_task(worker.run(gate.wait, 20))
    await asyncio.sleep(0)
    queued = asyncio.create_task(worker.run(ran.append, 1))
    await asyncio.sleep(0)
    queued.cancel()
    with suppress(asyncio.CancelledError):
        await queued
    gate.set()
    assert await busy
    await worker.close()
    assert ran == []


async def test_the_request_goes_along_and_its_clock_runs() -> None:
    worker, request = Worker("device"), RequestContext("id", "Toy/Run")
    enter_request(request)
    assert await worker.run(current_request) is request
    assert request.clock.compute_seconds > 0
    assert request.clock.queue_seconds > 0
    await worker.close()


async def test_a_closed_worker_refuses() -> None:
    worker = Worker("device")
    await worker.close()
    with pytest.raises(ServiceUnavailable):
        await worker.run(int)
