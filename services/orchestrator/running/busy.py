"""How long somebody worked, when several may have at once."""

from collections.abc import Iterable


def busy_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of `(begin, end)` spans: for steps one after another, the sum of their times."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
