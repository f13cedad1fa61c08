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
    """A row's place in the batcher. Times in monotonic seconds; `idle_since`: when it joined or last stepped."""

    row: R
    arrived: float
    deadline: float | None = None
    idle_since: float = 0.0
    steps: int = 0


@dataclass(frozen=True)
class Choice(Generic[R]):
    """What happens at one step boundary."""

    expired: tuple[Place[R], ...]
    joining: tuple[Place[R], ...]
    step: tuple[Place[R], ...]


def choose(waiting: Sequence[Place[R]], running: Sequence[Place[R]], *, max_rows: int, now: float) -> Choice[R]:
    """The places that expire, those that join, and those that step now: all of one key.

    `waiting` and `running` are in order of arrival. Joining is first come, first served, whatever the key, and
    `running` with the joined never exceeds `max_rows`. Of the keys aboard, the one idle longest takes the step with all
    its rows. Who joins begins to be idle now, however long it waited: otherwise a long line of one key would pass every
    row of another that is already half done.
    """
    expired = tuple(place for place in (*running, *waiting) if place.deadline is not None and place.deadline <= now)
    gone = {id(place) for place in expired}
    staying = [place for place in running if id(place) not in gone]
    hopeful = [place for place in waiting if id(place) not in gone]
    joining = tuple(hopeful[: max(0, max_rows - len(staying))])
    if not staying and not joining:
        return Choice(expired, joining, ())
    first = min(staying, key=lambda place: place.idle_since) if staying else joining[0]
    turn = first.row.key
    return Choice(expired, joining, tuple(place for place in (*staying, *joining) if place.row.key == turn))
