"""Batching of single calls: items that arrive within a few milliseconds of one another share one model call."""

import asyncio
import contextlib
import contextvars
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from diptych.errors import DeadlineExceeded, InternalError, Overloaded, ServiceUnavailable
from diptych.serving.context import RequestContext, find_request, remaining_seconds
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker

I = TypeVar("I")  # noqa: E741 - item
R = TypeVar("R")

_SHORTEST_RETRY_SECONDS = 0.1


@dataclass(eq=False)
class Pending(Generic[I, R]):
    """An item and the future of its result. `arrived` and `deadline` in monotonic seconds."""

    item: I
    key: Hashable
    arrived: float
    deadline: float | None
    result: "asyncio.Future[R]"
    request: RequestContext | None = None

    def alive(self, now: float) -> bool:
        """Whether anyone still wants the result."""
        return not self.result.done() and (self.deadline is None or self.deadline > now)


@dataclass(frozen=True)
class Batch(Generic[I, R]):
    """The members to run now, or none and the seconds after which to look again."""

    members: tuple[Pending[I, R], ...]
    wait: float | None = None


def choose_batch(pending: Sequence[Pending[I, R]], *, max_batch: int, max_wait: float, now: float) -> Batch[I, R]:
    """The next batch: of the keys that are full or have waited long enough, the one whose item is oldest. Pure."""
    groups: dict[Hashable, list[Pending[I, R]]] = {}
    for one in pending:
        if one.alive(now):
            groups.setdefault(one.key, []).append(one)
    for members in groups.values():  # Insertion order: the key of the oldest item first.
        if len(members) >= max_batch or now - members[0].arrived >= max_wait:
            return Batch(tuple(members[:max_batch]))
    if not groups:
        return Batch(())
    return Batch((), min(members[0].arrived for members in groups.values()) + max_wait - now)


class DynamicBatcher(Generic[I, R]):
    """Collects items of equal key up to `max_batch`, or until the oldest has waited `max_wait` seconds.

    `run_batch` gets the items on the worker's thread and returns one result for each, in order. A result that is an
    Exception is raised for its item alone; if `run_batch` raises, all items of that batch get what it raised.
    """

    def __init__(
        self,
        worker: Worker,
        run_batch: Callable[[Sequence[I]], Sequence[R | Exception]],
        *,
        key: Callable[[I], Hashable],
        max_batch: int,
        max_wait: float = 0.005,
        max_waiting: int = 256,
        telemetry: Telemetry | None = None,
    ) -> None:
        if max_batch < 1 or max_wait < 0 or max_waiting < 1:
            raise ValueError("max_batch and max_waiting must be at least 1, max_wait at least 0")
        self._worker = worker
        self._run_batch = run_batch
        self._key = key
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._max_waiting = max_waiting
        self._telemetry = telemetry or Telemetry("unnamed")
        self._pending: list[Pending[I, R]] = []
        self._arrival = asyncio.Event()
        self._wheel: asyncio.Task[None] | None = None
        self._last_seconds = 0.0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Items not yet in a batch."""
        return len(self._pending)

    async def submit(self, item: I, deadline: float | None = None) -> R:
        """The result for `item`. `deadline` in monotonic seconds.

        Overloaded at once when `max_waiting` items wait; DeadlineExceeded when the deadline passes first; otherwise
        what `run_batch` raised or returned for it.
        """
        if self._closed:
            raise self._stopped()
        patience = remaining_seconds(deadline)
        if len(self._pending) >= self._max_waiting:
            self._telemetry.refused()
            retry_after = max(_SHORTEST_RETRY_SECONDS, self._last_seconds * self._max_waiting / self._max_batch)
            raise Overloaded(f"{self._max_waiting} items wait already; try again in {retry_after:.1f} s", retry_after)
        loop = asyncio.get_running_loop()
        one = Pending[I, R](item, self._key(item), time.monotonic(), deadline, loop.create_future(), find_request())
        self._pending.append(one)
        self._turn_wheel()
        patient = asyncio.timeout(patience)
        try:
            async with patient:
                return await one.result
        except TimeoutError:
            if patient.expired():
                raise DeadlineExceeded("the deadline passed before the model answered") from None
            raise
        finally:
            if one in self._pending:
                self._pending.remove(one)

    async def close(self) -> None:
        """Fails what waits with ServiceUnavailable and returns when the batch under way is over."""
        self._closed = True
        pending, self._pending = self._pending, []
        _fail(pending, self._stopped())
        self._arrival.set()
        if self._wheel is not None:
            await asyncio.wait([self._wheel])

    def _stopped(self) -> ServiceUnavailable:
        return ServiceUnavailable(self._worker.name, "the service stopped before this was done")

    def _turn_wheel(self) -> None:
        self._arrival.set()
        if self._wheel is None or self._wheel.done():
            # An empty context: the wheel serves everyone, so it must not carry the first caller's request.
            self._wheel = asyncio.get_running_loop().create_task(self._turn(), context=contextvars.Context())

    async def _turn(self) -> None:
        """Forms and runs batches while items wait."""
        try:
            while self._pending:
                await self._form()
        finally:
            # Items left here mean that the wheel broke, say on a key without a hash: no caller may wait for ever.
            error = sys.exception()
            _fail(self._pending, error if isinstance(error, Exception) else self._stopped())

    async def _form(self) -> None:
        """Runs one batch, or waits until there may be one."""
        self._arrival.clear()
        now = time.monotonic()
        self._pending = [one for one in self._pending if one.alive(now)]
        batch = choose_batch(self._pending, max_batch=self._max_batch, max_wait=self._max_wait, now=now)
        if batch.members:
            self._pending = [one for one in self._pending if one not in batch.members]
            await self._run(batch.members)
        elif self._pending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(batch.wait):
                    await self._arrival.wait()

    async def _run(self, members: Sequence[Pending[I, R]]) -> None:
        began = time.monotonic()
        self._telemetry.waiting("batch", len(self._pending))
        for one in members:
            self._telemetry.waited("batch", began - one.arrived)
        call = asyncio.ensure_future(self._worker.run(self._run_batch, [one.item for one in members]))
        await asyncio.wait([call])
        self._last_seconds = time.monotonic() - began
        self._telemetry.device_call(len(members), self._last_seconds)
        for one in members:
            if one.request is not None:
                one.request.clock.queue_seconds += began - one.arrived
                one.request.clock.compute_seconds += self._last_seconds
        if call.cancelled():
            _fail(members, self._stopped())
        elif (error := call.exception()) is not None:
            _fail(members, error)
        elif len(results := call.result()) != len(members):
            _fail(members, InternalError(f"the model gave {len(results)} results for {len(members)} items"))
        else:
            for one, result in zip(members, results, strict=True):
                if isinstance(result, Exception):
                    _fail([one], result)
                elif not one.result.done():
                    one.result.set_result(result)


def _fail(members: Sequence[Pending[I, R]], error: BaseException) -> None:
    for one in members:
        if not one.result.done():
            one.result.set_exception(error)
