"""The door: so many at work, so many waiting, everyone else is told at once when to come back."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from diptych.errors import DeadlineExceeded, Overloaded
from diptych.serving.context import find_request, remaining_seconds
from diptych.serving.telemetry import Telemetry

# A single slow or fast request should nudge the estimate, not make it.
_SMOOTHING = 0.2
_FIRST_GUESS_SECONDS = 1.0
_SHORTEST_RETRY_SECONDS = 0.1


class Admission:
    """Permits for `limit_running` requests, a line of `limit_waiting`, first come first served."""

    def __init__(self, limit_running: int, limit_waiting: int, *, telemetry: Telemetry | None = None) -> None:
        if limit_running < 1 or limit_waiting < 0:
            raise ValueError("limit_running must be at least 1 and limit_waiting at least 0")
        self._limit_running = limit_running
        self._limit_waiting = limit_waiting
        self._telemetry = telemetry or Telemetry("unnamed")
        self._running = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._service_seconds: float | None = None

    @property
    def running(self) -> int:
        """Permits given out."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return len(self._line)

    def retry_after(self) -> float:
        """Seconds until a newcomer would likely find room, from recent service times."""
        each = self._service_seconds if self._service_seconds is not None else _FIRST_GUESS_SECONDS
        return max(_SHORTEST_RETRY_SECONDS, each * (len(self._line) + 1) / self._limit_running)

    @asynccontextmanager
    async def permit(self, deadline: float | None = None) -> AsyncIterator[None]:
        """Holds one permit inside the block. `deadline` in monotonic seconds.

        Overloaded at once when the line is full; DeadlineExceeded when the deadline passes in line.
        """
        arrived = time.monotonic()
        await self._acquire(deadline)
        began = time.monotonic()
        self._telemetry.waited("admission", began - arrived)
        if (request := find_request()) is not None:
            request.clock.queue_seconds += began - arrived
        try:
            yield
        finally:
            self._learn(time.monotonic() - began)
            self._release()

    async def _acquire(self, deadline: float | None) -> None:
        patience = remaining_seconds(deadline)
        if self._running < self._limit_running:
            self._running += 1
            self._telemetry.permits_held(self._running)
            return
        if len(self._line) >= self._limit_waiting:
            self._telemetry.refused()
            retry_after = self.retry_after()
            message = f"all {self._limit_running} places and {self._limit_waiting} waiting places are taken"
            raise Overloaded(f"{message}; try again in {retry_after:.1f} s", retry_after)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._telemetry.waiting("admission", len(self._line))
        admitted = False
        try:
            async with asyncio.timeout(patience):
                await turn
            admitted = True
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed while waiting for a free place") from None
        finally:
            if not admitted:
                self._leave_line(turn)

    def _leave_line(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self._release()  # The permit came in the same moment as the end of waiting: pass it on.
        elif turn in self._line:
            self._line.remove(turn)
            self._telemetry.waiting("admission", len(self._line))

    def _release(self) -> None:
        """Hands the permit to the first in line, so nobody overtakes; else puts it back."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():  # Done here means cancelled, its task not yet awake to leave the line itself.
                turn.set_result(None)
                break
        else:
            self._running -= 1
        self._telemetry.permits_held(self._running)
        self._telemetry.waiting("admission", len(self._line))

    def _learn(self, seconds: float) -> None:
        before = self._service_seconds
        self._service_seconds = seconds if before is None else before + _SMOOTHING * (seconds - before)
