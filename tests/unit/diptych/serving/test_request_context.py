import asyncio

import pytest

from diptych.errors import DeadlineExceeded
from diptych.serving.context import (
    RequestClock,
    RequestContext,
    current_request,
    enter_request,
    find_request,
    remaining_seconds,
)


async def test_a_request_is_known_in_its_task_and_those_it_starts_only() -> None:
    request = RequestContext("id", "Toy/Run")

    async def serve() -> tuple[RequestContext, RequestContext]:
        enter_request(request)

        async def inner() -> RequestContext:
            return current_request()

        return current_request(), await asyncio.create_task(inner())

    assert await asyncio.create_task(serve()) == (request, request)
    assert find_request() is None
    with pytest.raises(LookupError):
        current_request()


def test_remaining_seconds() -> None:
    assert remaining_seconds(None) is None
    assert remaining_seconds(12.0, now=10.0) == 2.0
    for now in (12.0, 13.0):
        with pytest.raises(DeadlineExceeded):
            remaining_seconds(12.0, now=now)


def test_timing_as_answers_carry_it() -> None:
    timing = RequestClock(queue_seconds=0.25, compute_seconds=1.5).timing()
    assert timing.queue.ToNanoseconds() == 250_000_000
    assert timing.compute.ToNanoseconds() == 1_500_000_000
    assert timing.total.ToNanoseconds() > 0
