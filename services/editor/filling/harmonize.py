"""A subject made to belong where it is laid: light, colour, contrast and grain moved towards its new surroundings.

Only the light is moved, never the hue of the thing itself: a red cup on a blue wall stays red under bluer light.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, LUMINANCE, Floats, from_oklab, to_encoded, to_oklab

_ROWS = 128
_SAMPLE = 65_536
# How far harmonising goes at full strength: share of the way, and the most on it.
_LIGHT_SHARE, _MOST_LIGHT = 0.4, 0.12
_CAST_SHARE, _MOST_CAST = 0.5, 0.15
_MOST_CONTRAST = 1.25
# Oklab distance from grey, as a share of the lightness, up to which a colour may be grey in coloured light; with this
# share of a thing nearly grey, its cast is its light's, with less, rather its own colour.
_NEARLY_GREY, _ENOUGH_GREY = 0.08, 0.25
# Grain below this (0..255) is not worth adding, above it is no grain.
_LEAST_GRAIN, _MOST_GRAIN = 0.6, 12.0
# Fewer pixels tell nothing about grain.
_FEWEST = 64


@dataclass(frozen=True)
class Tone:
    """How a part of a picture is lit.

    `light` and `contrast`: mean and standard deviation of Oklab lightness; `cast`: (3,) the colour of the light,
    luminance 1; `sure`: how much of it is the light's and not the thing's own colour, 0..1; `grain`: standard
    deviation of noise, 0..255.
    """

    light: float
    contrast: float
    cast: Floats
    sure: float
    grain: float


def tone_of(pixels: Pixels, weight: Mask | None = None) -> Tone | None:
    """The tone of (H, W, 3) where `weight`, (H, W) 0..1, is at least half; None where that is nearly nowhere."""
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / _SAMPLE)))
    sample = pixels[::step, ::step].reshape(-1, 3)
    if weight is not None:
        sample = sample[weight[::step, ::step].reshape(-1) >= 0.5]
    if len(sample) < 16:
        return None
    linear = LINEAR_OF_BYTE[sample]
    lab = to_oklab(linear)
    lightness = lab[:, 0]
    grey = float(np.mean(np.hypot(lab[:, 1], lab[:, 2]) < _NEARLY_GREY * lightness))
    # Shades of grey (Finlayson 2004), with middle tones alone: clipped ones tell nothing about the light.
    inside = linear[(sample.max(axis=1) < 250) & (sample.max(axis=1) > 8)]
    power = np.mean((inside if len(inside) else linear + 1e-4) ** 4, axis=0) ** 0.25
    cast = power / max(float(power @ LUMINANCE), 1e-6)
    return Tone(
        light=float(lightness.mean()),
        contrast=float(lightness.std()),
        cast=cast.astype(np.float32),
        sure=min(1.0, grey / _ENOUGH_GREY),
        grain=grain_of(pixels, weight),
    )


def grain_of(pixels: Pixels, weight: Mask | None = None) -> float:
    """Standard deviation of the noise, 0..255, from the calmest parts of (H, W, 3) (after Immerkaer 1996)."""
    height, width = pixels.shape[:2]
    # A few windows at full resolution: scaling down would average the grain away.
    found = []
    for top in np.linspace(0, max(height - 128, 0), 6).astype(int):
        for left in np.linspace(0, max(width - 128, 0), 6).astype(int):
            window = (slice(top, top + 128), slice(left, left + 128))
            counted = slice(None) if weight is None else weight[window] >= 0.5
            grey = cv2.cvtColor(np.ascontiguousarray(pixels[window]), cv2.COLOR_RGB2GRAY).astype(np.float32)
            kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
            rough = np.abs(cv2.filter2D(grey, -1, kernel))[counted]
            if rough.size >= _FEWEST:
                found.append(float(np.median(rough)) / (6 * 0.6745))
    return float(np.percentile(found, 25)) if found else 0.0


def harmonized(pixels: Pixels, own: Tone | None, around: Tone | None, strength: float) -> Pixels:
    """(H, W, 3): the picture, whose tone is `own`, moved by `strength` 0..1 towards the tone `around` it."""
    if own is None or around is None or strength <= 0:
        return pixels
    shift = strength * float(np.clip(_LIGHT_SHARE * (around.light - own.light), -_MOST_LIGHT, _MOST_LIGHT))
    ratio = float(
        np.clip(np.sqrt((around.contrast + 0.02) / (own.contrast + 0.02)), 1 / _MOST_CONTRAST, _MOST_CONTRAST)
    )
    ratio = ratio**strength
    # An orange flower's orange is not its light's: taken off, the flower would turn green.
    light_of_own = own.sure * np.log(np.maximum(own.cast, 1e-3))
    towards = _CAST_SHARE * (np.log(np.maximum(around.cast, 1e-3)) - light_of_own)
    gains = np.exp(strength * towards.clip(-_MOST_CAST, _MOST_CAST))
    gains = (gains / (gains @ LUMINANCE)).astype(np.float32)
    result = np.empty_like(pixels)
    for top in range(0, pixels.shape[0], _ROWS):
        lab = to_oklab(LINEAR_OF_BYTE[pixels[top : top + _ROWS]] * gains)
        light = lab[..., 0].copy()
        moved = own.light + (light - own.light) * ratio + shift
        # Black and white stay what they are: light is moved between them, not past them.
        room = (4 * light * (1 - light)).clip(0, 1) ** 0.5
        # Colours keep their saturation under more light and under less: all three grow alike (as under a scaled light).
        lab *= ((light + (moved - light) * room) / np.maximum(light, 1e-3))[..., np.newaxis]
        tones = to_encoded(from_oklab(lab))
        result[top : top + _ROWS] = np.rint(tones.clip(0, 1) * 255)
    return with_grain(result, strength * _missing(own.grain, around.grain))


def with_grain(pixels: Pixels, amount: float, seed: int = 0) -> Pixels:
    """(H, W, 3) with film-like noise of standard deviation `amount` 0..255, the same for the same seed."""
    if amount < _LEAST_GRAIN:
        return pixels
    random = np.random.default_rng(seed)
    result = np.empty_like(pixels)
    for top in range(0, pixels.shape[0], _ROWS):
        part = pixels[top : top + _ROWS].astype(np.float32)
        noise = random.standard_normal(part.shape[:2], np.float32)[..., np.newaxis]
        noise = 0.85 * noise + 0.53 * random.standard_normal(part.shape, np.float32)
        result[top : top + _ROWS] = np.rint((part + amount * noise).clip(0, 255))
    return result


def _missing(own: float, around: float) -> float:
    """The grain to add, as standard deviation, so that one looks like the other."""
    return float(np.sqrt(max(min(around, _MOST_GRAIN) ** 2 - own**2, 0)))


def lit_like(pixels: Pixels, weight: Mask | None, surroundings: Pixels, around: Mask | None, strength: float) -> Pixels:
    """(H, W, 3) harmonised with `surroundings`: the tones are measured where `weight` and `around` are."""
    if strength <= 0:
        return pixels
    return harmonized(pixels, tone_of(pixels, weight), tone_of(surroundings, around), strength)
