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
    present = np.clip(found.present.astype(np.float64), 1e-4, 1 - 1e-4)
    certain = present > 0.5
    doubtful = np.argsort(np.abs(present - 0.5))[:_FLIPPED]
    base = float(np.sum(np.log(np.where(certain, present, 1 - present))))
    plans: dict[tuple[str, ...], Candidate] = {}
    for flips in itertools.product((False, True), repeat=len(doubtful)):
        chosen = certain.copy()
        logarithm = base
        for index, flip in zip(doubtful, flips, strict=True):
            if flip:
                chosen[index] = not chosen[index]
                logarithm -= abs(math.log(present[index] / (1 - present[index])))
        names, ordering = _ordered(found, np.flatnonzero(chosen), has_image=has_image)
        if names and names not in plans and (has_image or names[0] == "generate"):
            plans[names] = Candidate(names, math.exp(logarithm) * ordering * (1 - found.nothing))
    return sorted(plans.values(), key=lambda plan: -plan.probability)


def _ordered(found: Evidence, chosen: npt.NDArray[np.intp], *, has_image: bool) -> tuple[tuple[str, ...], float]:
    """The chosen operations in order of execution, and the probability of that order."""
    order = sorted(chosen.tolist(), key=lambda index: float(found.order[index]))
    names = [found.names[index] for index in order]
    if not has_image and "generate" in names:
        # Nothing can come before the image exists.
        order.insert(0, order.pop(names.index("generate")))
        names.insert(0, names.pop(names.index("generate")))
    probability = 1.0
    for earlier, later in itertools.pairwise(order):
        gap = float(found.order[later] - found.order[earlier])
        probability *= 1 / (1 + math.exp(-gap)) if gap > 0 else 0.5
    return tuple(names), probability


def calibrated(probability: float, slope: float, shift: float) -> float:
    """The probability that a plan is right, from its raw probability (Platt scaling of the log odds)."""
    raw = min(max(probability, 1e-6), 1 - 1e-6)
    return 1 / (1 + math.exp(-(slope * math.log(raw / (1 - raw)) + shift)))
