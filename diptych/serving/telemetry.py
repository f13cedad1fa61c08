"""Prometheus metrics with units in their names, and logs that carry the request id. Never prompts, never pixels."""

import asyncio
import json
import logging
import sys
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from diptych.serving.context import find_request

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 180.0, 600.0)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


class Telemetry:
    """The metrics of one service, in a registry of its own unless one is passed in."""

    def __init__(self, service: str, registry: CollectorRegistry | None = None) -> None:
        self.service = service
        self.registry = registry or CollectorRegistry()
        self._request_duration = Histogram(
            "diptych_request_duration_seconds",
            "From arrival of a call to its end.",
            ["service", "method", "code"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._requests_in_flight = Gauge(
            "diptych_requests_in_flight", "Calls begun and not ended.", ["service", "method"], registry=self.registry
        )
        self._refused = Counter(
            "diptych_requests_refused_total", "Calls refused for want of room.", ["service"], registry=self.registry
        )
        self._queue_wait = Histogram(
            "diptych_queue_wait_seconds",
            "Waiting for a permit (admission) or for a place in a batch (batch).",
            ["service", "queue"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "diptych_queue_waiting", "Who waits now, by queue.", ["service", "queue"], registry=self.registry
        )
        self._permits = Gauge("diptych_permits_held", "Requests at work.", ["service"], registry=self.registry)
        self._tasks = Gauge(
            "diptych_tasks", "Tasks on the event loop, whatever they do.", ["service"], registry=self.registry
        )
        self._rows_running = Gauge(
            "diptych_rows_running", "Rows that have joined the running batch.", ["service"], registry=self.registry
        )
        self._batch_rows = Histogram(
            "diptych_batch_rows",
            "Rows or items in one device call.",
            ["service"],
            buckets=_SIZES,
            registry=self.registry,
        )
        self._step_duration = Histogram(
            "diptych_step_duration_seconds",
            "One device call: a step of the running batch, or a collected batch.",
            ["service"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def request_began(self, method: str) -> None:
        """Counts a call in; `method` such as `GeneratorService/GenerateImage`."""
        self._requests_in_flight.labels(self.service, method).inc()

    def request_ended(self, method: str, code: str, seconds: float) -> None:
        """Counts a call out with its gRPC code and its time."""
        self._requests_in_flight.labels(self.service, method).dec()
        self._request_duration.labels(self.service, method, code).observe(seconds)

    def refused(self) -> None:
        """Counts a refusal by a full queue."""
        self._refused.labels(self.service).inc()

    def waited(self, queue: str, seconds: float) -> None:
        """Records a wait that ended in service."""
        self._queue_wait.labels(self.service, queue).observe(seconds)

    def waiting(self, queue: str, count: int) -> None:
        """Sets how many wait in `queue` now."""
        self._waiting.labels(self.service, queue).set(count)

    def permits_held(self, count: int) -> None:
        """Sets how many requests are at work."""
        self._permits.labels(self.service).set(count)

    def watch_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Counts the tasks of `loop` whenever somebody looks."""
        self._tasks.labels(self.service).set_function(lambda: len(asyncio.all_tasks(loop)))

    def rows_running(self, count: int) -> None:
        """Sets how many rows have joined."""
        self._rows_running.labels(self.service).set(count)

    def device_call(self, size: int, seconds: float) -> None:
        """Records one device call of `size` rows or items."""
        self._batch_rows.labels(self.service).observe(size)
        self._step_duration.labels(self.service).observe(seconds)


class _Text(logging.Formatter):
    """One line a record: time, level, logger, request id, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        record.request = f" [{request_id}]" if (request_id := _request_id()) else ""
        record.pairs = "".join(f" {name}={value}" for name, value in fields.items())
        return super().format(record)


class _Json(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := _request_id():
            entry["request_id"] = request_id
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def _request_id() -> str:
    request = find_request()
    return request.request_id if request is not None else ""


def configure_logging(log_format: Literal["text", "json"], level: str) -> None:
    """Sends all logs to stderr in the given form. Extra facts go in as `extra={"fields": {...}}`."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(_Text("%(asctime)s %(levelname)s %(name)s%(request)s %(message)s%(pairs)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
