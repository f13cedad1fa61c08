"""Batching at step granularity: rows join and leave a running batch between two steps.

Who steps is decided in `choosing`; what a step is, by the caller's `step_rows`, on the worker's thread. This module
only turns the wheel: take in, choose, step, hand out.
"""

import asyncio
import contextvars
import logging
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from diptych.errors import DeadlineExceeded, ServiceUnavailable
from diptych.serving.choosing import Choice, Place, Row, choose
from diptych.serving.context import find_request, remaining_seconds
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker

__all__ = ["ContinuousBatcher", "Row", "RowStepped"]

R = TypeVar("R", bound=Row)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowStepped(Generic[R]):
    """`row` has had `step` steps (counted from 1). The row itself may be further by the time this is read."""

    row: R
    step: int


class _Submission(Generic[R]):
    """The rows of one `submit`, and the events its reader has not yet taken."""

    def __init__(self, places: Sequence[Place[R]]) -> None:
        self.live = set(places)
        self.request = find_request()
        self.joined = False
        self._events: deque[RowStepped[R]] = deque()
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()

    def stepped(self, place: Place[R]) -> None:
        self._events.append(RowStepped(place.row, place.steps))
        if place.row.finished:
            self.live.discard(place)
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[RowStepped[R]]:
        return self

    async def __anext__(self) -> RowStepped[R]:
        while not self._events:
            if self._failure is not None:
                raise self._failure
            if not self.live:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()


class ContinuousBatcher(Generic[R]):
    """Steps at most `max_rows` rows at a time on one worker; the rest wait in order of arrival.

    `step_rows` gets rows of one key and advances each by one step. If it raises, the submissions that had a row in
    that call fail with what it raised, and the others go on.
    """

    def __init__(
        self,
        worker: Worker,
        step_rows: Callable[[Sequence[R]], None],
        *,
        max_rows: int,
        telemetry: Telemetry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_rows < 1:
            raise ValueError("max_rows must be at least 1")
        self._worker = worker
        self._step_rows = step_rows
        self._max_rows = max_rows
        self._telemetry = telemetry or Telemetry("unnamed")
        self._clock = clock
        self._waiting: list[Place[R]] = []
        self._running: list[Place[R]] = []
        self._owner: dict[Place[R], _Submission[R]] = {}
        self._wheel: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def rows_running(self) -> int:
        """Rows that have joined and not left."""
        return len(self._running)

    @property
    def rows_waiting(self) -> int:
        """Rows that have not joined yet."""
        return len(self._waiting)

    @asynccontextmanager
    async def submit(
        self, rows: Sequence[R], *, deadline: float | None = None
    ) -> AsyncIterator[AsyncIterator[RowStepped[R]]]:
        """The events of `rows`, one a row and step, ending when all are finished. `deadline` in monotonic seconds.

        Leaving the block, however it happens, takes the rows out before the next step; a step under way may still
        touch them. Iterating raises what `step_rows` raised, DeadlineExceeded, or ServiceUnavailable after `close`.
        """
        if self._closed:
            raise ServiceUnavailable(self._worker.name, "the batcher is closed")
        now = self._clock()
        remaining_seconds(deadline, now=now)
        places = [Place(row, arrived=now, deadline=deadline) for row in rows if not row.finished]
        submission = _Submission(places)
        self._owner.update(dict.fromkeys(places, submission))
        self._waiting.extend(places)
        self._turn_wheel()
        try:
            yield submission
        finally:
            self._remove(submission)

    async def close(self) -> None:
        """Fails whatever still runs with ServiceUnavailable and returns when the step under way is over."""
        self._closed = True
        for submission in set(self._owner.values()):
            self._fail(submission, self._stopped())
        if self._wheel is not None:
            await asyncio.wait([self._wheel])

    def _turn_wheel(self) -> None:
        if self._wheel is None or self._wheel.done():
            # An empty context: the wheel serves everyone, so it must not carry the first caller's request.
            self._wheel = asyncio.get_running_loop().create_task(self._turn(), context=contextvars.Context())

    def _stopped(self) -> ServiceUnavailable:
        return ServiceUnavailable(self._worker.name, "the service stopped before this was done")

    async def _turn(self) -> None:
        """Takes steps while there are rows."""
        try:
            while self._waiting or self._running:
                choice = choose(self._waiting, self._running, max_rows=self._max_rows, now=self._clock())
                self._seat(choice)
                if choice.step:
                    await self._step(choice.step)
        finally:
            # Rows left here mean that the wheel broke, say on a `key` that raises: no reader may wait for ever.
            error = sys.exception()
            for submission in set(self._owner.values()):
                self._fail(submission, error if isinstance(error, Exception) else self._stopped())
            self._telemetry.rows_running(0)

    def _seat(self, choice: Choice[R]) -> None:
        """Drops the expired and lets the joining in."""
        for place in choice.expired:
            if (owner := self._owner.get(place)) is not None:
                self._fail(owner, DeadlineExceeded("the deadline passed before all steps were done"))
        joining = [place for place in choice.joining if place in self._owner]
        self._waiting = [place for place in self._waiting if place not in joining]
        self._running.extend(joining)
        now = self._clock()
        for place in joining:
            self._telemetry.waited("batch", now - place.arrived)
            place.idle_since = now
            owner = self._owner[place]
            if owner.request is not None and not owner.joined:
                owner.request.clock.queue_seconds += now - place.arrived
            owner.joined = True  # Later rows of the same request wait while it already computes.
        self._telemetry.rows_running(len(self._running))
        self._telemetry.waiting("batch", len(self._waiting))

    async def _step(self, places: Sequence[Place[R]]) -> None:
        """One call of `step_rows`, its outcome handed out to whoever is still there."""
        began = self._clock()
        call = asyncio.ensure_future(self._worker.run(self._step_rows, [place.row for place in places]))
        await asyncio.wait([call])
        ended = self._clock()
        self._telemetry.device_call(len(places), ended - began)
        present = [place for place in places if place in self._owner]
        owners = {self._owner[place] for place in present}
        for owner in owners:
            if owner.request is not None:
                owner.request.clock.compute_seconds += ended - began
        if (error := call.exception()) is not None:
            logger.warning("a step of %d rows failed: %s", len(places), type(error).__name__)
            for owner in owners:
                self._fail(owner, error)
            return
        for place in present:
            place.steps += 1
            place.idle_since = ended
            self._owner[place].stepped(place)
            if place.row.finished:
                self._running.remove(place)
                del self._owner[place]

    def _fail(self, submission: _Submission[R], error: BaseException) -> None:
        self._remove(submission)
        submission.fail(error)

    def _remove(self, submission: _Submission[R]) -> None:
        """Takes the submission's rows out; nobody else's place changes."""
        for place in submission.live:
            self._owner.pop(place, None)
        self._waiting = [place for place in self._waiting if place not in submission.live]
        self._running = [place for place in self._running if place not in submission.live]
        submission.live.clear()
