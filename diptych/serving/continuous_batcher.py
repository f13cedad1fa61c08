"""Batching at step granularity: rows join and leave a running batch between two steps.

Who steps is decided in `choosing`; what a step is, by the caller's `step_rows`, on the worker's thread. This module
only turns the wheel: choose, step, hand out.
"""

import asyncio
import contextvars
import logging
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from diptych.errors import DeadlineExceeded, ServiceUnavailable
from diptych.serving.choosing import Place, Row, choose, in_order
from diptych.serving.context import find_request, remaining_seconds
from diptych.serving.forecast import finish_times
from diptych.serving.pace import StepTimes
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker

__all__ = ["Booking", "ContinuousBatcher", "Row", "RowStepped", "Sketch"]

R = TypeVar("R", bound=Row)
logger = logging.getLogger(__name__)

# A forecast takes some milliseconds when the line is long; between two of them time simply passes.
_FORECAST_SECONDS = 0.5


@dataclass(frozen=True)
class RowStepped(Generic[R]):
    """`row` has had `step` steps (counted from 1). The row itself may be further by the time this is read.

    `remaining`: seconds until its last step if nobody else comes, None until that can be told.
    """

    row: R
    step: int
    remaining: float | None = None


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is known of a row before it is prepared: enough to forecast its time."""

    key: Hashable
    num_steps: int
    samples: int
    finished: bool = False


@dataclass(frozen=True, eq=False)
class Booking:
    """Work that is on its way here; `remaining` is the forecast of its end, seconds from the booking."""

    places: tuple[Place[Any], ...]
    arrived: float
    remaining: float | None


class _Submission(Generic[R]):
    """The rows of one `submit`, and the events its reader has not yet taken."""

    def __init__(self, places: Sequence[Place[R]]) -> None:
        self.live = set(places)
        self.request = find_request()
        self.begun = False
        self._events: deque[RowStepped[R]] = deque()
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()

    def stepped(self, place: Place[R], remaining: float | None) -> None:
        self._events.append(RowStepped(place.row, place.steps, remaining))
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
    """Steps at most `max_rows` rows at a time on one worker; the rest wait for their turn.

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
        self.pace = StepTimes()
        self._worker = worker
        self._step_rows = step_rows
        self._max_rows = max_rows
        self._telemetry = telemetry or Telemetry("unnamed")
        self._clock = clock
        self._places: list[Place[R]] = []
        self._owner: dict[Place[R], _Submission[R]] = {}
        self._booked: dict[Booking, None] = {}
        self._ends: dict[Place[Any], float] = {}
        self._ends_told = float("-inf")
        self._wheel: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def rows_running(self) -> int:
        """Rows that have begun and are not finished."""
        return sum(place.steps > 0 for place in self._places)

    @property
    def rows_waiting(self) -> int:
        """Rows that have not begun yet."""
        return sum(place.steps == 0 for place in self._places)

    @contextmanager
    def book(self, sketches: Sequence[Sketch], *, deadline: float | None = None) -> Iterator[Booking]:
        """Announces rows that are still to be prepared, so that forecasts count them; for the time inside the block.

        DeadlineExceeded, at once, when they would not be done by `deadline` (monotonic seconds) even if nobody else
        came. Nobody is refused while their time cannot be told.
        """
        now = self._clock()
        left = remaining_seconds(deadline, now=now)
        group = object()
        places = tuple(Place(sketch, now, deadline, now, group=group) for sketch in sketches)
        ends = self._forecast(places, now)
        remaining = max((ends[place] for place in places), default=0.0) if ends is not None else None
        if left is not None and remaining is not None and remaining > left:
            raise DeadlineExceeded(
                f"this would take about {remaining:.2f} s and {left:.2f} s are left; allow more time, or ask for fewer "
                "steps or pictures",
                reason="DEADLINE_TOO_SHORT",
                metadata={"predicted_seconds": f"{remaining:.3f}"},
            )
        booking = Booking(places, now, remaining)
        self._booked[booking] = None
        try:
            yield booking
        finally:
            self._booked.pop(booking, None)

    def rows_before(self, booking: Booking) -> int:
        """Rows that have not begun and will begin before the first of `booking`."""
        order = in_order(self._everyone(booking.places), self.pace, now=self._clock())
        first = next((number for number, place in enumerate(order) if place in booking.places), len(order))
        return sum(place.steps == 0 for place in order[:first])

    @asynccontextmanager
    async def submit(
        self,
        rows: Sequence[R],
        *,
        deadline: float | None = None,
        booking: Booking | None = None,
        steps_after: int = 0,
    ) -> AsyncIterator[AsyncIterator[RowStepped[R]]]:
        """The events of `rows`, one a row and step, ending when all are finished. `deadline` in monotonic seconds.

        With `booking` they are those announced, or the first of them, and have waited since then; `steps_after` are
        steps that will be submitted later. Leaving the block, however it happens, takes the rows out before the next
        step; a step under way may still touch them. Iterating raises what `step_rows` raised, DeadlineExceeded, or
        ServiceUnavailable after `close`.
        """
        if self._closed:
            raise ServiceUnavailable(self._worker.name, "the batcher is closed")
        now = self._clock()
        remaining_seconds(deadline, now=now)
        group, arrived = booking or object(), now
        if booking is not None:
            arrived = booking.arrived
            self._booked.pop(booking, None)
        coming = [row for row in rows if not row.finished]
        places = [Place(row, arrived, deadline, now, group=group, steps_after=steps_after) for row in coming]
        submission = _Submission(places)
        self._owner.update(dict.fromkeys(places, submission))
        self._places.extend(places)
        self._telemetry.waiting("batch", self.rows_waiting)
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

    def _everyone(self, more: Sequence[Place[Any]] = ()) -> list[Place[Any]]:
        """Places of rows here, booked and `more`, once each."""
        booked = [place for booking in self._booked for place in booking.places]
        return list(dict.fromkeys((*self._places, *booked, *more)))

    def _forecast(self, more: Sequence[Place[Any]], now: float) -> dict[Place[Any], float] | None:
        return finish_times(self._everyone(more), self.pace, max_rows=self._max_rows, now=now)

    def _turn_wheel(self) -> None:
        if self._wheel is None or self._wheel.done():
            # An empty context: the wheel serves everyone, so it must not carry the first caller's request.
            self._wheel = asyncio.get_running_loop().create_task(self._turn(), context=contextvars.Context())

    def _stopped(self) -> ServiceUnavailable:
        return ServiceUnavailable(self._worker.name, "the service stopped before this was done")

    async def _turn(self) -> None:
        """Takes steps while there are rows."""
        try:
            while self._places:
                choice = choose(self._places, self.pace, max_rows=self._max_rows, now=self._clock())
                for place in choice.expired:
                    if (owner := self._owner.get(place)) is not None:
                        self._fail(owner, DeadlineExceeded("the deadline passed before all steps were done"))
                if step := [place for place in choice.step if place in self._owner]:
                    self._begin(step)
                    await self._step(step)
        finally:
            # Rows left here mean that the wheel broke, say on a `key` that raises: no reader may wait for ever.
            error = sys.exception()
            for submission in set(self._owner.values()):
                self._fail(submission, error if isinstance(error, Exception) else self._stopped())
            self._telemetry.rows_running(0)
            self._ends.clear()

    def _begin(self, places: Sequence[Place[R]]) -> None:
        """Writes down how long those who now have their first step waited for it."""
        now = self._clock()
        for place in places:
            if place.steps:
                continue
            self._telemetry.waited("batch", now - place.idle_since)
            owner = self._owner[place]
            if owner.request is not None and not owner.begun:
                owner.request.clock.queue_seconds += now - place.idle_since
            owner.begun = True  # Later rows of the same request wait while it already computes.

    async def _step(self, places: Sequence[Place[R]]) -> None:
        """One call of `step_rows`, its outcome handed out to whoever is still there."""
        key, samples = places[0].row.key, sum(place.row.samples for place in places)
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
        self.pace.learn(key, samples, ended - began)
        for place in present:
            place.steps += 1
            place.idle_since = ended
        for place in present:
            self._owner[place].stepped(place, self._remaining(place, ended))
            if place.row.finished:
                self._places.remove(place)
                del self._owner[place]
        self._telemetry.rows_running(self.rows_running)
        self._telemetry.waiting("batch", self.rows_waiting)

    def _remaining(self, place: Place[R], now: float) -> float | None:
        """Seconds until the row's last step."""
        if place.row.finished:
            return 0.0
        if place not in self._ends or now - self._ends_told > _FORECAST_SECONDS:
            forecast = self._forecast((), now)
            self._ends = {one: now + end for one, end in (forecast or {}).items()}
            self._ends_told = now
        end = self._ends.get(place)
        return None if end is None else max(0.0, end - now)

    def _fail(self, submission: _Submission[R], error: BaseException) -> None:
        self._remove(submission)
        submission.fail(error)

    def _remove(self, submission: _Submission[R]) -> None:
        """Takes the submission's rows out; nobody else's place changes."""
        if not submission.live:
            return
        for place in submission.live:
            self._owner.pop(place, None)
        self._places = [place for place in self._places if place not in submission.live]
        submission.live.clear()
