"""Places between two places of latent space."""

from dataclasses import dataclass

import numpy as np

from diptych.engines.base import Array


@dataclass(frozen=True)
class Toward:
    """Another prompt and seed, and how far the way to it was gone, 0 to 1."""

    prompt: str
    seed: int
    share: float


def slerp(first: Array, second: Array, share: float) -> Array:
    """The array at `share` of the way along the great circle between two (Shoemake 1985).

    Noise between two noises stays as strong as both, which a straight line between them would not.
    """
    if share == 0 or first.tobytes() == second.tobytes():
        return first
    if share == 1:
        return second
    one, other = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    angle = np.arccos(np.clip(cosine, -1, 1))
    if angle < 1e-6:
        return lerp(first, second, share)
    mixed = (np.sin((1 - share) * angle) * one + np.sin(share * angle) * other) / np.sin(angle)
    return np.asarray(mixed.reshape(first.shape).astype(first.dtype))


def lerp(first: Array, second: Array, share: float) -> Array:
    """The array at `share` of the straight way between two."""
    if share == 0:
        return first
    if share == 1:
        return second
    return np.asarray(first + np.asarray(share, first.dtype) * (second - first))
