"""Classifier-free guidance (Ho and Salimans 2022), optionally within an interval (Kynkäänniemi et al. 2024)."""

from dataclasses import dataclass

import numpy as np

from diptych.engines.base import Array


@dataclass(frozen=True)
class Guidance:
    """How far to go beyond what the prompt asks. A `scale` of 1 or less is off; it acts at noise levels inside
    `interval`, ends included."""

    scale: float
    interval: tuple[float, float] = (0.0, 1.0)

    @property
    def on(self) -> bool:
        """Whether a second, negative condition is needed at all."""
        return self.scale > 1

    def acts_at(self, sigma: float) -> bool:
        """Whether the pair is computed at this noise level."""
        return self.on and self.interval[0] <= sigma <= self.interval[1]

    def combine(self, negative: Array, positive: Array) -> Array:
        """The guided prediction, of the shape of both."""
        return np.asarray(negative + np.float32(self.scale) * (positive - negative))
