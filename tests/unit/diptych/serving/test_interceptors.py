import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from diptych.errors import FieldViolation, InvalidRequest, from_status, to_status
from diptych.serving.interceptors import InFlight, _write_all, fit_trailers


def test_a_small_status_stays_as_it_is() -> None:
    status = to_status(InvalidRequest([FieldViolation("spec.width", "give a multiple of 8")]))
    assert fit_trailers(status) == status


def test_a_thousand_violations_fit_into_trailers() -> None:
    faults = [FieldViolation(f"operations[{index}].scale", "give 2, 3 or 4") for index in range(1000)]
    fitted = fit_trailers(to_status(InvalidRequest(faults)))
    assert fitted.ByteSize() <= 4096
    error = from_status(fitted)
    assert isinstance(error, InvalidRequest)
    assert error.reason == "INVALID_REQUEST"
    assert error.violations == tuple(faults[: len(error.violations)])
    assert len(error.violations) > 10


def test_one_endless_violation_is_left_out_and_the_reason_kept() -> None:
    fitted = fit_trailers(to_status(InvalidRequest.single("prompt", "x" * 1_000_000)))
    assert fitted.ByteSize() <= 4096
    assert any(detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for detail in fitted.details)


def test_the_status_given_is_not_changed() -> None:
    status = status_pb2.Status(code=3, message="m" * 5000)
    assert len(fit_trailers(status).message) < 5000
    assert len(status.message) == 5000


class GoneCaller:
    """A context whose caller has left: gRPC fails the send before it cancels the handler."""

    async def write(self, message: object) -> None:
        raise grpc.aio.InternalError("Failed execute_batch")


async def test_a_send_to_a_caller_who_left_is_a_cancellation_and_closes_the_handler() -> None:
    closed = []

    async def handler() -> AsyncIterator[str]:
        try:
            yield "picture"
        finally:
            closed.append(True)

    with pytest.raises(asyncio.CancelledError):
        await _write_all(handler(), cast("grpc.aio.ServicerContext[Any, Any]", GoneCaller()))
    assert closed == [True]


async def test_a_call_is_in_flight_until_its_handler_is_over_and_its_answer_sent() -> None:
    in_flight = InFlight()
    assert await in_flight.wait_idle(0)
    end_one_half, end_other_half = in_flight.begin(), in_flight.begin()
    end_one_half()
    end_other_half()
    end_one_half()
    assert in_flight.count == 1
    assert not await in_flight.wait_idle(0)
    end_other_half()
    assert await in_flight.wait_idle(0)
