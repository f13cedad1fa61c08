"""One thread that owns a device, so that no model ever runs on the event loop."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from diptych.errors import ServiceUnavailable
from diptych.serving.context import find_request

T = TypeVar("T")


class Worker:
    """Runs functions one after another on its own thread, in the order asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._closed = False

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """The result of `function(*args)`, or what it raised.

        A call that has not begun when the caller is cancelled never runs; one that has begun runs to its end and its
        result is dropped. Waiting and running time go to the current request's clock.
        """
        if self._closed:
            raise ServiceUnavailable(self.name, f"worker {self.name!r} is closed")
        request = find_request()
        asked = time.monotonic()

        def timed() -> T:
            began = time.monotonic()
            try:
                return function(*args)
            except StopIteration as error:
                # A future cannot carry StopIteration: the waiting task would hang.
                raise RuntimeError("a call on the worker raised StopIteration") from error
            finally:
                if request is not None:
                    request.clock.queue_seconds += began - asked
                    request.clock.compute_seconds += time.monotonic() - began

        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._thread, context.run, timed)

    def post(self, function: Callable[..., T], *args: object) -> "Future[T]":
        """`function(*args)` on the thread, on nobody's clock; to be asked from any thread, the worker's own too.

        ServiceUnavailable when the worker is closed; cancelled when it closes before the call begins.
        """
        try:
            return self._thread.submit(function, *args)
        except RuntimeError:  # It is shut down.
            raise ServiceUnavailable(self.name, f"worker {self.name!r} is closed") from None

    async def close(self) -> None:
        """Drops calls that have not begun and returns when the running one is over."""
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
