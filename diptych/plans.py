"""A plan as its caller sees it: route, steps with reasons, what was read, or one question."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from diptych.v1 import orchestrator_pb2


@dataclass(frozen=True)
class PlanStep:
    """One call to one service.

    `inputs`: "image 0" for the goal's pictures, "step 1" for earlier results, "kept 1a2b3c4d" for what is kept.
    `estimated_seconds`: None without history. `conditional`: left out when a look at the picture shows no need.
    """

    id: str
    service: str
    operation: str
    inputs: tuple[str, ...]
    reason: str
    estimated_seconds: float | None = None
    conditional: bool = False

    @classmethod
    def from_message(cls, step: orchestrator_pb2.PlanStep) -> "PlanStep":
        """The step in a message."""
        inputs = tuple(_input(one) for one in step.inputs)
        seconds = _seconds(step)
        return cls(step.id, step.service, step.operation, inputs, step.reason, seconds, bool(step.only_if))


@dataclass(frozen=True)
class Option:
    """One answer to a question. `plan` is ready for `run`."""

    label: str
    needs_image: bool
    plan: "Plan"


@dataclass(frozen=True)
class Clarification:
    """What must be known first: one question and two to four answers."""

    question: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Reading:
    """What a goal asks for, before it is made into steps. Routes as in `Plan`; operations in order."""

    route: str
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What will be done. `route` says which services take part: GENERATE, EDIT, CHAIN (both) or CLARIFY (none yet).

    `seed` and `profile` as applied, None and empty without. `message` is the v1 plan, which `run` sends back unchanged.
    """

    route: str
    reading: Reading
    steps: tuple[PlanStep, ...]
    slots: Mapping[str, str]
    confidence: float
    why: str
    clarification: Clarification | None
    digest: str
    estimated_seconds: float | None
    seed: int | None
    profile: str
    message: orchestrator_pb2.Plan = field(repr=False, compare=False)

    @classmethod
    def from_message(cls, plan: orchestrator_pb2.Plan) -> "Plan":
        """The plan in a message."""
        clarification = None
        if plan.HasField("clarification"):
            options = tuple(
                Option(option.label, option.needs_image, cls.from_message(option.plan))
                for option in plan.clarification.options
            )
            clarification = Clarification(plan.clarification.question, options)
        steps = tuple(PlanStep.from_message(step) for step in plan.steps)
        read = plan.HasField("reading")
        reading = Reading(
            _route(plan.reading.route if read else plan.route),
            tuple(plan.reading.operations) if read else tuple(step.operation for step in steps),
        )
        return cls(
            _route(plan.route),
            reading,
            steps,
            dict(plan.slots),
            plan.confidence,
            plan.why,
            clarification,
            plan.digest,
            _seconds(plan),
            plan.seed if plan.HasField("seed") else None,
            plan.profile,
            plan,
        )


def _input(taken: orchestrator_pb2.StepInput) -> str:
    match taken.WhichOneof("source"):
        case "goal_image":
            return f"image {taken.goal_image}"
        case "stored_sha256":
            return f"kept {taken.stored_sha256[:8]}"
    return f"step {taken.step_id}"


def _seconds(timed: orchestrator_pb2.Plan | orchestrator_pb2.PlanStep) -> float | None:
    return timed.estimated.ToNanoseconds() / 1e9 if timed.HasField("estimated") else None


def _route(route: orchestrator_pb2.Route.ValueType) -> str:
    return orchestrator_pb2.Route.Name(route).removeprefix("ROUTE_")
