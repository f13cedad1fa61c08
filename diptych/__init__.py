"""diptych: self-hosted image generation and editing behind gRPC.

from diptych import Client

with Client() as client:
    client.create("draw a red apple icon and cut out the background").save("apple.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diptych.client import AsyncClient
    from diptych.connection import Tls
    from diptych.errors import (
        Cancelled,
        ClarificationNeeded,
        DataCorrupted,
        DeadlineExceeded,
        DiptychError,
        FailedPrecondition,
        FieldViolation,
        InternalError,
        InvalidRequest,
        ModelNotFound,
        ModelNotPulled,
        NotFound,
        Overloaded,
        PermissionDenied,
        ServiceUnavailable,
        Unauthenticated,
        Unsupported,
    )
    from diptych.events import Event, PlanMade, StepFinished, StepPreview, StepProgress, StepStarted
    from diptych.findings import AnalyzeResult
    from diptych.guides import Constraint, Reference
    from diptych.operations import operation, parse_operation
    from diptych.plans import Plan, PlanStep
    from diptych.sync import Client
    from diptych.types import (
        CreateResult,
        EditResult,
        Film,
        FilmResult,
        GenerateResult,
        Marking,
        ModelInfo,
        ModelUse,
        Outcome,
        Picture,
        Record,
    )

_HOMES = {
    "diptych.client": ("AsyncClient",),
    "diptych.connection": ("Tls",),
    "diptych.errors": (
        "Cancelled",
        "ClarificationNeeded",
        "DataCorrupted",
        "DeadlineExceeded",
        "DiptychError",
        "FailedPrecondition",
        "FieldViolation",
        "InternalError",
        "InvalidRequest",
        "ModelNotFound",
        "ModelNotPulled",
        "NotFound",
        "Overloaded",
        "PermissionDenied",
        "ServiceUnavailable",
        "Unauthenticated",
        "Unsupported",
    ),
    "diptych.events": ("Event", "PlanMade", "StepFinished", "StepPreview", "StepProgress", "StepStarted"),
    "diptych.findings": ("AnalyzeResult",),
    "diptych.guides": ("Constraint", "Reference"),
    "diptych.operations": ("operation", "parse_operation"),
    "diptych.plans": ("Plan", "PlanStep"),
    "diptych.sync": ("Client",),
    "diptych.types": (
        "CreateResult",
        "EditResult",
        "Film",
        "FilmResult",
        "GenerateResult",
        "Marking",
        "ModelInfo",
        "ModelUse",
        "Outcome",
        "Picture",
        "Record",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AnalyzeResult",
    "AsyncClient",
    "Cancelled",
    "ClarificationNeeded",
    "Client",
    "Constraint",
    "CreateResult",
    "DataCorrupted",
    "DeadlineExceeded",
    "DiptychError",
    "EditResult",
    "Event",
    "FailedPrecondition",
    "FieldViolation",
    "Film",
    "FilmResult",
    "GenerateResult",
    "InternalError",
    "InvalidRequest",
    "Marking",
    "ModelInfo",
    "ModelNotFound",
    "ModelNotPulled",
    "ModelUse",
    "NotFound",
    "Outcome",
    "Overloaded",
    "PermissionDenied",
    "Picture",
    "Plan",
    "PlanMade",
    "PlanStep",
    "Record",
    "Reference",
    "ServiceUnavailable",
    "StepFinished",
    "StepPreview",
    "StepProgress",
    "StepStarted",
    "Tls",
    "Unauthenticated",
    "Unsupported",
    "operation",
    "parse_operation",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Importing a submodule such as diptych.errors must not load gRPC: a name's home is loaded when it is asked for.
        if name not in _HOME:
            raise AttributeError(f"module 'diptych' has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})
