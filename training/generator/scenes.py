"""Pictures put together: drawings placed on plain colours, under skies, on hills, at the sea, in the night."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.generator.colours import BACKGROUNDS

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

FINE = 2  # grounds are painted this many times larger and averaged, so that their edges are smooth


@dataclass(frozen=True)
class Placed:
    """A drawing with its centre and its side, in parts of the canvas."""

    variant: int
    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Scene:
    """What a ground is called in captions, how it is painted, and where a thing belongs in it: ranges of x, y, side."""

    phrases: tuple[str, ...]
    paint: Callable[[int, random.Random], Floats]
    x: tuple[float, float]
    y: tuple[float, float]
    side: tuple[float, float]


def gradient(size: int, top: Sequence[float], bottom: Sequence[float]) -> Floats:
    """(size, size, 3) in 0..255, from `top` down to `bottom`."""
    down = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    column = np.asarray(top, np.float32) * (1 - down) + np.asarray(bottom, np.float32) * down
    return np.broadcast_to(column, (size, size, 3)).copy()


def sky(size: int, rng: random.Random) -> Floats:
    """A light blue gradient, paler below."""
    pale = rng.uniform(215, 240)
    return gradient(size, (88 + rng.uniform(-12, 12), 166, 235), (pale, 238, 252))


def hills(size: int, rng: random.Random) -> Floats:
    """A sky over one or two green hills."""
    ground = sky(size, rng)
    x = np.arange(size) / size
    y = np.arange(size)[:, None] / size
    for base, green in ((0.66, (128, 194, 96)), (0.76, (92, 170, 74))):
        phase, length = rng.uniform(0, 2 * math.pi), rng.uniform(0.7, 1.3)
        line = base - 0.06 * np.sin(2 * math.pi * length * x + phase)
        ground[y > line[None]] = green
    return ground


def sea(size: int, rng: random.Random) -> Floats:
    """A sky over water with a few lighter waves."""
    ground = sky(size, rng)
    horizon = round(size * rng.uniform(0.5, 0.58))
    ground[horizon:] = gradient(size, (64, 148, 214), (24, 92, 172))[: size - horizon]
    for _ in range(5):
        row = rng.randrange(horizon + 2, size - 2)
        left = rng.randrange(0, size - size // 5)
        ground[row : row + FINE, left : left + rng.randrange(size // 10, size // 5)] = (150, 204, 238)
    return ground


def night(size: int, rng: random.Random) -> Floats:
    """A dark blue gradient with small stars."""
    ground = gradient(size, (14, 18, 52), (44, 52, 110))
    for _ in range(rng.randrange(9, 16)):
        row, column = rng.randrange(0, size - FINE), rng.randrange(0, size - FINE)
        ground[row : row + FINE, column : column + FINE] = (255, 244, 200)
    return ground


SCENES = {
    "sky": Scene(
        ("in the sky", "in a blue sky", "in front of a blue sky", "with a sky background"),
        sky,
        (0.35, 0.65),
        (0.35, 0.65),
        (0.5, 0.72),
    ),
    "hills": Scene(
        ("on a hill", "on a green hill", "on green hills", "in a green landscape", "with hills in the background"),
        hills,
        (0.35, 0.65),
        (0.5, 0.58),
        (0.5, 0.66),
    ),
    "sea": Scene(
        ("at the sea", "by the sea", "on the sea", "on the water", "in the ocean"),
        sea,
        (0.35, 0.65),
        (0.48, 0.58),
        (0.5, 0.66),
    ),
    "night": Scene(
        ("at night", "under the stars", "in a starry night", "in the night sky", "at night with stars"),
        night,
        (0.35, 0.65),
        (0.35, 0.65),
        (0.5, 0.72),
    ),
}

# Where up to four things stand: (x, y, side) of each.
PAIR = ((0.27, 0.5, 0.47), (0.73, 0.5, 0.47))
COUNTS: dict[int, tuple[tuple[tuple[float, float, float], ...], ...]] = {
    2: (PAIR,),
    3: (
        ((0.2, 0.5, 0.34), (0.5, 0.5, 0.34), (0.8, 0.5, 0.34)),
        ((0.5, 0.27, 0.44), (0.27, 0.73, 0.44), (0.73, 0.73, 0.44)),
    ),
    4: (((0.27, 0.27, 0.44), (0.73, 0.27, 0.44), (0.27, 0.73, 0.44), (0.73, 0.73, 0.44)),),
}


def place_in(scene: Scene, variant: int, rng: random.Random) -> Placed:
    """A drawing where it belongs in the scene."""
    return Placed(variant, rng.uniform(*scene.x), rng.uniform(*scene.y), rng.uniform(*scene.side))


def paint_ground(name: str, size: int, rng: random.Random) -> Floats:
    """(size, size, 3) in 0..255: a scene, or else a background colour by its word."""
    if name not in SCENES:
        return np.broadcast_to(np.asarray(BACKGROUNDS[name], np.float32), (size, size, 3)).copy()
    fine = SCENES[name].paint(size * FINE, rng)
    return np.asarray(fine.reshape(size, FINE, size, FINE, 3).mean((1, 3)), np.float32)


def compose(ground: Floats, things: Sequence[Placed], variants: NDArray[np.uint8]) -> Pixels:
    """(size, size, 3): the drawings laid on the ground, the first lowest."""
    size = ground.shape[0]
    picture = ground
    for thing in things:
        side = round(thing.side * size)
        art = Image.fromarray(variants[thing.variant], "RGBA")
        if side != size:
            art = art.convert("RGBa").resize((side, side), Image.Resampling.BOX).convert("RGBA")
        layer = Image.new("RGBA", (size, size))
        layer.paste(art, (round(thing.x * size - side / 2), round(thing.y * size - side / 2)))
        values = np.asarray(layer, np.float32)
        alpha = values[..., 3:] / 255
        picture = values[..., :3] * alpha + picture * (1 - alpha)
    return np.asarray(picture + 0.5, np.uint8)
