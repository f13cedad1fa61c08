"""Batching at step granularity: rows join and leave a running batch between two steps.

Who steps is decided in `choosing`; what a step is, by the caller's `step_rows`, on the worker's thread. This module
chooses who has the next step while one runs (`overlap`), and hands out what came of it.
"""

import asyncio
import contextvars
import logging
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from diptych.errors import DeadlineExceeded, ServiceUnavailable
from diptych.serving.choosing import Place, Row, choose, in_order
from diptych.serving.context import find_request, remaining_seconds
from diptych.serving.forecast import finish_times
from diptych.serving.overlap import Ended, Overlap
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

    `at`: when the step was over, monotonic seconds. `remaining`: seconds from then until its last step if nobody else
    comes, None until that can be told.
    """

    row: R
    step: int
    at: float
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

    def stepped(self, step: "_Step[R]", at: float, remaining: float | None) -> None:
        self._events.append(RowStepped(step.place.row, step.number, at, remaining))
        if step.finished:
            self.live.discard(step.place)
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


@dataclass(eq=False)
class _Call(Generic[R]):
    """Rows that step together; the rest is written down as it happens."""

    places: list[Place[R]]
    numbers: list[int] = field(default_factory=list)
    waited: dict[Place[R], float] = field(default_factory=dict)
    samples: int = 0
    seconds: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True)
class _Step(Generic[R]):
    """A step that a row has had: its state then, for the row goes on."""

    place: Place[R]
    owner: _Submission[R]
    number: int
    finished: bool


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
        self._ends: dict[Place[Any], float] | None = {}  # None when the last forecast could not tell.
        self._ends_told = float("-inf")
        self._calls: Overlap[_Call[R]] = Overlap(worker, self._step, trim=self._trimmed, ended=self._ended)
        self._planning = False
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
        self._plan_soon()
        try:
            yield submission
        finally:
            self._remove(submission)

    async def close(self) -> None:
        """Fails whatever still runs with ServiceUnavailable and returns when the step under way is over."""
        self._closed = True
        for submission in set(self._owner.values()):
            self._fail(submission, self._stopped())
        await self._calls.rest()

    def _everyone(self, more: Sequence[Place[Any]] = ()) -> list[Place[Any]]:
        """Places of rows here, booked and `more`, once each."""
        booked = [place for booking in self._booked for place in booking.places]
        return list(dict.fromkeys((*self._places, *booked, *more)))

    def _forecast(self, more: Sequence[Place[Any]], now: float) -> dict[Place[Any], float] | None:
        return finish_times(self._everyone(more), self.pace, max_rows=self._max_rows, now=now)

    def _stopped(self) -> ServiceUnavailable:
        return ServiceUnavailable(self._worker.name, "the service stopped before this was done")

    def _plan_soon(self) -> None:
        """Plans anew when those who come and go in this moment have done so."""
        if not self._planning:
            self._planning = True
            # An empty context: the plan serves everyone, so it must not carry the first caller's request.
            asyncio.get_running_loop().call_soon(self._plan, context=contextvars.Context())

    def _plan(self) -> None:
        """Says who has the next step; fails those whose time is up."""
        self._planning = False
        with self._told_of_failure():
            while self._calls.offer(self._chosen()):
                pass  # It has begun: what comes after it is planned now.

    @contextmanager
    def _told_of_failure(self) -> Iterator[None]:
        """Tells all readers of what is raised inside, say by a `key`: none may wait for ever."""
        try:
            yield
        finally:
            if isinstance(error := sys.exception(), Exception):
                for submission in set(self._owner.values()):
                    self._fail(submission, error)

    def _chosen(self) -> _Call[R] | None:
        places = [place for place in self._places if place.steps < place.row.num_steps]
        choice = choose(places, self.pace, max_rows=self._max_rows, now=self._clock())
        for place in choice.expired:
            if (owner := self._owner.get(place)) is not None:
                self._fail(owner, DeadlineExceeded("the deadline passed before all steps were done"))
        step = [place for place in choice.step if place in self._owner]
        return _Call(step) if step else None

    def _step(self, call: _Call[R]) -> None:
        """On the worker's thread, where alone steps are counted."""
        call.samples = sum(place.row.samples for place in call.places)
        began = self._clock()
        for place in call.places:
            if place.steps == 0:
                call.waited[place] = began - place.idle_since
            place.steps += 1
            place.idle_since = began
        call.numbers = [place.steps for place in call.places]
        try:
            self._step_rows([place.row for place in call.places])
        finally:
            call.ended = self._clock()
            call.seconds = call.ended - began
            for place in call.places:
                place.idle_since = call.ended

    def _trimmed(self, call: _Call[R]) -> _Call[R] | None:
        """A planned call without those who have left, finished or run out of time; on the worker's thread."""
        now = self._clock()
        places = [
            place
            for place in call.places
            if place in self._owner and not place.row.finished and (place.deadline is None or place.deadline > now)
        ]
        return _Call(places) if places else None

    def _ended(self, ended: Ended[_Call[R]]) -> None:
        """Writes down what a call brought, plans the call after the next and tells the readers: in this order, since
        the worker is busy with the next one already."""
        with self._told_of_failure():
            steps = self._steps_of(ended)
            try:
                self._plan()
            finally:
                at = ended.call.ended
                for step in steps:
                    step.owner.stepped(step, at, 0.0 if step.finished else self._remaining(step.place, at))
            self._telemetry.rows_running(self.rows_running)
            self._telemetry.waiting("batch", self.rows_waiting)

    def _steps_of(self, ended: Ended[_Call[R]]) -> list[_Step[R]]:
        """The steps in a call of rows that are still here; who is finished has left. A failed call fails them."""
        call = ended.call
        self._count(call)
        owners = {place: self._owner[place] for place in call.places if place in self._owner}
        if ended.error is not None:
            logger.warning("a step of %d rows failed: %s", len(call.places), type(ended.error).__name__)
            for owner in set(owners.values()):
                self._fail(owner, ended.error)
            return []
        self.pace.learn(call.places[0].row.key, call.samples, call.seconds)
        steps = [
            _Step(place, owners[place], number, number >= place.row.num_steps)
            for place, number in zip(call.places, call.numbers, strict=True)
            if place in owners
        ]
        for step in steps:
            if step.finished:
                self._places.remove(step.place)
                self._forget(step.place)
        return steps

    def _count(self, call: _Call[R]) -> None:
        """Puts the call on the clocks of those whose rows rode in it, and on the service's."""
        self._telemetry.device_call(len(call.places), call.seconds)
        for place, waited in call.waited.items():
            self._telemetry.waited("batch", waited)
            owner = self._owner.get(place)
            if owner is not None and owner.request is not None and not owner.begun:
                owner.begun = True  # Later rows of the same request wait while it already computes.
                owner.request.clock.queue_seconds += waited
        for owner in {self._owner[place] for place in call.places if place in self._owner}:
            if owner.request is not None:
                owner.request.clock.compute_seconds += call.seconds

    def _remaining(self, place: Place[R], at: float) -> float | None:
        """Seconds from `at` until the row's last step."""
        now = self._clock()
        if now - self._ends_told > _FORECAST_SECONDS or (self._ends is not None and place not in self._ends):
            forecast = self._forecast((), now)
            self._ends = None if forecast is None else {one: now + end for one, end in forecast.items()}
            self._ends_told = now
        end = (self._ends or {}).get(place)
        return None if end is None else max(0.0, end - at)

    def _fail(self, submission: _Submission[R], error: BaseException) -> None:
        self._remove(submission)
        submission.fail(error)

    def _remove(self, submission: _Submission[R]) -> None:
        """Takes the submission's rows out; nobody else's place changes."""
        if not submission.live:
            return
        for place in submission.live:
            self._forget(place)
        self._places = [place for place in self._places if place not in submission.live]
        submission.live.clear()
        self._plan_soon()

    def _forget(self, place: Place[R]) -> None:
        self._owner.pop(place, None)
        if self._ends is not None:
            self._ends.pop(place, None)
