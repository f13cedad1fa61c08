"""Runs plans: the events of each in the order that RunGoal promises.

Pictures go from service to service as raw rows and are never decoded here; the last steps write the asked format.
Leaving the stream of events, by an error or because the caller went away, cancels every call under way.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from diptych.client import AsyncClient
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.timing import CallTimed
from services.orchestrator.running.peers import Peers
from services.orchestrator.running.run import Job, PlanRun

# A slow reader holds the steps up before its unread events fill the memory.
_MOST_UNREAD_EVENTS = 64


class Executor:
    """Runs plans on the services that `client` knows, at most `parallel_calls` calls of one plan at a time.

    `timed` is told how long every call took.
    """

    def __init__(
        self, client: AsyncClient, *, parallel_calls: int = 4, timed: Callable[[CallTimed], None] = lambda _: None
    ) -> None:
        self._peers = Peers(client)
        self._parallel_calls = parallel_calls
        self._timed = timed

    async def run(self, job: Job, *, started: float | None = None) -> AsyncGenerator[v1.GoalEvent, None]:
        """The events of a plan without faults; a step's error ends them. `started`: monotonic seconds."""
        yield v1.GoalEvent(plan=job.plan)
        events: asyncio.Queue[v1.GoalEvent] = asyncio.Queue(_MOST_UNREAD_EVENTS)
        run = PlanRun(job, self._peers, events.put, asyncio.Semaphore(self._parallel_calls), self._timed)
        task = asyncio.create_task(run.all_calls())
        try:
            while (event := await _next(events, task)) is not None:
                yield event
        finally:
            task.cancel()
            await asyncio.wait([task])
        yield v1.GoalEvent(completed=run.completed(time.monotonic() if started is None else started))


async def _next(events: asyncio.Queue[v1.GoalEvent], task: asyncio.Task[None]) -> v1.GoalEvent | None:
    """The next event; None after the last. Raises what ended the task."""
    if events.empty() and not task.done():
        getter = asyncio.ensure_future(events.get())
        try:
            await asyncio.wait({getter, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not getter.done():
                getter.cancel()
        if getter.done() and not getter.cancelled():
            return getter.result()
    with suppress(asyncio.QueueEmpty):
        return events.get_nowait()
    await task
    return None
