"""Every failure diptych reports, and the one table between them and `google.rpc.Status`.

    DiptychError
    ├── InvalidRequest        INVALID_ARGUMENT      every fault at once, each with its field
    ├── NotFound              NOT_FOUND
    │   └── ModelNotFound
    ├── FailedPrecondition    FAILED_PRECONDITION   right request, wrong moment
    │   ├── ModelNotPulled
    │   └── ClarificationNeeded               a question first
    ├── Overloaded            RESOURCE_EXHAUSTED    come back after `retry_after` seconds
    ├── ServiceUnavailable    UNAVAILABLE           names the service
    ├── DeadlineExceeded      DEADLINE_EXCEEDED
    ├── Cancelled             CANCELLED
    ├── Unsupported           UNIMPLEMENTED         known to the contract, not served here
    ├── Unauthenticated       UNAUTHENTICATED
    ├── PermissionDenied      PERMISSION_DENIED
    ├── DataCorrupted         DATA_LOSS             stored bytes do not match their checksum
    └── InternalError         INTERNAL

Raise these anywhere. They become a status in `diptych.serving.interceptors` and an exception again in
`diptych.client`; nothing else maps errors.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN = "diptych"


@dataclass(frozen=True)
class FieldViolation:
    """One fault in a request: the field's path as the proto spells it, and what to do about it."""

    field: str
    description: str


class DiptychError(Exception):
    """A failure with a gRPC code, a machine-readable reason and a message that says what to do."""

    code: ClassVar[int] = code_pb2.UNKNOWN
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})

    @property
    def code_name(self) -> str:
        """The code as gRPC spells it, such as `INVALID_ARGUMENT`."""
        return str(code_pb2.Code.Name(code_pb2.Code.ValueType(self.code)))


class InvalidRequest(DiptychError):
    """The request itself is wrong; carries every violation found, not only the first."""

    code = code_pb2.INVALID_ARGUMENT
    default_reason = "INVALID_REQUEST"

    def __init__(
        self, violations: Sequence[FieldViolation], *, reason: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        if not violations:
            raise ValueError("InvalidRequest needs at least one violation")
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), reason=reason, metadata=metadata)
        self.violations = tuple(violations)

    @classmethod
    def single(cls, field: str, description: str, *, reason: str = "") -> "InvalidRequest":
        """An error with one violation."""
        return cls([FieldViolation(field, description)], reason=reason)


class NotFound(DiptychError):
    """A named thing does not exist."""

    code = code_pb2.NOT_FOUND
    default_reason = "NOT_FOUND"


class ModelNotFound(NotFound):
    """No model of that name in the repository; the message lists those there are."""

    default_reason = "MODEL_NOT_FOUND"

    def __init__(self, name: str, available: Collection[str] = ()) -> None:
        known = f"; available: {', '.join(sorted(available))}" if available else ""
        super().__init__(f"model {name!r} is not in the repository{known}", metadata={"model": name})


class FailedPrecondition(DiptychError):
    """The request is right, but something must happen first."""

    code = code_pb2.FAILED_PRECONDITION
    default_reason = "FAILED_PRECONDITION"


class ModelNotPulled(FailedPrecondition):
    """The model is known but its files are not on this machine."""

    default_reason = "MODEL_NOT_PULLED"

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name!r} is not pulled; run: diptych models pull {name}", metadata={"model": name})


class ClarificationNeeded(FailedPrecondition):
    """A goal cannot be done without asking: `question`, and the short answers that would settle it."""

    default_reason = "CLARIFICATION_NEEDED"

    def __init__(self, question: str, options: Sequence[str] = ()) -> None:
        super().__init__(question, metadata={f"option_{number}": text for number, text in enumerate(options, 1)})

    @property
    def question(self) -> str:
        """What must be answered first."""
        return self.message

    @property
    def options(self) -> tuple[str, ...]:
        """Possible answers, in order."""
        numbered = (key.removeprefix("option_") for key in self.metadata if key.startswith("option_"))
        return tuple(self.metadata[f"option_{n}"] for n in sorted((n for n in numbered if n.isdecimal()), key=int))


class Overloaded(DiptychError):
    """The service is full; `retry_after` is its own estimate in seconds."""

    code = code_pb2.RESOURCE_EXHAUSTED
    default_reason = "OVERLOADED"

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class ServiceUnavailable(DiptychError):
    """A service cannot be reached or is draining; `metadata["service"]` names it."""

    code = code_pb2.UNAVAILABLE
    default_reason = "SERVICE_UNAVAILABLE"

    def __init__(
        self, service: str, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, reason=reason, metadata={**(metadata or {}), "service": service})
        self.service = service


class DeadlineExceeded(DiptychError):
    """The caller's deadline passed, or would pass before the work could finish."""

    code = code_pb2.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(DiptychError):
    """The caller went away."""

    code = code_pb2.CANCELLED
    default_reason = "CANCELLED"


class Unsupported(DiptychError):
    """The contract names it, this server does not do it."""

    code = code_pb2.UNIMPLEMENTED
    default_reason = "UNSUPPORTED"


class Unauthenticated(DiptychError):
    """No credentials, or none that this server knows."""

    code = code_pb2.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(DiptychError):
    """Known caller, forbidden act."""

    code = code_pb2.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class DataCorrupted(DiptychError):
    """Stored bytes do not match their checksum."""

    code = code_pb2.DATA_LOSS
    default_reason = "DATA_CORRUPTED"


class InternalError(DiptychError):
    """A fault of diptych's own; the message never holds a path or a stack."""

    code = code_pb2.INTERNAL
    default_reason = "INTERNAL"


# Reason first, since it is the finer word; the code decides where a peer's reason is unknown.
_BY_CODE: dict[int, type[DiptychError]] = {
    kind.code: kind
    for kind in (
        InvalidRequest,
        NotFound,
        FailedPrecondition,
        Overloaded,
        ServiceUnavailable,
        DeadlineExceeded,
        Cancelled,
        Unsupported,
        Unauthenticated,
        PermissionDenied,
        DataCorrupted,
        InternalError,
    )
}
_BY_REASON: dict[str, type[DiptychError]] = {
    kind.default_reason: kind for kind in (ModelNotFound, ModelNotPulled, ClarificationNeeded)
}


def to_status(error: DiptychError) -> status_pb2.Status:
    """The `google.rpc.Status` of an error: always ErrorInfo, then BadRequest or RetryInfo where they apply."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    status = status_pb2.Status(code=error.code, message=error.message, details=[_pack(info)])
    if isinstance(error, InvalidRequest):
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
        status.details.append(_pack(bad))
    if isinstance(error, Overloaded) and error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        status.details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status


def from_status(status: status_pb2.Status) -> DiptychError:
    """The error that a status stands for; `from_status(to_status(e))` repeats type, reason, metadata and details."""
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for target in (info, bad, retry):
            if detail.Is(target.DESCRIPTOR):
                detail.Unpack(target)
    kind = _BY_REASON.get(info.reason) or _BY_CODE.get(status.code, DiptychError)
    error = kind.__new__(kind)
    # The subclass constructors build messages from parts; the peer already sent the whole message.
    DiptychError.__init__(error, status.message, reason=info.reason, metadata=info.metadata)
    if isinstance(error, InvalidRequest):
        violations = [FieldViolation(v.field, v.description) for v in bad.field_violations]
        error.violations = tuple(violations or [FieldViolation("", status.message)])
    if isinstance(error, Overloaded):
        known = retry.HasField("retry_delay")
        error.retry_after = retry.retry_delay.ToNanoseconds() / 1e9 if known else None
    if isinstance(error, ServiceUnavailable):
        error.service = error.metadata.get("service", "")
    return error


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
