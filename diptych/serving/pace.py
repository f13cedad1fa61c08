"""How long calls take, learned from those that were made."""

import math
from collections.abc import Hashable
from dataclasses import dataclass

# Older calls count less and less: the last fifty or so make the estimate.
_KEPT = 0.98
# Rows in a call, by the root of what a call costs over what a row costs: found by replaying streams of requests
# (`benchmarks.generator --only replay`); at 50 to 110 % of capacity hardly ever a tenth above the best width.
_WIDTH = 6.0


@dataclass
class _Line:
    """Least squares for `seconds = fixed + each * samples`, kept as decaying sums."""

    weight: float = 0.0
    samples: float = 0.0
    squares: float = 0.0
    seconds: float = 0.0
    products: float = 0.0

    def learn(self, samples: int, seconds: float) -> None:
        for name in vars(self):
            setattr(self, name, _KEPT * getattr(self, name))
        self.weight += 1
        self.samples += samples
        self.squares += samples * samples
        self.seconds += seconds
        self.products += samples * seconds

    def fit(self) -> tuple[float, float, bool]:
        """`fixed`, `each`, and whether calls of different sizes were seen, so that the two can be told apart."""
        spread = self.weight * self.squares - self.samples**2
        if spread < 1e-3 * self.weight**2:
            return 0.0, self.seconds / self.samples, False
        each = (self.weight * self.products - self.samples * self.seconds) / spread
        fixed = (self.seconds - each * self.samples) / self.weight
        if each <= 0:
            return self.seconds / self.weight, 0.0, True
        if fixed < 0:
            return 0.0, self.products / self.squares, True
        return fixed, each, True


class StepTimes:
    """Seconds of a call by key and number of samples: a fixed part and one for each sample."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}

    def learn(self, key: Hashable, samples: int, seconds: float) -> None:
        """Takes a call into account."""
        self._lines.setdefault(key, _Line()).learn(samples, seconds)

    def seconds(self, key: Hashable, samples: int) -> float | None:
        """One call with so many samples; None when nothing of that key was ever measured."""
        if (line := self._lines.get(key)) is None:
            return None
        fixed, each, _ = line.fit()
        return fixed + each * samples

    def worthwhile(self, key: Hashable, samples: int) -> int | None:
        """How many rows of `samples` each to take in one call; None, while that is not known, for all there are.

        A wide call shares its fixed part among many, a narrow one is over sooner. As with the size of a lot (Harris
        1913) the best lies at the root of one cost over the other, and is flat: everyone where a call costs the same
        however many ride in it, as on a device that is not full; one where each row costs its share and no more.
        """
        if (line := self._lines.get(key)) is None:
            return None
        fixed, each, known = line.fit()
        if not known or each == 0:
            return None
        return max(1, round(_WIDTH * math.sqrt(fixed / (each * samples))))
