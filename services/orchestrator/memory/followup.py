"""What a goal means that speaks of what was said before: "undo that", "the same for this one", "a bit more". Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.intent import IntendedOperation
from services.orchestrator.memory import followup_words as phrases
from services.orchestrator.memory.conversations import Conversation, Turn
from services.orchestrator.planning.slots import number
from services.orchestrator.planning.wanted import Value, Wanted

# Amounts that can be more or less; where a goal named none, what it had is about this.
_AMOUNTS = ("brightness", "contrast", "saturation", "temperature", "strength", "scale", "percent", "angle", "duration")
_USUAL_STRENGTH = {
    "enhance": 0.7,
    "denoise": 0.5,
    "deblur": 0.5,
    "style_transfer": 0.7,
    "blur_background": 0.5,
    "vary": 0.6,
}


@dataclass(frozen=True)
class FollowUp:
    """What is to be done instead of reading the goal: operations, on these pictures, and what is said of it.

    `takes`: kept pictures; empty means those that came along. `undoes`: the pictures themselves are the answer.
    """

    operations: tuple[Wanted, ...]
    takes: tuple[str, ...]
    why: str
    undoes: bool = False


def follow_up(goal: str, num_images: int, said: Conversation) -> FollowUp | None:
    """How the goal goes on from the conversation; None when its words are to be read as they are."""
    if not said.standing:
        return None
    last = said.standing[-1]
    if phrases.UNDO.fullmatch(goal) and not num_images:
        return FollowUp((), last.before, f"It takes back “{last.goal}”.", undoes=True)
    if num_images and phrases.SAME.search(goal):
        edits = _edits_since_the_picture_came(said.standing)
        words = ", ".join(f"“{turn.goal}”" for turn in said.standing if turn.operations)
        return FollowUp(edits, (), f"It does for this picture what was asked before: {words}.") if edits else None
    if num_images or not last.operations or not last.takes:
        return None
    for pattern, more in ((phrases.MORE, True), (phrases.LESS, False)):
        if pattern.fullmatch(goal):
            scaled = tuple(_scaled(operation, _factor(goal, more)) for operation in last.operations)
            word = "more" if more else "less"
            return FollowUp(scaled, last.takes, f"It does “{last.goal}” again from the picture before, {word} of it.")
    if phrases.AGAIN.fullmatch(goal):
        return FollowUp(last.operations, said.pictures, f"It does “{last.goal}” once more.")
    return None


def chosen_plan(goal: str, question: v1.Clarification | None) -> v1.Plan | None:
    """The plan of the option that the goal picks, by its number or its label; None when it picks none."""
    options = question.options if question is not None else ()
    for place, option in enumerate(options):
        if phrases.picks(goal, place) or goal.strip(" .!").casefold() == option.label.casefold():
            return option.plan
    return None


def intended(operations: Sequence[Wanted]) -> tuple[IntendedOperation, ...]:
    """The operations as a reading has them."""
    return tuple(IntendedOperation(one.name, one.slots, one.clause) for one in operations)


def _edits_since_the_picture_came(turns: Sequence[Turn]) -> tuple[Wanted, ...]:
    edits: list[Wanted] = []
    for turn in turns:
        began = not turn.takes
        if began or not set(turn.takes) & {sha for other in turns for sha in other.gives}:
            edits = []
        edits += [operation for operation in turn.operations if operation.name != "generate"]
    return tuple(edits)


def _factor(goal: str, more: bool) -> float:
    strongly = phrases.A_LOT if more else phrases.FAR
    step = 2.0 if strongly.search(goal) else 1.3 if phrases.A_BIT.search(goal) else 1.6
    return step if more else 1 / step


def _scaled(operation: Wanted, factor: float) -> Wanted:
    amounts = {name: number(operation.slots, name) for name in _AMOUNTS}
    named: dict[str, Value] = {name: round(value * factor, 4) for name, value in amounts.items() if value is not None}
    if not named and operation.name in _USUAL_STRENGTH:
        named = {"strength": min(1.0, _USUAL_STRENGTH[operation.name] * factor)}
    return operation.with_slots(**named)
