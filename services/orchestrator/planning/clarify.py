"""One question instead of a guess, with two to four answers that are plans themselves."""

import re
from collections.abc import Callable, Sequence

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.intent import ClarifyReason, IntendedOperation, Intent
from services.orchestrator.planning.slots import unnamed
from services.orchestrator.planning.wording import option_label

Draft = Callable[[Sequence[IntendedOperation], int], v1.Plan]

_MOST_OPTIONS = 4
_QUESTIONS = {
    ClarifyReason.NO_IMAGE: "Which picture is meant? None is attached.",
    ClarifyReason.VAGUE: "What should be done to the picture?",
    ClarifyReason.UNREADABLE: "This cannot be read as a goal. What should be done?",
    ClarifyReason.UNSURE: "Which of these is meant?",
}
# What people mean most often when they have a picture and say little.
_USUAL = ("enhance", "remove_background", "upscale")
# Words that show a scene rather than ask for a change: beside a picture they may be meant for a new one.
_DESCRIBED = re.compile(
    r"^\W*(?:(?:an?|some|two|three|ein(?:e[nr]?)?|une?|des|un[ao]?s?)\s+\w+|(?:photo|picture|image|drawing|painting|portrait|"
    r"illustration|bild|foto|dessin|dibujo)s?\s+(?:of|von|eines?r?|de|d')\b)|^一[张个只幅位]",
    re.IGNORECASE,
)


def needs_picture(operations: Sequence[IntendedOperation]) -> bool:
    """Whether an operation comes to its turn with no picture to work on; one that was generated counts."""
    for operation in operations:
        if operation.name == "generate":
            return False
        if operation.name != "animate":
            return True
    return False


def lent_and_missing(operations: Sequence[IntendedOperation], num_images: int) -> str:
    """The caller's own logo or watermark that is to be laid over and did not come along; empty when none is missing."""
    drawn = any(operation.name == "generate" for operation in operations)
    mark = next((str(one.slots["own"]) for one in operations if one.slots.get("own")), "")
    return mark if num_images < (1 if drawn else 2) else ""


def which_mark(mark: str, operations: Sequence[IntendedOperation], num_images: int, draft: Draft) -> v1.Clarification:
    """The question where somebody's own logo is to be laid over and is not there."""
    drawn = [
        IntendedOperation(one.name, {**one.slots, "object": one.slots["own"], "own": ""}, one.clause)
        if one.slots.get("own")
        else one
        for one in operations
    ]
    without = [one for one in operations if not one.slots.get("own")]
    options = [
        v1.ClarificationOption(
            label=f"Attach the {mark} as well, after the picture",
            plan=draft(operations, num_images + 1),
            needs_image=True,
        ),
        v1.ClarificationOption(label=f"Draw a {mark}", plan=draft(drawn, num_images)),
    ]
    if without:
        options.append(v1.ClarificationOption(label=f"Leave the {mark} out", plan=draft(without, num_images)))
    return v1.Clarification(question=f"Which picture is the {mark}? It is not attached.", options=options)


def not_found_by_name(operations: Sequence[IntendedOperation]) -> str:
    """A thing to remove or replace that cannot be found by its name; empty when there is none."""
    aimed = [one for one in operations if one.name in ("remove_object", "replace_object")]
    return next((thing for one in aimed if (thing := unnamed(one.name, one.slots))), "")


def which_thing(thing: str, operations: Sequence[IntendedOperation], num_images: int, draft: Draft) -> v1.Clarification:
    """The question where that thing may be the main subject, or something that nothing here can find."""
    subject = [
        IntendedOperation(one.name, {**one.slots, "object": "main subject"}, one.clause)
        if one.slots.get("object") == thing
        else one
        for one in operations
    ]
    options = [
        v1.ClarificationOption(label="It is the main subject of the picture", plan=draft(subject, num_images)),
        v1.ClarificationOption(
            label="Show what can be found in the picture",
            plan=draft([IntendedOperation("analyze", {}, "")], num_images),
        ),
    ]
    if without := [one for one in operations if one.slots.get("object") != thing]:
        options.append(v1.ClarificationOption(label="Do the rest without it", plan=draft(without, num_images)))
    question = f"Things called “{thing}” cannot be found by name here. What is it?"
    return v1.Clarification(question=question, options=options)


def clarification(goal: str, intent: Intent, reason: ClarifyReason, num_images: int, draft: Draft) -> v1.Clarification:
    """The question and its options. `draft` writes a plan for operations on so many pictures."""
    readings = [intent.operations, *(reading.operations for reading in intent.alternatives)]
    readings = [operations for operations in readings if operations]
    if reason is ClarifyReason.NO_IMAGE:
        options = [_option(operations, 0, draft) for operations in readings[:1]]
        options += [_option([IntendedOperation(_USUAL[0], {}, "")], 0, draft)] if not options else []
        options.append(_drawing(goal, draft))
        return v1.Clarification(question=_QUESTIONS[reason], options=options)
    options = []
    usual = [[IntendedOperation(name, {}, "")] for name in _USUAL]
    for operations in (*readings, *usual):
        option = _option(operations, num_images, draft)
        if len(options) < _MOST_OPTIONS and option.plan.digest not in [other.plan.digest for other in options]:
            options.append(option)
        if len(options) >= 2 and len(options) >= len(readings):
            break
    described = num_images and reason is not ClarifyReason.UNREADABLE and _DESCRIBED.search(goal)
    if described or (not num_images and all(option.needs_image for option in options)):
        drawing = _drawing(goal, draft)
        kept = [option for option in options if option.plan.digest != drawing.plan.digest]
        options = [*kept[: _MOST_OPTIONS - 1], drawing]
    return v1.Clarification(question=_QUESTIONS[reason], options=options)


def _option(operations: Sequence[IntendedOperation], num_images: int, draft: Draft) -> v1.ClarificationOption:
    """A reading as an answer; with a picture that is yet to come where it needs one."""
    needs = not num_images and needs_picture(operations)
    label = option_label(operations)
    if needs:
        label = f"Attach a picture and {label[:1].lower()}{label[1:]}"
    return v1.ClarificationOption(label=label, plan=draft(operations, num_images or int(needs)), needs_image=needs)


def _drawing(goal: str, draft: Draft) -> v1.ClarificationOption:
    plan = draft([IntendedOperation("generate", {"prompt": goal.strip()}, goal)], 0)
    return v1.ClarificationOption(label="Draw a new picture from these words", plan=plan)


def which_profile(said: str, plans: Sequence[tuple[str, v1.Plan]]) -> v1.Clarification:
    """The question where a goal names a profile that there is not; `plans` by the profile, empty for without one."""
    options = [
        v1.ClarificationOption(label=f"Apply the profile “{name}”" if name else "Without a profile", plan=plan)
        for name, plan in plans
    ]
    return v1.Clarification(question=f"There is no profile “{said}” here. Which is meant?", options=options)
