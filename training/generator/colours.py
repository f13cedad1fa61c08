"""Named colours: measuring the main colour of a drawing and giving it another one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Paint:
    """How a colour word is painted: hue in degrees, then factors for saturation and value."""

    hue: float | None
    saturation: float
    value: float


PAINTS: dict[str, Paint] = {
    "red": Paint(357, 1.0, 1.0),
    "orange": Paint(28, 1.0, 1.0),
    "yellow": Paint(48, 1.0, 1.06),
    "green": Paint(118, 0.9, 0.88),
    "blue": Paint(213, 1.0, 1.0),
    "purple": Paint(275, 0.85, 0.95),
    "pink": Paint(335, 0.55, 1.06),
    "brown": Paint(22, 0.8, 0.58),
    "black": Paint(None, 0.1, 0.25),
    "white": Paint(None, 0.06, 1.15),
    "grey": Paint(None, 0.06, 0.72),
}

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (24, 24, 28),
    "grey": (178, 182, 188),
    "red": (226, 66, 62),
    "orange": (250, 160, 62),
    "yellow": (253, 219, 92),
    "green": (112, 190, 112),
    "blue": (92, 156, 232),
    "light blue": (176, 216, 246),
    "purple": (154, 110, 206),
    "pink": (248, 176, 202),
    "beige": (242, 228, 204),
}

CLUSTER = 32.0  # degrees on both sides of the main hue that count as one colour


def to_hsv(rgb: Floats) -> Floats:
    """(..., 3) in 0..1 -> hue in degrees, saturation and value in 0..1 (the hexcone model)."""
    high, low = rgb.max(-1), rgb.min(-1)
    span = np.maximum(high - low, 1e-6)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.where(
        high == red,
        (green - blue) / span % 6,
        np.where(high == green, (blue - red) / span + 2, (red - green) / span + 4),
    )
    saturation = np.where(high > 1e-6, (high - low) / np.maximum(high, 1e-6), 0)
    return np.stack([hue * 60, saturation, high], -1).astype(np.float32)


def to_rgb(hsv: Floats) -> Floats:
    """The inverse of `to_hsv`."""
    hue, saturation, value = hsv[..., 0] / 60, hsv[..., 1], hsv[..., 2]
    offsets = np.stack([(hue + n) % 6 for n in (5, 3, 1)], -1)
    ramp = np.clip(np.minimum(offsets, 4 - offsets), 0, 1)
    return (value[..., None] * (1 - saturation[..., None] * ramp)).astype(np.float32)


def hue_distance(hue: Floats, other: float) -> Floats:
    """Degrees between hues, 0..180."""
    return np.asarray(np.abs((hue - other + 180) % 360 - 180), dtype=np.float32)


@dataclass(frozen=True)
class MainColour:
    """The colour that carries a drawing: its hue (None: no hue), its word, and how much of the drawing it covers."""

    hue: float | None
    word: str
    share: float


def main_colour(rgba: Floats) -> MainColour | None:
    """The main colour of a (H, W, 4) drawing in 0..1, or None when no single colour carries it."""
    seen = rgba[..., 3] > 0.5
    if not seen.any():
        return None
    hsv = to_hsv(rgba[..., :3][seen])
    chromatic = (hsv[:, 1] > 0.22) & (hsv[:, 2] > 0.18)
    if chromatic.mean() < 0.35:
        if chromatic.mean() > 0.2:
            return None
        value = float(np.median(hsv[:, 2]))
        return MainColour(None, "white" if value > 0.82 else "black" if value < 0.32 else "grey", 1 - chromatic.mean())
    weights = hsv[chromatic, 1] * hsv[chromatic, 2]
    histogram, _ = np.histogram(hsv[chromatic, 0] % 360, bins=72, range=(0, 360), weights=weights)
    smooth = sum(np.roll(histogram, shift) for shift in range(-4, 5))
    hue = (int(np.argmax(smooth)) + 0.5) * 5
    near = hue_distance(hsv[:, 0], hue) < CLUSTER
    share = float((near & chromatic).sum() / chromatic.sum())
    if share < 0.55 or (near & chromatic).mean() < 0.3:
        return None
    members = hsv[near & chromatic]
    offset = (members[:, 0] - hue + 180) % 360 - 180
    hue = float((hue + np.average(offset, weights=members[:, 1] * members[:, 2])) % 360)
    return MainColour(hue, hue_word(hue, float(members[:, 1].mean()), float(members[:, 2].mean())), share)


def hue_word(hue: float, saturation: float, value: float) -> str:
    """The plain English word for a hue in degrees with saturation and value in 0..1."""
    if hue < 42 and value < 0.72 and hue > 8:
        return "brown"
    if (hue >= 320 or hue < 12) and saturation < 0.5 and value > 0.75:
        return "pink"
    for limit, word in ((14, "red"), (38, "orange"), (66, "yellow"), (170, "green"), (252, "blue"), (305, "purple")):
        if hue < limit:
            return word
    return "pink" if hue < 343 else "red"


def repaint(rgba: Floats, main: MainColour, word: str) -> Floats:
    """The (H, W, 4) drawing with its main colour replaced by `word`; other hues and the shading stay."""
    paint = PAINTS[word]
    hsv = to_hsv(rgba[..., :3])
    if main.hue is None:
        member = np.clip((hsv[..., 2] - 0.2) / 0.2, 0, 1) * np.clip((0.35 - hsv[..., 1]) / 0.15, 0, 1)
        saturation = np.full_like(hsv[..., 1], 0.78)
        value = np.clip(hsv[..., 2] * 0.75 + 0.25, 0, 1)
        hue = np.zeros_like(saturation)
    else:
        distance = hue_distance(hsv[..., 0], main.hue)
        member = np.clip((CLUSTER + 14 - distance) / 14, 0, 1) * np.clip(hsv[..., 1] / 0.12, 0, 1)
        dim = 1.25 if main.word == "brown" else 1.0
        saturation, value = hsv[..., 1], hsv[..., 2] * dim
        hue = (hsv[..., 0] - main.hue + 180) % 360 - 180
    if paint.hue is None and word == "white":
        value = 1 - (1 - np.clip(value, 0, 1)) * 0.55
        value = value * 0.6 + 0.4
    painted = np.stack(
        [
            ((paint.hue or 0) + 0.5 * hue) % 360,
            np.clip(saturation * paint.saturation, 0, 1),
            np.clip(value * (1 if word == "white" else paint.value), 0, 1),
        ],
        -1,
    ).astype(np.float32)
    mixed = rgba[..., :3] * (1 - member[..., None]) + to_rgb(painted) * member[..., None]
    return np.concatenate([mixed, rgba[..., 3:]], -1).astype(np.float32)
