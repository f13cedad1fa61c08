"""Everything that keeps a plan from running, found at once and each named by its path."""

import math
import re
from collections.abc import Iterator

from google.protobuf.message import Message

from diptych.errors import FieldViolation
from diptych.v1 import editor_pb2, image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.conditions import KINDS
from services.orchestrator.planning.plan import action_of, digest_of, makes_picture, operation_of, route_of

MAX_STEPS = 256
_SHA256 = re.compile(r"[0-9a-f]{64}")

# How many pictures an action takes, least and most.
_ARITY = {
    "generate": (0, 0),
    "vary": (1, 2),
    "animate_latents": (0, 0),
    "select": (1, 1),
    "analyze": (1, 1),
    "animate_image": (1, 1),
}
_TWO_PICTURES = frozenset({"replace_object", "add_object", "match_style", "composite"})
_SAID_IN_PLAN = "leave it out: how results are written is said in plan.output"
_NO_PLACE = "leave it out: a plan has no input for it yet"


def plan_faults(plan: v1.Plan, num_images: int) -> list[FieldViolation]:
    """Every fault of `plan` when `num_images` pictures come with it; paths begin at `plan`."""
    faults = []
    if not plan.steps:
        faults.append(FieldViolation("plan.steps", "give at least one step; a plan of route CLARIFY has none to run"))
    if len(plan.steps) > MAX_STEPS:
        faults.append(FieldViolation("plan.steps", f"{len(plan.steps)} steps; at most {MAX_STEPS}"))
    faults += [fault for index in range(len(plan.steps)) for fault in _step_faults(plan, index, num_images)]
    if plan.route not in (v1.ROUTE_UNSPECIFIED, route_of(plan.steps)) and plan.steps:
        right = v1.Route.Name(route_of(plan.steps))
        faults.append(FieldViolation("plan.route", f"the steps make it {right}; say that or leave it out"))
    if plan.digest and plan.digest != digest_of(plan):
        faults.append(FieldViolation("plan.digest", "is not this plan's own: plan anew, or leave the digest out"))
    return faults


def inputs_taken(step: v1.PlanStep) -> tuple[int, int]:
    """The least and the most pictures that the step takes."""
    action = action_of(step)
    if action != "edit":
        return _ARITY.get(action, (0, 2))
    operation = operation_of(step)
    second = operation in _TWO_PICTURES
    if operation == "replace_background":
        second = step.edit.replace_background.WhichOneof("background") == "image"
    if operation == "style_transfer":
        second = step.edit.style_transfer.WhichOneof("style") == "image"
    mask = step.edit.selection.WhichOneof("target") == "mask"
    count = 1 + second + mask
    return count, count


def _step_faults(plan: v1.Plan, index: int, num_images: int) -> Iterator[FieldViolation]:
    step, at = plan.steps[index], f"plan.steps[{index}]"
    earlier = {other.id: other for other in plan.steps[:index]}
    if not step.id:
        yield FieldViolation(f"{at}.id", 'give each step an id, such as "1"')
    elif step.id in earlier:
        yield FieldViolation(f"{at}.id", f"{step.id!r} names an earlier step already; ids are unique in a plan")
    if not action_of(step):
        yield FieldViolation(f"{at}.action", "set one, such as generate or edit")
    elif not operation_of(step):
        yield FieldViolation(f"{at}.edit.operation", "set one, such as upscale")
    else:
        yield from _action_faults(step, at)
    for number, taken in enumerate(step.inputs):
        yield from _input_faults(taken, earlier, plan, num_images, f"{at}.inputs[{number}]")
    if step.only_if and action_of(step) != "edit":
        yield FieldViolation(f"{at}.only_if", "only a step with an edit can pass its picture on instead; leave it out")
    for number, condition in enumerate(step.only_if):
        yield from _condition_faults(condition, earlier, f"{at}.only_if[{number}]")


def _action_faults(step: v1.PlanStep, at: str) -> Iterator[FieldViolation]:
    least, most = inputs_taken(step)
    if not least <= len(step.inputs) <= most:
        pictures = f"{least} to {most}" if least != most else str(least) if least else "no"
        noun = "picture" if most == 1 else "pictures"
        yield FieldViolation(
            f"{at}.inputs", f"{operation_of(step)} takes {pictures} {noun}, {len(step.inputs)} are given"
        )
    action = getattr(step, action_of(step))
    path = f"{at}.{action_of(step)}"
    for field, _ in _pictures_in(action, path):
        yield FieldViolation(field, "leave it empty: a plan's pictures come from inputs")
    if action_of(step) in ("generate", "vary"):
        for name, why in (("output", _SAID_IN_PLAN), ("references", _NO_PLACE), ("constraints", _NO_PLACE)):
            if name in {field.name for field, _ in action.ListFields()}:
                yield FieldViolation(f"{path}.{name}", why)
    if operation_of(step) == "replace_background" and not step.edit.replace_background.WhichOneof("background"):
        yield FieldViolation(f"{path}.replace_background.background", "set color, gradient, image or blur_radius")


def _input_faults(
    taken: v1.StepInput, earlier: dict[str, v1.PlanStep], plan: v1.Plan, num_images: int, at: str
) -> Iterator[FieldViolation]:
    source = taken.WhichOneof("source")
    if source is None:
        yield FieldViolation(f"{at}.source", "set goal_image, step_id or stored_sha256")
    elif source == "stored_sha256":
        if not _SHA256.fullmatch(taken.stored_sha256):
            yield FieldViolation(f"{at}.stored_sha256", "is not 64 hex digits")
    elif source == "goal_image":
        if taken.goal_image >= num_images:
            have = f"{num_images} pictures came along" if num_images else "no picture came along"
            yield FieldViolation(f"{at}.goal_image", f"picture {taken.goal_image} does not exist: {have}")
    elif taken.step_id not in earlier:
        known = any(step.id == taken.step_id for step in plan.steps)
        why = "does not stand earlier in the plan" if known else "is no step of this plan"
        yield FieldViolation(f"{at}.step_id", f"step {taken.step_id!r} {why}")
    elif not makes_picture(earlier[taken.step_id]):
        yield FieldViolation(f"{at}.step_id", f"step {taken.step_id!r} makes no picture")


def _condition_faults(condition: v1.Condition, earlier: dict[str, v1.PlanStep], at: str) -> Iterator[FieldViolation]:
    look = earlier.get(condition.step_id)
    if look is None or action_of(look) != "analyze":
        yield FieldViolation(f"{at}.step_id", f"step {condition.step_id!r} is no earlier step that analyzes")
    elif condition.measure in KINDS and look.analyze.kinds and KINDS[condition.measure] not in look.analyze.kinds:
        kind = editor_pb2.AnalysisKind.Name(KINDS[condition.measure])
        yield FieldViolation(
            f"{at}.measure", f"step {condition.step_id!r} does not look for it; add {kind} to its kinds"
        )
    if condition.measure == v1.MEASURE_UNSPECIFIED:
        yield FieldViolation(f"{at}.measure", "say which, such as MEASURE_EXPOSURE")
    bounds = [getattr(condition, name) for name in ("at_least", "at_most") if condition.HasField(name)]
    if not bounds or not all(math.isfinite(bound) for bound in bounds):
        yield FieldViolation(f"{at}.at_least", "set at_least or at_most, to a finite number")


def _pictures_in(message: Message, path: str) -> Iterator[tuple[str, image_pb2.Image]]:
    """Every picture with content inside a message, with its path."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        repeated = not isinstance(value, Message)
        for index, inner in enumerate(value if repeated else (value,)):
            inner_path = f"{path}.{field.name}[{index}]" if repeated else f"{path}.{field.name}"
            if isinstance(inner, image_pb2.Image):
                if inner.content:
                    yield f"{inner_path}.content", inner
            elif isinstance(inner, Message):
                yield from _pictures_in(inner, inner_path)
