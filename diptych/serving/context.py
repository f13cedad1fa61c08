"""What is known of the request being served: its id, caller, deadline and clock."""

import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from diptych.errors import DeadlineExceeded
from diptych.v1 import image_pb2


@dataclass
class RequestClock:
    """Where a request's time went, in seconds. Admission, worker and batchers add to it as they serve the request."""

    started: float = field(default_factory=time.monotonic)
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0

    def total_seconds(self) -> float:
        """Seconds since the request arrived."""
        return time.monotonic() - self.started

    def timing(self) -> image_pb2.Timing:
        """The times so far, as answers carry them."""
        return image_pb2.Timing(
            queue=_duration(self.queue_seconds),
            compute=_duration(self.compute_seconds),
            total=_duration(self.total_seconds()),
        )


@dataclass(frozen=True)
class RequestContext:
    """One request as the runtime sees it. `deadline` is in `time.monotonic()` seconds, None if none was set."""

    request_id: str
    method: str
    caller: str | None = None
    deadline: float | None = None
    clock: RequestClock = field(default_factory=RequestClock)


_CURRENT: ContextVar[RequestContext | None] = ContextVar("diptych_request", default=None)


def current_request() -> RequestContext:
    """The request that the calling task serves. LookupError outside of one."""
    request = _CURRENT.get()
    if request is None:
        raise LookupError("no request is being served here")
    return request


def find_request() -> RequestContext | None:
    """The request that the calling task serves, or None outside of one."""
    return _CURRENT.get()


def enter_request(request: RequestContext) -> None:
    """Makes `request` the current one for the rest of the calling task, and for tasks and threads it starts."""
    _CURRENT.set(request)


def remaining_seconds(deadline: float | None, *, now: float | None = None) -> float | None:
    """Seconds until `deadline` (monotonic), None without one. DeadlineExceeded when none are left."""
    if deadline is None:
        return None
    remaining = deadline - (time.monotonic() if now is None else now)
    if remaining <= 0:
        raise DeadlineExceeded("the deadline passed before the work could begin")
    return remaining


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
