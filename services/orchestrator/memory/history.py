"""How long steps took here before, kept on disk, and what that lets expect of the next.

Each kind of work has its last measurements, pairs of amount and seconds. Time is taken to grow along a line, fitted by
the median of slopes (Theil 1950, Sen 1968), so that a first call that loads a model spoils nothing. Two measurements
of one amount or fewer give no slope: then it is their middle, in proportion where the amount is another.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from services.orchestrator.memory.store import Store

_KEPT = 32
# Work of such different amount is not told from what was measured.
_SPREAD = 1.05
_LEAST = 1e-9

_TABLE = """
create table if not exists measured (
  id integer primary key, kind text not null, amount real not null, seconds real not null,
  width integer not null, height integer not null
);
create index if not exists measured_by_kind on measured (kind, id);
"""


@dataclass(frozen=True)
class _Trend:
    """A line of seconds over amount. Where `usual` is set, amounts near it take what the line says there."""

    intercept: float
    slope: float
    usual: float | None = None

    def seconds(self, amount: float) -> float:
        if self.usual is not None and self.usual / _SPREAD <= amount <= self.usual * _SPREAD:
            amount = self.usual
        return self.intercept + self.slope * amount


def _trend(pairs: Sequence[tuple[float, float]]) -> _Trend:
    """The trend of measured pairs of amount and seconds."""
    amounts, times = np.array(pairs).T
    amounts = np.maximum(amounts, _LEAST)
    if amounts.max() < _SPREAD * amounts.min() or len(pairs) < 3:
        usual = float(np.median(amounts))
        return _Trend(0.0, float(np.median(times)) / usual, usual)
    first, second = np.triu_indices(len(pairs), k=1)
    apart = amounts[second] - amounts[first]
    rises = (times[second] - times[first])[apart != 0] / apart[apart != 0]
    # Time that would fall as work grows, or be spent on no work less than none, is an accident of few measurements.
    slope = max(float(np.median(rises)), 0.0)
    intercept = max(float(np.median(times - slope * amounts)), 0.0)
    if intercept == 0.0:
        slope = float(np.median(times / amounts))
    return _Trend(intercept, slope)


class History:
    """Measurements by kind. Reading is from memory; `save` writes what is new and belongs on the store's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pairs: dict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._trends: dict[str, _Trend] = {}  # of the kinds that were asked for since they were last measured
        self._sizes: dict[str, tuple[int, int]] = {}
        self._new: list[tuple[str, float, float, int, int]] = []
        store.prepare(_TABLE)
        for kind, amount, seconds, width, height in store.rows(
            "select kind, amount, seconds, width, height from measured order by id"
        ):
            self._take(kind, amount, seconds, (width, height))

    def add(self, kind: str, amount: float, seconds: float, size: tuple[int, int] = (0, 0)) -> None:
        """Takes a measurement. `size`: of what was made, pixels."""
        self._take(kind, amount, seconds, size)
        self._new.append((kind, amount, seconds, *size))

    def seconds(self, kind: str, amount: float) -> float | None:
        """What so much work of a kind is expected to take; None when none was ever measured."""
        pairs = self._pairs.get(kind)
        if not pairs:
            return None
        trend = self._trends.get(kind)
        if trend is None:
            trend = self._trends[kind] = _trend(pairs)
        return trend.seconds(amount)

    def size(self, kind: str) -> tuple[int, int] | None:
        """Size of the last picture that such work made, pixels; None when there is none."""
        return self._sizes.get(kind)

    def save(self) -> None:
        """Writes what is new, and forgets on disk what is older than the last measurements of its kind."""
        new, self._new = self._new, []
        if not new:
            return
        insert = "insert into measured (kind, amount, seconds, width, height) values (?, ?, ?, ?, ?)"
        prune = (
            "delete from measured where kind = ? and id not in "
            "(select id from measured where kind = ? order by id desc limit ?)"
        )
        kinds: Iterable[str] = {row[0] for row in new}
        self._store.write([(insert, row) for row in new] + [(prune, (kind, kind, _KEPT)) for kind in sorted(kinds)])

    def _take(self, kind: str, amount: float, seconds: float, size: tuple[int, int]) -> None:
        self._pairs[kind].append((amount, seconds))
        self._trends.pop(kind, None)
        if all(size):
            self._sizes[kind] = size
