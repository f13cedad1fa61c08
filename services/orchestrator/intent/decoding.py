"""From the head's numbers to candidate plans: which operations, in which order, how probable."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

_FLIPPED = 4  # candidates differ in the presence of the least certain operations, this many


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan: names in order of execution, and its raw probability under the head."""

    names: tuple[str, ...]
    probability: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """The head's numbers for one goal: probabilities (K,) of operations, of "nothing readable", order scores (K,)."""

    names: tuple[str, ...]
    present: Float32Array
    nothing: float
    order: Float32Array


def evidence(names: tuple[str, ...], operations: Float32Array, order: Float32Array) -> Evidence:
    """Logits (K + 1,) and order scores (K,) as evidence."""
    probability = 1 / (1 + np.exp(-operations.astype(np.float64)))
    return Evidence(names, probability[:-1].astype(np.float32), float(probability[-1]), order)


def candidates(found: Evidence, *, has_image: bool) -> list[Candidate]:
    """Plans that can run with what is attached, most probable first. Without an image only those that begin by
    generating one. `probability` includes that the goal is readable at all."""
    present = np.clip(found.present.astype(np.float64), 1e-4, 1 - 1e-4).tolist()
    order = found.order.tolist()
    certain = {index for index, probability in enumerate(present) if probability > 0.5}
    doubtful = sorted(range(len(present)), key=lambda index: abs(present[index] - 0.5))[:_FLIPPED]
    costs = [abs(math.log(present[index] / (1 - present[index]))) for index in doubtful]
    base = sum(math.log(max(probability, 1 - probability)) for probability in present)
    plans: dict[tuple[str, ...], Candidate] = {}
    for flips in itertools.product((0, 1), repeat=len(doubtful)):
        chosen = certain.symmetric_difference(itertools.compress(doubtful, flips))
        names, ordering = _ordered(found.names, order, chosen, has_image=has_image)
        if names and names not in plans and (has_image or names[0] == "generate"):
            logarithm = base - sum(itertools.compress(costs, flips))
            plans[names] = Candidate(names, math.exp(logarithm) * ordering * (1 - found.nothing))
    return sorted(plans.values(), key=lambda plan: -plan.probability)


def _ordered(
    known: tuple[str, ...], order: list[float], chosen: set[int], *, has_image: bool
) -> tuple[tuple[str, ...], float]:
    """The chosen operations in order of execution, and the probability of that order."""
    places = sorted(chosen, key=lambda index: (order[index], index))
    if not has_image and (first := next((index for index in places if known[index] == "generate"), None)) is not None:
        # Nothing can come before the image exists.
        places.remove(first)
        places.insert(0, first)
    probability = 1.0
    for earlier, later in itertools.pairwise(places):
        gap = order[later] - order[earlier]
        probability *= 1 / (1 + math.exp(-gap)) if gap > 0 else 0.5
    return tuple(known[index] for index in places), probability


def calibrated(probability: float, slope: float, shift: float) -> float:
    """The probability that a plan is right, from its raw probability (Platt scaling of the log odds)."""
    raw = min(max(probability, 1e-6), 1 - 1e-6)
    return 1 / (1 + math.exp(-(slope * math.log(raw / (1 - raw)) + shift)))
