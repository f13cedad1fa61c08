"""From what was understood to what will be done: pure, no calls, no clock.

Every picture that comes along is treated in a branch of its own, unless an operation takes the second as its other
picture. Where an operation needs a picture that only words describe, the generator draws it first.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from diptych.v1 import generator_pb2, image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator import slots as fill
from services.orchestrator.clarify import clarification, needs_picture
from services.orchestrator.intent import ClarifyReason, IntendedOperation, Intent
from services.orchestrator.plan import operation_of, seal
from services.orchestrator.wording import reason_for, why

# The slot whose words describe an operation's second picture.
_SECOND_PICTURE = {
    "replace_background": "background",
    "replace_object": "replacement",
    "add_object": "object",
    "composite": "object",
    "match_style": "style",
}
_NEEDS_SECOND = frozenset(_SECOND_PICTURE) - {"replace_background"}
# Things that are drawn on a ground of their own, which must not come along.
_THINGS = frozenset({"replace_object", "add_object"})
_OTHER_PICTURE = re.compile(r"\b(second|other|2nd|zweite\w*|andere\w*)\b|\b(picture|image|photo) ?2\b", re.IGNORECASE)
_FORMATS = {
    "png": image_pb2.IMAGE_FORMAT_PNG,
    "jpg": image_pb2.IMAGE_FORMAT_JPEG,
    "jpeg": image_pb2.IMAGE_FORMAT_JPEG,
    "webp": image_pb2.IMAGE_FORMAT_WEBP,
}


def plan_goal(goal: str, intent: Intent, num_images: int, output: image_pb2.OutputOptions | None = None) -> v1.Plan:
    """The sealed plan for a goal that came with `num_images` pictures; CLARIFY when something must be asked."""

    def draft(operations: Sequence[IntendedOperation], pictures: int) -> v1.Plan:
        return _plan(goal, operations, pictures, intent.confidence, output)

    reason = intent.reason
    if reason is None and not intent.operations:
        reason = ClarifyReason.VAGUE
    elif reason is None and not num_images and needs_picture(intent.operations):
        reason = ClarifyReason.NO_IMAGE
    if reason is None:
        plan = draft(intent.operations, num_images)
        plan.reading.route = v1.Route.Value(f"ROUTE_{intent.route}")
        plan.reading.operations.extend(operation.name for operation in intent.operations)
    else:
        plan = v1.Plan(confidence=intent.confidence)
        plan.clarification.CopyFrom(clarification(goal, intent, reason, num_images, draft))
        plan.why = "Guessing would be worse than asking."
        plan.reading.route = v1.ROUTE_CLARIFY
        seal(plan)
    for name, value in intent.slots.items():
        plan.slots[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return plan


def _plan(
    goal: str,
    operations: Sequence[IntendedOperation],
    num_images: int,
    confidence: float,
    output: image_pb2.OutputOptions | None,
) -> v1.Plan:
    draft = _Draft(goal, num_images)
    for base in _bases(operations, num_images):
        draft.branch(operations, base)
    plan = seal(v1.Plan(steps=draft.steps, confidence=confidence, output=_output(operations, output)))
    plan.why = why(plan.route, plan.steps)
    return plan


def _output(operations: Sequence[IntendedOperation], asked: image_pb2.OutputOptions | None) -> image_pb2.OutputOptions:
    """How results are written: as the caller asks, else as the goal says, else PNG."""
    output = image_pb2.OutputOptions()
    if asked is not None:
        output.CopyFrom(asked)
    if output.format == image_pb2.IMAGE_FORMAT_UNSPECIFIED:
        said = [fill.words(operation.slots, "format").lower() for operation in operations]
        named = [_FORMATS[name] for name in said if name in _FORMATS]
        output.format = named[-1] if named else image_pb2.IMAGE_FORMAT_PNG
    return output


def _takes_second(operation: IntendedOperation, num_images: int) -> bool:
    """Whether the operation's other picture is the second of those that came along."""
    if num_images < 2:
        return False
    slot = _SECOND_PICTURE.get(operation.name, "style" if operation.name == "style_transfer" else "")
    said = fill.words(operation.slots, slot) if slot else ""
    return bool(slot) and (not said or bool(_OTHER_PICTURE.search(f"{said} {operation.clause}")))


def _bases(operations: Sequence[IntendedOperation], num_images: int) -> list[int | None]:
    """The number of the picture that each branch begins with; None where it begins with nothing."""
    if not num_images:
        return [None]
    if any(_takes_second(operation, num_images) for operation in operations):
        return [0]
    if operations[0].name == "generate" and not any(operation.name in _SECOND_PICTURE for operation in operations):
        return [None]
    return list(range(num_images))


@dataclass
class _Draft:
    """Steps being written, in order."""

    goal: str
    num_images: int
    steps: list[v1.PlanStep] = field(default_factory=list)
    drawn: dict[str, v1.StepInput] = field(default_factory=dict)

    def branch(self, operations: Sequence[IntendedOperation], base: int | None) -> None:
        """Writes the steps for one picture."""
        current = None if base is None else v1.StepInput(goal_image=base)
        spare: v1.StepInput | None = None
        for index, operation in enumerate(operations):
            if operation.name == "generate":
                drawn = self._draw(operation)
                # Drawn beside a picture that is worked on, it is what a later step lays into that one.
                later = any(other.name in _SECOND_PICTURE for other in operations[index + 1 :])
                spare, current = (drawn, current) if current is not None and later else (spare, drawn)
            elif operation.name == "analyze":
                self._add(operation, v1.PlanStep(analyze=v1.AnalyzeImageStep()), [current])
            elif operation.name == "vary":
                step = v1.PlanStep(vary=fill.variation(self.goal, operation.slots))
                current = self._add(operation, step, [current])
            elif operation.name == "animate":
                self._animate(operation, current)
            elif operation.name == "crop":
                current = self._crop(operation, current)
            else:
                current, spare = self._edit(operation, current, spare)

    def _draw(self, operation: IntendedOperation) -> v1.StepInput:
        slots = operation.slots
        drawn = self._add(operation, v1.PlanStep(generate=fill.generation(self.goal, slots)), [])
        # The model draws at its own size; what the goal asks for is made from that.
        implied = []
        if any(slots.get(name) for name in ("width", "height", "platform")):
            implied.append("resize")
        elif fill.aspect_of(slots) is not None:
            implied.append("crop")
        for name in implied:
            drawn = self._add(operation, v1.PlanStep(edit=fill.edit(name, slots)), [drawn])
        return drawn

    def _crop(self, operation: IntendedOperation, current: v1.StepInput | None) -> v1.StepInput | None:
        """A crop, and where a size is named as well, that size; a platform's size alone crops what is over."""
        slots = operation.slots
        sized = bool(slots.get("platform")) or all(slots.get(side) for side in ("width", "height"))
        if not slots.get("platform") or slots.get("aspect") or slots.get("object"):
            current = self._add(operation, v1.PlanStep(edit=fill.edit("crop", slots)), [current])
        if sized:
            current = self._add(operation, v1.PlanStep(edit=fill.edit("resize", slots)), [current])
        return current

    def _animate(self, operation: IntendedOperation, current: v1.StepInput | None) -> None:
        if current is not None:
            self._add(operation, v1.PlanStep(animate_image=fill.film_of_still(operation.slots)), [current])
            return
        prompt = fill.generation(self.goal, operation.slots).prompt
        step = v1.PlanStep()
        step.animate_latents.keyframes.extend(generator_pb2.LatentKeyframe(prompt=prompt) for _ in range(2))
        if (length := fill.film_length(operation.slots)) is not None:
            step.animate_latents.duration.CopyFrom(length)
        self._add(operation, step, [])

    def _edit(
        self, operation: IntendedOperation, current: v1.StepInput | None, spare: v1.StepInput | None
    ) -> tuple[v1.StepInput, v1.StepInput | None]:
        edit = fill.edit(operation.name, operation.slots)
        inputs = [current]
        if _takes_second(operation, self.num_images):
            inputs.append(v1.StepInput(goal_image=1))
        elif operation.name in _SECOND_PICTURE and spare is not None:
            inputs.append(spare)
            spare = None
        elif operation.name in _NEEDS_SECOND or edit.replace_background.HasField("image"):
            inputs.append(self._drawn_for(operation))
        if len(inputs) > 1 and operation.name == "replace_background":
            edit.replace_background.image.SetInParent()
        if len(inputs) > 1 and operation.name == "style_transfer":
            edit.style_transfer.image.SetInParent()
        return self._add(operation, v1.PlanStep(edit=edit), inputs), spare

    def _drawn_for(self, operation: IntendedOperation) -> v1.StepInput:
        """The picture that the operation describes in words; the same words are drawn once."""
        said, text = fill.words(operation.slots, _SECOND_PICTURE[operation.name]), fill.words(operation.slots, "text")
        described = f'the words "{text}"' if text else said
        prompt = fill.clipped(described or operation.clause.strip() or self.goal)
        if prompt not in self.drawn:
            step = v1.PlanStep(generate=generator_pb2.GenerationSpec(prompt=prompt))
            drawn = self._add(operation, step, [])
            if operation.name in _THINGS and not text:
                drawn = self._add(operation, v1.PlanStep(edit=fill.edit("remove_background", {})), [drawn])
            self.drawn[prompt] = drawn
        return self.drawn[prompt]

    def _add(
        self, operation: IntendedOperation, step: v1.PlanStep, inputs: Sequence[v1.StepInput | None]
    ) -> v1.StepInput:
        step.id = str(len(self.steps) + 1)
        step.inputs.extend(taken for taken in inputs if taken is not None)
        step.reason = reason_for(step, operation.clause)
        if len(step.inputs) == 1:
            step.reason = f"{step.reason} {fill.assumption(operation_of(step), operation.slots)}".rstrip()
        self.steps.append(step)
        return v1.StepInput(step_id=step.id)
