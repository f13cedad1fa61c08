"""An operation on its way into a plan: what the intent model read, what the goal implies, what a profile asks for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.orchestrator.intent import IntendedOperation

Value = str | float | int


@dataclass(frozen=True)
class Wanted:
    """One operation with its slots. `clause`: the goal's words for it; `because`: why it is there beyond them."""

    name: str
    slots: Mapping[str, Value] = field(default_factory=dict)
    clause: str = ""
    because: str = ""

    def with_slots(self, because: str = "", /, **slots: Value) -> "Wanted":
        """The same with more slots, and what is to be said of them."""
        reasons = " ".join(part for part in (self.because, because) if part)
        return replace(self, slots={**self.slots, **slots}, because=reasons)


def wanted_of(operations: Iterable[IntendedOperation]) -> list[Wanted]:
    """What was read, to be planned."""
    return [Wanted(operation.name, operation.slots, operation.clause) for operation in operations]


def has(operations: Sequence[Wanted], *names: str) -> bool:
    """Whether one of the names is among the operations."""
    return any(operation.name in names for operation in operations)
