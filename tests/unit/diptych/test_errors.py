"""The error tree and its table to google.rpc.Status, both ways."""

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from diptych import errors

EXAMPLES: list[errors.DiptychError] = [
    errors.InvalidRequest(
        [errors.FieldViolation("spec.width", "must be 8 or more"), errors.FieldViolation("spec.prompt", "is empty")]
    ),
    errors.NotFound("no such job", reason="JOB_NOT_FOUND"),
    errors.ModelNotFound("sdxl", ["a", "b"]),
    errors.FailedPrecondition("not yet"),
    errors.ModelNotPulled("isnet"),
    errors.ClarificationNeeded("which one?", ["the first", "the second"]),
    errors.Overloaded("full", 1.25),
    errors.Overloaded("message too large"),
    errors.ServiceUnavailable("editor", "cannot be reached"),
    errors.DeadlineExceeded("too late"),
    errors.Cancelled("gone"),
    errors.Unsupported("not served"),
    errors.Unauthenticated("who?"),
    errors.PermissionDenied("no"),
    errors.DataCorrupted("bad bytes"),
    errors.InternalError("reference 12"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: f"{type(e).__name__}-{e.reason}")
def test_an_error_survives_the_wire(error: errors.DiptychError) -> None:
    wire = status_pb2.Status.FromString(errors.to_status(error).SerializeToString())
    back = errors.from_status(wire)
    assert type(back) is type(error)
    assert vars(back) == vars(error)
    assert str(back) == str(error)


def test_every_kind_of_error_is_in_the_examples() -> None:
    def tree(kind: type[errors.DiptychError]) -> set[type[errors.DiptychError]]:
        return {kind}.union(*(tree(child) for child in kind.__subclasses__() if child.__module__ == errors.__name__))

    assert tree(errors.DiptychError) - {errors.DiptychError} <= {type(e) for e in EXAMPLES}


def test_details_are_the_standard_ones() -> None:
    status = errors.to_status(EXAMPLES[0])
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "diptych")
    assert [v.field for v in bad.field_violations] == ["spec.width", "spec.prompt"]
    retry = error_details_pb2.RetryInfo()
    assert errors.to_status(errors.Overloaded("full", 1.25)).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1250


def test_a_foreign_status_becomes_the_error_of_its_code() -> None:
    assert type(errors.from_status(status_pb2.Status(code=code_pb2.UNAVAILABLE))) is errors.ServiceUnavailable
    foreign = errors.from_status(status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="bad"))
    assert isinstance(foreign, errors.InvalidRequest)
    assert foreign.violations == (errors.FieldViolation("", "bad"),)
    assert type(errors.from_status(status_pb2.Status(code=code_pb2.ABORTED))) is errors.DiptychError


def test_an_invalid_request_needs_a_fault() -> None:
    with pytest.raises(ValueError):
        errors.InvalidRequest([])
