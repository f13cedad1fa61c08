"""From what was understood to what will be done: pure, no calls, no clock.

What has no order is given one, what the goal implies is added, a profile's preferences fill what is left open. Then
each picture that came along becomes a branch, unless an operation takes the second as its other picture. Where an
operation needs a picture that only words describe, the generator draws it first.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from diptych.v1 import editor_pb2, image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.intent import ClarifyReason, IntendedOperation, Intent
from services.orchestrator.intent.intent import route_of
from services.orchestrator.planning import slots as fill
from services.orchestrator.planning.branding import branded, finished
from services.orchestrator.planning.clarify import (
    clarification,
    lent_and_missing,
    needs_picture,
    not_found_by_name,
    which_mark,
    which_thing,
)
from services.orchestrator.planning.drafting import SECOND_PICTURE, Draft, pair_of, takes_second
from services.orchestrator.planning.implied import with_implied
from services.orchestrator.planning.known import Known
from services.orchestrator.planning.ordering import in_order
from services.orchestrator.planning.overlays import place_said
from services.orchestrator.planning.plan import seal
from services.orchestrator.planning.seeding import settle_seeds
from services.orchestrator.planning.wanted import Wanted, wanted_of
from services.orchestrator.planning.wording import told_of_file, why

_FORMATS = {
    "png": image_pb2.IMAGE_FORMAT_PNG,
    "jpg": image_pb2.IMAGE_FORMAT_JPEG,
    "jpeg": image_pb2.IMAGE_FORMAT_JPEG,
    "webp": image_pb2.IMAGE_FORMAT_WEBP,
    "avif": image_pb2.IMAGE_FORMAT_AVIF,
}
# What a goal may say of its file, and the most of it.
_OF_THE_FILE: tuple[tuple[Literal["max_bytes", "quality", "dpi"], int], ...] = (
    ("max_bytes", 2**32 - 1),
    ("quality", 100),
    ("dpi", 9600),
)


def plan_goal(goal: str, intent: Intent, num_images: int, known: Known | None = None) -> v1.Plan:
    """The sealed plan for a goal that came with `num_images` pictures; CLARIFY when something must be asked."""
    known = known or Known()
    reason = reason_to_ask(intent, num_images)
    mark = lent_and_missing(intent.operations, num_images) if reason is None else ""
    if mark and known.profile is not None and known.profile.watermark is not None:
        # The profile's own is laid over every result.
        known = replace(known, mark=_mark_said(intent))
        intent, mark = _without_marks(intent), ""
        if not intent.operations and (plan := plan_profile(num_images, known)) is not None:
            return plan

    def draft(operations: Sequence[IntendedOperation], pictures: int) -> v1.Plan:
        return _plan(goal, operations, pictures, intent.confidence, known)

    thing = not_found_by_name(intent.operations) if reason is None else ""
    if mark:
        plan = _asking(which_mark(mark, intent.operations, num_images, draft), intent.confidence)
    elif thing:
        plan = _asking(which_thing(thing, intent.operations, num_images, draft), intent.confidence)
    elif reason is None:
        plan = draft(intent.operations, num_images)
        plan.reading.route = v1.Route.Value(f"ROUTE_{intent.route}")
        plan.reading.operations.extend(operation.name for operation in intent.operations)
    else:
        plan = _asking(clarification(goal, intent, reason, num_images, draft), intent.confidence)
    for name, value in intent.slots.items():
        plan.slots[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return plan


def reason_to_ask(intent: Intent, num_images: int) -> ClarifyReason | None:
    """Why the caller must be asked before anything can be planned; None when nothing is open."""
    if intent.reason is not None:
        return intent.reason
    if not intent.operations:
        return ClarifyReason.VAGUE
    return ClarifyReason.NO_IMAGE if not num_images and needs_picture(intent.operations) else None


def _asking(question: v1.Clarification, confidence: float) -> v1.Plan:
    plan = v1.Plan(confidence=confidence, why="Guessing would be worse than asking.", clarification=question)
    plan.reading.route = v1.ROUTE_CLARIFY
    return seal(plan)


def _mark_said(intent: Intent) -> editor_pb2.Composite:
    """Where and how strongly the goal wants the mark; its width stays the profile's."""
    own = next(one for one in intent.operations if one.slots.get("own"))
    said = {"anchor": place_said(own.clause), "opacity": own.slots.get("opacity", "")}
    return fill.edit("composite", {name: value for name, value in said.items() if value != ""}).composite


def _without_marks(intent: Intent) -> Intent:
    kept = tuple(one for one in intent.operations if not one.slots.get("own"))
    return replace(intent, operations=kept, route=route_of(tuple(one.name for one in kept)))


def _plan(
    goal: str, operations: Sequence[IntendedOperation], num_images: int, confidence: float, known: Known
) -> v1.Plan:
    wanted, order = in_order(goal, wanted_of(operations))
    wanted = with_implied(goal, wanted, num_images)
    if known.profile is not None:
        wanted = branded(wanted, known.profile)
    draft = Draft(goal, num_images, known)
    sheet = next((at for at, one in enumerate(wanted) if one.slots.get("collage")), None)
    if sheet is not None:
        ends = draft.together(wanted, sheet)
    else:
        ends = [end for base in _bases(wanted, num_images) for end in draft.branch(wanted, base)]
    if known.profile is not None:
        for end in ends:
            finished(draft, end, wanted, known.profile)
    plan = v1.Plan(steps=draft.steps, confidence=confidence, output=written(wanted, known))
    told_of_file(plan)
    settle_seeds(plan, known.seed)
    seal(plan)
    plan.why = why(plan.route, len(operations), order)
    if known.profile is not None:
        plan.profile = known.profile.name
        plan.why += f" What it leaves open is filled from the profile “{known.profile.name}”."
    return plan


def plan_profile(num_images: int, known: Known) -> v1.Plan | None:
    """The sealed plan that does nothing but what the profile asks of every result; None where it asks for nothing."""
    draft = Draft("", num_images, known)
    if known.profile is not None:
        for base in range(num_images):
            finished(draft, v1.StepInput(goal_image=base), (), known.profile)
    if not draft.steps or known.profile is None:
        return None
    plan = v1.Plan(steps=draft.steps, confidence=1.0, output=written((), known), profile=known.profile.name)
    plan.reading.route = v1.ROUTE_EDIT
    seal(plan)
    plan.why = f"Only the profile “{known.profile.name}” is asked for: its sizes and its watermark are applied."
    return plan


def written(operations: Sequence[Wanted], known: Known) -> image_pb2.OutputOptions:
    """How results are written: as the caller asks, else as the goal says, else as the profile does, else PNG."""
    output = image_pb2.OutputOptions()
    output.CopyFrom(known.output)
    if output.format == image_pb2.IMAGE_FORMAT_UNSPECIFIED:
        said = [fill.words(operation.slots, "format").lower() for operation in operations]
        said = [name for name in said if name in _FORMATS]
        if known.profile is not None and known.profile.format is not None:
            said.insert(0, known.profile.format)
        # Within a limit whoever writes the file chooses: what is lossless may be too large, and JPEG has no alpha.
        limited = output.HasField("max_bytes") or _said(operations, "max_bytes", 2**32 - 1) is not None
        default = image_pb2.IMAGE_FORMAT_UNSPECIFIED if limited else image_pb2.IMAGE_FORMAT_PNG
        output.format = _FORMATS[said[-1]] if said else default
    for name, most in _OF_THE_FILE:
        if not output.HasField(name) and (value := _said(operations, name, most)) is not None:
            setattr(output, name, value)
    return output


def _said(operations: Sequence[Wanted], name: str, most: int) -> int | None:
    """The first whole number that the goal says of its file."""
    values = [fill.number(operation.slots, name, 1, most) for operation in operations]
    return next((round(value) for value in values if value is not None), None)


def _bases(operations: Sequence[Wanted], num_images: int) -> list[int | None]:
    """The number of the picture that each branch begins with; None where it begins with nothing."""
    if not num_images:
        return [None]
    drawn = next((at for at, one in enumerate(operations) if one.name == "generate"), len(operations))
    pairs = [pair_of(operation, num_images) for operation in operations[:drawn] if takes_second(operation, num_images)]
    if pairs:
        marked = [one for one in operations[:drawn] if takes_second(one, num_images)]
        if all(one.slots.get("own") for one in marked):
            # One mark for all the others.
            return [number for number in range(num_images) if number != pairs[0][1]]
        return [pairs[0][0]]
    if operations[0].name == "generate" and not any(operation.name in SECOND_PICTURE for operation in operations):
        return [None]
    return list(range(num_images))
