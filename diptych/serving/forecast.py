"""When rows will be done if nobody else comes. Pure."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TypeVar

from diptych.serving.choosing import Pace, Place, Row, in_order, taken

R = TypeVar("R", bound=Row)
# So often the order is looked at anew; beyond, it stays, so that a long line is forecast in milliseconds too.
_MOST_REORDERINGS = 32


class _Remembered:
    """A pace with its answers kept."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._seconds: dict[tuple[Hashable, int], float | None] = {}
        self._worthwhile: dict[tuple[Hashable, int], int | None] = {}

    def seconds(self, key: Hashable, samples: int) -> float | None:
        if (key, samples) not in self._seconds:
            self._seconds[key, samples] = self._pace.seconds(key, samples)
        return self._seconds[key, samples]

    def worthwhile(self, key: Hashable, samples: int) -> int | None:
        if (key, samples) not in self._worthwhile:
            self._worthwhile[key, samples] = self._pace.worthwhile(key, samples)
        return self._worthwhile[key, samples]


def finish_times(places: Sequence[Place[R]], pace: Pace, *, max_rows: int, now: float) -> dict[Place[R], float] | None:
    """Seconds from `now` until each of `places` has had its last step.

    None when there is a row of whose key nothing was measured yet. Jumps from one finished row to the next, so it takes
    as many rounds as there are rows.
    """
    pace = _Remembered(pace)  # Asked thousands of times.
    originals = {replace(place): place for place in places}
    staying = list(originals)
    order = in_order(staying, pace, now=now)
    done: dict[Place[R], float] = {}
    seconds_gone = 0.0
    rounds = 0
    while order:
        together = taken(order, pace, max_rows=max_rows)
        seconds = pace.seconds(together[0].row.key, sum(place.row.samples for place in together))
        if seconds is None:
            return None
        steps = min(place.steps_left for place in together)
        seconds_gone += steps * seconds
        for place in together:
            if place.steps_left == steps:
                done[originals[place]] = seconds_gone
                order.remove(place)
                staying.remove(place)
            else:
                place.steps += steps
                place.idle_since = now + seconds_gone
        rounds += 1
        if rounds < _MOST_REORDERINGS:
            order = in_order(staying, pace, now=now + seconds_gone)
    return done
