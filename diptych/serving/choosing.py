"""Who takes the next step together. Pure: no clock, no tasks, no device.

The least work first, with aging: a request's place in the order is `seconds of work left + AGING * time of arrival`,
less going first. A short request thus passes a long one, but only for a while, since everyone ages alike: who came more
than `work / AGING` seconds later never passes. Work done counts too, so whoever has begun tends to be finished before
others begin. (Shortest remaining processing time first gives the least mean latency; Schrage 1968.)
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

# A second of waiting makes up for so many seconds of work.
AGING = 0.1
# Rows that must hurry may hold up the others, but not for longer than this at a time, seconds.
PATIENCE = 1.0
# A row must hurry when the time to spare is less than this share of the work left.
_TIGHT = 0.5


class Row(Protocol):
    """One sample in a running batch. `step_rows` advances it; only rows of equal `key` may share a call."""

    @property
    def key(self) -> Hashable:
        """What must match for two rows to share a call: model, latent shape, dtype."""

    @property
    def finished(self) -> bool:
        """Whether it needs no further step."""

    @property
    def num_steps(self) -> int:
        """Steps in all."""

    @property
    def samples(self) -> int:
        """How many samples it brings to a call: two under guidance."""


class Pace(Protocol):
    """What is known of the time that calls take."""

    def seconds(self, key: Hashable, samples: int) -> float | None:
        """One call with so many samples; None when nothing of that key was ever measured."""

    def worthwhile(self, key: Hashable, samples: int) -> int | None:
        """How many rows of `samples` each to take in one call; None for as many as there are."""


R = TypeVar("R", bound=Row)


@dataclass(eq=False)
class Place(Generic[R]):
    """A row's place in the batcher. Times in monotonic seconds; `idle_since`: when it came or last stepped.

    `group`: rows of one request have the same; it counts as one piece of work. `steps_after`: steps of the same work
    whose rows are not here yet.
    """

    row: R
    arrived: float
    deadline: float | None = None
    idle_since: float = 0.0
    steps: int = 0
    group: Hashable = None
    steps_after: int = 0

    @property
    def steps_left(self) -> int:
        """Steps still to take."""
        return max(1, self.row.num_steps - self.steps)


@dataclass(frozen=True)
class Choice(Generic[R]):
    """What happens at one step boundary."""

    expired: tuple[Place[R], ...]
    step: tuple[Place[R], ...]


def choose(places: Sequence[Place[R]], pace: Pace, *, max_rows: int, now: float) -> Choice[R]:
    """The places that expire, and those that step now: of one key, at most `max_rows`, and no more than pay off.

    `places` in order of arrival. Earliest deadline first among those that would else miss theirs, then by work and age.
    """
    expired, staying = _parted(places, lambda place: place.deadline is not None and place.deadline <= now)
    if not staying:
        return Choice(tuple(expired), ())
    order = in_order(staying, pace, now=now)
    return Choice(tuple(expired), tuple(taken(order, pace, max_rows=max_rows)))


def taken(order: Sequence[Place[R]], pace: Pace, *, max_rows: int) -> list[Place[R]]:
    """The first place and those of its key that share its call."""
    key, each = order[0].row.key, order[0].row.samples
    width = pace.worthwhile(key, each)
    chosen: list[Place[R]] = []
    samples = 0
    for place in order:
        if place.row.key != key:
            continue
        samples += place.row.samples
        if chosen and (len(chosen) == max_rows or (width is not None and samples > width * each)):
            break
        chosen.append(place)
    return chosen


def in_order(places: Sequence[Place[R]], pace: Pace, *, now: float) -> list[Place[R]]:
    """`places` in the order in which they would be served if nobody else came."""
    left = _work_left(places, pace)
    ordinary = sorted(places, key=lambda place: left[place.group] + AGING * place.arrived)
    hurried, others = _parted(ordinary, lambda place: _must_hurry(place, left[place.group], now))
    hurried.sort(key=lambda place: place.deadline or 0.0)
    if hurried and others and now - others[0].idle_since > PATIENCE:
        return [others[0], *hurried, *others[1:]]
    return [*hurried, *others]


def _parted(places: Sequence[Place[R]], belongs: Callable[[Place[R]], bool]) -> tuple[list[Place[R]], list[Place[R]]]:
    """Those that belong, and the others, in their order."""
    parts: tuple[list[Place[R]], list[Place[R]]] = [], []
    for place in places:
        parts[0 if belongs(place) else 1].append(place)
    return parts


def _work_left(places: Sequence[Place[R]], pace: Pace) -> dict[Hashable, float]:
    """Seconds that the rows of each group, and what comes after them, would take one by one; steps where no time is
    known yet."""
    left: dict[Hashable, float] = {}
    after: dict[Hashable, float] = {}
    for place in places:
        seconds = pace.seconds(place.row.key, place.row.samples)
        each = 1.0 if seconds is None else seconds
        left[place.group] = left.get(place.group, 0.0) + place.steps_left * each
        after[place.group] = min(after.get(place.group, math.inf), place.steps_after * each)
    return {group: work + after[group] for group, work in left.items()}


def _must_hurry(place: Place[R], left: float, now: float) -> bool:
    """Whether it makes its deadline only when served now. Who cannot make it at all need not hurry."""
    if place.deadline is None:
        return False
    spare = place.deadline - now - left
    return 0 <= spare < _TIGHT * left
