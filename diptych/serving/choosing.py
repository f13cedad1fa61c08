"""Who takes the next step together. Pure: no clock, no tasks, no device."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Row(Protocol):
    """One sample in a running batch. `step_rows` advances it; only rows of equal `key` may share a call."""

    @property
    def key(self) -> Hashable:
        """What must match for two rows to share a call: model, latent shape, dtype."""

    @property
    def finished(self) -> bool:
        """Whether it needs no further step."""


R = TypeVar("R", bound=Row)


@dataclass(eq=False)
class Place(Generic[R]):
    """A row's place in the batcher. `idle_since`: when it arrived or last stepped, monotonic seconds."""

    row: R
    idle_since: float
    deadline: float | None = None
    steps: int = 0


@dataclass(frozen=True)
class Choice(Generic[R]):
    """What happens at one step boundary."""

    expired: tuple[Place[R], ...]
    joining: tuple[Place[R], ...]
    step: tuple[Place[R], ...]


def choose(waiting: Sequence[Place[R]], running: Sequence[Place[R]], *, max_rows: int, now: float) -> Choice[R]:
    """The places that expire, those that join, and those that step now: all of one key.

    `waiting` and `running` are in order of arrival. Joining is first come, first served, whatever the key, so a stream
    of rows of one key cannot keep another out; `running` with the joined never exceeds `max_rows`. Then the key whose
    row has been idle longest steps with all its rows, so keys take turns. Equal ages go by order of arrival.
    """
    expired = tuple(place for place in (*running, *waiting) if place.deadline is not None and place.deadline <= now)
    gone = {id(place) for place in expired}
    staying = [place for place in running if id(place) not in gone]
    hopeful = [place for place in waiting if id(place) not in gone]
    joining = tuple(hopeful[: max(0, max_rows - len(staying))])
    aboard = (*staying, *joining)
    if not aboard:
        return Choice(expired, joining, ())
    turn = min(aboard, key=lambda place: place.idle_since).row.key
    return Choice(expired, joining, tuple(place for place in aboard if place.row.key == turn))
