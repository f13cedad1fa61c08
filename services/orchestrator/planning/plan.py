"""What a plan is: the names of its steps, its route, its digest. Plans are `v1.Plan` messages throughout.

route      which services the steps use, derived from them
digest     "sha256:" over route, steps and inputs; words (reasons) and estimates are left out
pictures   steps whose result is one: all but those that look and those that film
"""

import hashlib
from collections.abc import Iterable, Sequence

from diptych.v1 import editor_pb2
from diptych.v1 import orchestrator_pb2 as v1

GENERATOR = "generator"
EDITOR = "editor"

_GENERATOR_ACTIONS = frozenset({"generate", "vary", "animate_latents"})
_OPERATIONS = {"animate_latents": "animate", "animate_image": "animate", "select": "select_region"}
_PICTURELESS_ACTIONS = frozenset({"analyze", "animate_latents", "animate_image"})


def action_of(step: v1.PlanStep) -> str:
    """The field of the step's action, such as "edit"; empty when none is set."""
    return step.WhichOneof("action") or ""


def operation_of(step: v1.PlanStep) -> str:
    """The operation's name, such as "generate" or "upscale"; empty when none is set."""
    action = action_of(step)
    if action == "edit":
        return step.edit.WhichOneof("operation") or ""
    return _OPERATIONS.get(action, action)


def service_of(step: v1.PlanStep) -> str:
    """The service that does the step."""
    return GENERATOR if action_of(step) in _GENERATOR_ACTIONS else EDITOR


def makes_picture(step: v1.PlanStep) -> bool:
    """Whether later steps can take its result."""
    return action_of(step) not in _PICTURELESS_ACTIONS


def route_of(steps: Sequence[v1.PlanStep]) -> v1.Route.ValueType:
    """The route over the services that the steps use; CLARIFY when there are none."""
    services = {service_of(step) for step in steps}
    if len(services) == 2:
        return v1.ROUTE_CHAIN
    if not services:
        return v1.ROUTE_CLARIFY
    return v1.ROUTE_GENERATE if GENERATOR in services else v1.ROUTE_EDIT


def taken_steps(step: v1.PlanStep) -> tuple[str, ...]:
    """Ids of the steps whose results it takes."""
    return tuple(taken.step_id for taken in step.inputs if taken.WhichOneof("source") == "step_id")


def last_steps(steps: Iterable[v1.PlanStep]) -> list[v1.PlanStep]:
    """The steps whose results are the plan's, in order: nobody takes them, or only to look."""
    steps = list(steps)
    taken = {step_id for step in steps if action_of(step) != "analyze" for step_id in taken_steps(step)}
    return [step for step in steps if step.id not in taken]


def digest_of(plan: v1.Plan) -> str:
    """ "sha256:" and the hash over what the plan does: route, and each step's id, action and inputs."""
    essence = v1.Plan(route=plan.route)
    for step in plan.steps:
        bare = essence.steps.add()
        bare.CopyFrom(step)
        for field in ("reason", "service", "operation", "estimated"):
            bare.ClearField(field)
    return "sha256:" + hashlib.sha256(essence.SerializeToString(deterministic=True)).hexdigest()


def seal(plan: v1.Plan) -> v1.Plan:
    """The same plan with everything derived filled in: each step's service and operation, route and digest."""
    for step in plan.steps:
        step.service = service_of(step)
        step.operation = operation_of(step)
    plan.route = route_of(plan.steps)
    plan.digest = digest_of(plan)
    return plan


def unchanged() -> editor_pb2.Operation:
    """The edit that passes a picture on as it is, so that it is written anew; it looks at the light alone."""
    return editor_pb2.Operation(analyze=editor_pb2.Analyze(kinds=[editor_pb2.ANALYSIS_KIND_LIGHTING]))


def writes_only(step: v1.PlanStep) -> bool:
    """Whether it is the edit that passes a picture on as it is."""
    return step.edit == unchanged()
