"""Where the camera is at each moment of a film: pure geometry.

A view is a window into the picture: its centre as shares of width and height, and how many times it is enlarged. Every
view lies inside the picture, for background and subject alike, so that no frame shows an edge.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from diptych.v1 import editor_pb2

PAN, ZOOM_IN, ZOOM_OUT, ORBIT = (
    editor_pb2.CAMERA_MOTION_PAN,
    editor_pb2.CAMERA_MOTION_ZOOM_IN,
    editor_pb2.CAMERA_MOTION_ZOOM_OUT,
    editor_pb2.CAMERA_MOTION_ORBIT,
)

# At amount 1: times the picture is enlarged by a zoom; share of its side that a pan may travel or an orbit is wide.
_ZOOM = 1.0
_ORBIT = 0.07
# With parallax: how the two layers part. The subject is nearer, so it grows faster and moves more.
_NEAR_ZOOM, _FAR_ZOOM = 1.15, 0.85
_NEAR_PAN = 1.15
_ORBIT_NEAR, _ORBIT_FAR = -0.4, 0.6
# An orbit is seen from eye height: less up and down than sideways.
_ORBIT_HEIGHT = 0.5


@dataclass(frozen=True)
class View:
    """What a frame shows of one layer: centre (0 to 1 across, 0 to 1 down) and enlargement, 1 or more."""

    x: float
    y: float
    zoom: float


@dataclass(frozen=True)
class Path:
    """`views(time)`: what is seen of background and subject, time 0 to 1. `closed`: it ends where it begins."""

    views: Callable[[float], tuple[View, View]]
    closed: bool = False


def camera_path(
    motion: int, amount: float, aspect: float, focus: tuple[float, float], direction: float | None, parallax: bool
) -> Path:
    """Where the camera goes; both layers are seen alike without `parallax`.

    `aspect`: width over height. `focus`: what a zoom closes in on, as a view's centre. `direction` in degrees clockwise
    from rightwards, None for along the long side. An orbit ends where it begins, the others start and stop softly.
    """
    if motion == ORBIT:
        return _orbit(amount, aspect, parallax)
    if motion == PAN:
        return _pan(amount, aspect, direction, parallax)
    return _zoom(amount, focus, parallax, outwards=motion == ZOOM_OUT)


def eased(time: float) -> float:
    """0 to 1 with no speed and no acceleration at either end (Perlin 2002)."""
    return time**3 * (time * (6 * time - 15) + 10)


def _zoom(amount: float, focus: tuple[float, float], parallax: bool, *, outwards: bool) -> Path:
    near, far = (_NEAR_ZOOM, _FAR_ZOOM) if parallax else (1.0, 1.0)
    most = 1 + _ZOOM * amount

    def view(share: float, exponent: float) -> View:
        # Even to the eye: each moment enlarges by the same factor.
        zoom = most ** (max(0.0, share) * exponent)
        # The focus stays where it is on the screen.
        return View(focus[0] + (0.5 - focus[0]) / zoom, focus[1] + (0.5 - focus[1]) / zoom, zoom)

    def views(time: float) -> tuple[View, View]:
        share = 1 - eased(time) if outwards else eased(time)
        return view(share, far), view(share, near)

    return Path(views)


def _pan(amount: float, aspect: float, direction: float | None, parallax: bool) -> Path:
    zoom = 1 + _ZOOM * amount
    angle = math.radians(direction if direction is not None else (0 if aspect >= 1 else 90))
    x, y = math.cos(angle), math.sin(angle)
    near = _NEAR_PAN if parallax else 1.0
    # From edge to edge of what the enlargement leaves, for the layer that moves most.
    reach = (1 - 1 / zoom) / 2 / near / max(abs(x), abs(y))

    def views(time: float) -> tuple[View, View]:
        at = reach * (2 * eased(time) - 1)
        return View(0.5 + at * x, 0.5 + at * y, zoom), View(0.5 + at * near * x, 0.5 + at * near * y, zoom)

    return Path(views)


def _orbit(amount: float, aspect: float, parallax: bool) -> Path:
    across, down = (1 / aspect, 1.0) if aspect >= 1 else (1.0, aspect)
    radius = (_ORBIT * amount * across, _ORBIT * amount * down * _ORBIT_HEIGHT)
    far, near = (_ORBIT_FAR, _ORBIT_NEAR) if parallax else (1.0, 1.0)
    zoom = 1 / (1 - 2 * max(radius) * max(abs(far), abs(near)))

    def views(time: float) -> tuple[View, View]:
        x, y = radius[0] * math.cos(2 * math.pi * time), radius[1] * math.sin(2 * math.pi * time)
        return View(0.5 + far * x, 0.5 + far * y, zoom), View(0.5 + near * x, 0.5 + near * y, zoom)

    return Path(views, closed=True)
