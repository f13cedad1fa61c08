"""What a caller hears while the friendly calls run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from diptych.errors import DiptychError, from_status
from diptych.plans import Plan
from diptych.types import Picture, Record
from diptych.v1 import orchestrator_pb2


@dataclass(frozen=True)
class PlanMade:
    """First event of a goal."""

    plan: Plan


@dataclass(frozen=True)
class StepStarted:
    """A step began."""

    step_id: str
    service: str
    operation: str


@dataclass(frozen=True)
class StepProgress:
    """A step moved on; `fraction` is 0 to 1."""

    step_id: str
    fraction: float
    message: str


@dataclass(frozen=True)
class StepPreview:
    """A cheap estimate of a step's result."""

    step_id: str
    picture: Picture


@dataclass(frozen=True)
class StepFinished:
    """A step ended. `failure` is set when it failed and other results are kept, `skipped` says why it was left out."""

    step_id: str
    records: tuple[Record, ...]
    failure: DiptychError | None = None
    skipped: str = ""


Event: TypeAlias = PlanMade | StepStarted | StepProgress | StepPreview | StepFinished
OnEvent: TypeAlias = Callable[[Event], None]


def event_from_message(event: orchestrator_pb2.GoalEvent) -> Event | None:
    """The friendly form of a goal's event; None for `completed`, which becomes the result."""
    match event.WhichOneof("event"):
        case "plan":
            return PlanMade(Plan.from_message(event.plan))
        case "step_started":
            started = event.step_started
            return StepStarted(started.step_id, started.service, started.operation)
        case "progress":
            return StepProgress(event.progress.step_id, event.progress.fraction, event.progress.message)
        case "preview":
            return StepPreview(event.preview.step_id, Picture.from_message(event.preview.image))
        case "step_completed":
            done = event.step_completed
            failure = from_status(done.failure) if done.HasField("failure") else None
            return StepFinished(
                done.step_id, tuple(Record.from_message(r) for r in done.records), failure, done.skipped
            )
    return None
