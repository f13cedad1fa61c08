import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from diptych.serving.context import RequestContext, enter_request
from diptych.serving.telemetry import Telemetry, configure_logging


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


async def log_one(log_format: Literal["text", "json"], capsys: pytest.CaptureFixture[str]) -> str:
    configure_logging(log_format, "info")
    enter_request(RequestContext("r-17", "Toy/Run"))
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("toy").warning("it %s", "happened", exc_info=True, extra={"fields": {"rows": 3}})
    logging.getLogger("toy").debug("too quiet to show")
    return capsys.readouterr().err


async def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = (await log_one("json", capsys)).splitlines()
    record = json.loads(line)
    assert record["message"] == "it happened"
    assert (record["level"], record["logger"], record["request_id"], record["rows"]) == ("warning", "toy", "r-17", 3)
    assert "ValueError: odd" in record["exception"]


async def test_text_logs_carry_request_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    first = (await log_one("text", capsys)).splitlines()[0]
    assert first.endswith("WARNING toy [r-17] it happened rows=3")


def test_two_services_in_one_process_keep_their_metrics_apart() -> None:
    one, two = Telemetry("one"), Telemetry("two")
    one.request_began("Toy/Run")
    one.request_ended("Toy/Run", "OK", 0.2)
    labels = {"service": "one", "method": "Toy/Run", "code": "OK"}
    assert one.registry.get_sample_value("diptych_request_duration_seconds_count", labels) == 1
    assert two.registry.get_sample_value("diptych_request_duration_seconds_count", labels) is None


def test_durations_and_waits_are_in_seconds_by_name() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry("toy", registry)
    telemetry.waited("admission", 0.1)
    telemetry.device_call(3, 0.2)
    telemetry.refused()
    telemetry.rows_running(2)
    page = generate_latest(registry).decode()
    for name in (
        "diptych_queue_wait_seconds_bucket",
        "diptych_step_duration_seconds_bucket",
        "diptych_batch_rows_bucket",
        "diptych_requests_refused_total",
        "diptych_rows_running",
    ):
        assert name in page
