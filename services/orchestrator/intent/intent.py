"""What a goal means: a route, ordered operations with their slots, how sure, and why it asks when it asks.

For the planner beyond the operations: `Intent.limits` (words that restrict, to repeat in reasons), `Intent.forbidden`
(operations that must not be added), `Intent.every_picture` (one plan for each given picture), and the slots
`source_picture` and `target_picture` (1 is the first given picture, -1 the last) of an operation that names them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Slots = Mapping[str, str | float | int]

GENERATOR_OPERATIONS = frozenset({"generate", "vary", "animate"})


class ClarifyReason(StrEnum):
    """Why a goal cannot be done without asking."""

    NO_IMAGE = "no_image"
    VAGUE = "vague"
    UNREADABLE = "unreadable"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class IntendedOperation:
    """One operation: its name, the slots that belong to it, and the words of the goal it was read from."""

    name: str
    slots: Slots
    clause: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to read the goal, with the probability (0..1) that it is the one meant. Its route is never CLARIFY."""

    route: str
    operations: tuple[IntendedOperation, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class Intent:
    """What a goal means.

    `operations` in the order of execution, empty when the route is CLARIFY. `slots`: those of all operations in one
    mapping, the first to have one wins. `confidence`: calibrated probability that route and operations are right.
    `alternatives`: other readings, best first; with CLARIFY and NO_IMAGE the first is what an image would allow.
    `reason` is set exactly when the route is CLARIFY. `limits`: parts of the goal that restrict ("keep the face as it
    is"). `forbidden`: operations that these rule out by name ("don't crop it"). `every_picture`: "both", "all three".
    """

    route: str
    operations: tuple[IntendedOperation, ...]
    slots: Slots
    confidence: float
    alternatives: tuple[Reading, ...]
    reason: ClarifyReason | None
    limits: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    every_picture: bool = False


def route_of(names: tuple[str, ...]) -> str:
    """The route that performs these operations: GENERATE, EDIT, CHAIN for both kinds, CLARIFY for none."""
    if not names:
        return "CLARIFY"
    made = [name in GENERATOR_OPERATIONS for name in names]
    return "GENERATE" if all(made) else "CHAIN" if any(made) else "EDIT"
