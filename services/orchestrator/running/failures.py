"""A peer's failure in the caller's terms: the plan step that failed, the caller's own picture that is at fault."""

import re
from collections.abc import Mapping, Sequence

from diptych.errors import DiptychError, FieldViolation, InvalidRequest
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import operation_of, service_of

_PLACE = re.compile(r"^spec\.(?:operations\[\d+\]\.?)?")
_OPERATION = re.compile(r"spec\.operations\[(\d+)\]")


def failing_step(error: DiptychError, steps: Sequence[v1.PlanStep], ended: int) -> v1.PlanStep:
    """Which of the steps of one call failed, when `ended` of them had ended.

    The path that the error names counts first (the editor refuses a request before it runs anything), then how far the
    call had come.
    """
    named = [int(index) for index in _OPERATION.findall(error.message)]
    at = min(named, default=ended)
    return steps[min(at, len(steps) - 1)]


def name_step(error: DiptychError, step: v1.PlanStep, pictures: Mapping[str, str]) -> DiptychError:
    """The same error with the step's id, operation and service in its metadata; code, reason and violations stay.

    `pictures` tells for paths in the peer's request which picture of the caller's own request went there.
    """
    error.metadata["step_id"] = step.id
    error.metadata["operation"] = operation_of(step)
    error.metadata["service"] = service_of(step)
    if isinstance(error, InvalidRequest):
        error.violations = tuple(
            FieldViolation(_renamed(fault.field, step, pictures), fault.description) for fault in error.violations
        )
    return error


def _renamed(field: str, step: v1.PlanStep, pictures: Mapping[str, str]) -> str:
    """The caller's own picture, else the field below its plan step: requests to peers are not the caller's."""
    for theirs, ours in pictures.items():
        if field == theirs or field.startswith(f"{theirs}."):
            return ours + field.removeprefix(theirs)
    return f"step {step.id}: {_PLACE.sub('', field)}"
