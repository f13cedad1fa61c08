"""Between sRGB, linear light and Oklab. Arrays are float32, colours in 0..1 on the last axis unless said otherwise."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

# Luminance of linear sRGB (ITU-R BT.709).
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)

# Oklab (Ottosson 2020): linear sRGB to cone responses, and their cube roots to lightness and two opponents.
_TO_CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]], np.float32,
)  # fmt: skip
_TO_OKLAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]], np.float32,
)  # fmt: skip
_FROM_CONES = np.linalg.inv(_TO_CONES.astype(np.float64)).astype(np.float32)
_FROM_OKLAB = np.linalg.inv(_TO_OKLAB.astype(np.float64)).astype(np.float32)


def to_linear(encoded: Floats) -> Floats:
    """Linear light of sRGB-encoded values (IEC 61966-2-1)."""
    clipped = np.maximum(encoded, 0)
    return np.where(clipped <= 0.04045, clipped / 12.92, ((clipped + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_encoded(linear: Floats) -> Floats:
    """sRGB-encoded values of linear light; negative light becomes 0."""
    clipped = np.maximum(linear, 0)
    return np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055).astype(np.float32)


LINEAR_OF_BYTE: Floats = to_linear(np.arange(256, dtype=np.float32) / 255)


def to_oklab(linear: Floats) -> Floats:
    """Oklab lightness 0..1, green-red and blue-yellow, from linear sRGB."""
    result: Floats = np.cbrt(linear @ _TO_CONES.T) @ _TO_OKLAB.T
    return result


def from_oklab(lab: Floats) -> Floats:
    """Linear sRGB from Oklab; outside 0..1 where sRGB has no such colour."""
    result: Floats = (lab @ _FROM_OKLAB.T) ** 3 @ _FROM_CONES.T
    return result


def into_gamut(linear: Floats) -> Floats:
    """(..., 3) linear sRGB 0..1: what lies outside is drawn towards grey of the same luminance until it is inside."""
    grey = (linear @ LUMINANCE).clip(0, 1)[..., np.newaxis]
    away = linear - grey
    room = np.where(away > 0, (1 - grey) / np.maximum(away, 1e-6), grey / np.maximum(-away, 1e-6))
    inside: Floats = (grey + away * room.min(axis=-1, keepdims=True).clip(0, 1)).clip(0, 1)
    return inside
