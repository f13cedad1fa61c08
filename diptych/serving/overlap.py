"""Calls on a worker without gaps: what comes next is decided while one runs.

From the worker's thread to the event loop and back takes half a millisecond, in which the device has nothing to do;
with steps of a few milliseconds that is a tenth of them. Servers of language models know this as overlapped or
asynchronous scheduling.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from diptych.errors import ServiceUnavailable
from diptych.serving.worker import Worker

C = TypeVar("C")


@dataclass(frozen=True)
class Ended(Generic[C]):
    """A call that is over, what it raised, and whether the worker went on with another at once."""

    call: C
    error: BaseException | None
    followed: bool


class Overlap(Generic[C]):
    """Runs `run(call)` on the worker, one call after another, and tells `ended` of each on the event loop.

    `trim(call)`, on the worker's thread, gives what should still run of a call that was offered while another ran, None
    for nothing. Then, or when the call before it failed, nothing runs until `ended` has heard of that and the next is
    offered. Between two, others' calls on the worker have their turn.
    """

    def __init__(
        self,
        worker: Worker,
        run: Callable[[C], None],
        *,
        trim: Callable[[C], C | None],
        ended: Callable[[Ended[C]], None],
    ) -> None:
        self._worker = worker
        self._run = run
        self._trim = trim
        self._ended = ended
        self._lock = threading.Lock()
        self._running = False
        self._next: C | None = None
        self._resting = asyncio.Event()
        self._resting.set()

    def offer(self, call: C | None) -> bool:
        """`call` comes next, instead of what was offered before. True when nothing ran, so that it begins at once and
        what comes after it may be offered.

        ServiceUnavailable when the worker is closed.
        """
        if self._running:
            with self._lock:
                self._next = call
            return False
        if call is None:
            return False
        self._begin(asyncio.get_running_loop(), call)
        self._running = True
        self._resting.clear()
        return True

    async def rest(self) -> None:
        """Returns when nothing runs and `ended` knows all that did."""
        await self._resting.wait()

    def _begin(self, loop: asyncio.AbstractEventLoop, call: C) -> None:
        self._worker.post(self._run, call).add_done_callback(partial(self._after, loop, call))

    def _after(self, loop: asyncio.AbstractEventLoop, call: C, future: "Future[None]") -> None:
        """On the worker's thread, mostly: goes on with the next call before anybody hears of this one."""
        dropped = future.cancelled()
        error = ServiceUnavailable(self._worker.name, "it was closed") if dropped else future.exception()
        with self._lock:
            following, self._next = self._next, None
        if following is not None:
            following = self._trim(following) if error is None else None
        if following is not None:
            try:
                self._begin(loop, following)
            except ServiceUnavailable as closed:
                error, following = closed, None
        loop.call_soon_threadsafe(self._arrive, Ended(call, error, following is not None))

    def _arrive(self, ended: Ended[C]) -> None:
        if not ended.followed:
            # Only now, so that nothing begins that was chosen in ignorance of how the call ended.
            self._running, self._next = False, None
            self._resting.set()
        self._ended(ended)
