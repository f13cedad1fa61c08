"""Light moved between the tones of a picture, its detail kept: lifted, lowered, spread, without clipping.

The picture's lightness is split into large areas and the detail in them by a guided filter (He, Sun and Tang 2013;
its fast form at low resolution, He and Sun 2015), which leaves no halo at strong edges. A curve moves the areas.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.cutting.selection import blend
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, LUMINANCE, Floats, into_gamut, to_encoded, to_linear

_SMALL_SIDE = 512
# The filter's reach as a share of the small side, and the lightness difference that it takes for an edge.
_REACH = 1 / 12
_EDGE = 0.07
_ROWS = 128
# Tones nearer to black and white than this are not pushed further towards them.
_TOE, _SHOULDER = 0.03, 0.97


@dataclass(frozen=True)
class Relight:
    """What to do, neutral as constructed.

    `gains` of linear red, green and blue; `black` and `white` are the sRGB tones that go to 0 and 1; `lift` bends the
    areas: (1 + lift) times brighter in the darkest; `contrast` steepens the middle of the tones; `detail` is the
    factor on local contrast; `color` the factor on colourfulness.
    """

    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    black: float = 0.0
    white: float = 1.0
    lift: float = 0.0
    contrast: float = 0.0
    detail: float = 1.0
    color: float = 1.0

    def share(self, strength: float) -> "Relight":
        """`strength`, 0 to 1, of all that."""
        red, green, blue = (gain**strength for gain in self.gains)
        return Relight(
            (red, green, blue),
            self.black * strength,
            1 + (self.white - 1) * strength,
            self.lift * strength,
            self.contrast * strength,
            1 + (self.detail - 1) * strength,
            1 + (self.color - 1) * strength,
        )

    def bend(self, tones: Floats) -> Floats:
        """The new tones, 0 to 1 and rising, for those of large areas."""
        spread = ((tones - self.black) / (self.white - self.black)).clip(0, 1)
        lifted = (1 + self.lift) * spread / (1 + self.lift * spread)
        bent: Floats = lifted + self.contrast * lifted * (1 - lifted) * (2 * lifted - 1)
        return bent


def relight(image: Pixels, how: Relight, selection: Mask | None = None) -> Pixels:
    """(H, W, 3|4) uint8 in another light; alpha stays, and so does every bit where the selection is 0."""
    if how == Relight():
        return image
    height, width = image.shape[:2]
    slope, offset = _areas(image, how)
    result = image.copy()
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        part = image[rows, :, :3]
        done = _band(part, how, _stretched(slope, rows, height, width), _stretched(offset, rows, height, width))
        result[rows, :, :3] = done if selection is None else blend(part, done, selection[rows])
    return result


def _areas(image: Pixels, how: Relight) -> tuple[Floats, Floats]:
    """Slope and offset, at low resolution, that make an area's tone of a pixel's tone."""
    height, width = image.shape[:2]
    scale = min(1.0, _SMALL_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(image[..., :3]), size, interpolation=cv2.INTER_AREA)
    tones = _tones(LINEAR_OF_BYTE[small.reshape(size[1], size[0], 3)] * np.asarray(how.gains, np.float32))
    radius = max(2, round(max(size) * _REACH))
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(plane: Floats) -> Floats:
        return np.asarray(cv2.blur(plane, window), np.float32).reshape(plane.shape)

    middle = mean(tones)
    variance = (mean(tones * tones) - middle * middle).clip(0, None)
    slope = variance / (variance + _EDGE**2)
    return mean(slope), mean(middle * (1 - slope))


def _stretched(plane: Floats, rows: slice, height: int, width: int) -> Floats:
    """The rows of the low-resolution plane as if it were enlarged to (height, width), bilinearly."""
    y = ((np.arange(rows.start, rows.stop) + 0.5) * (plane.shape[0] / height) - 0.5).clip(0, plane.shape[0] - 1)
    x = ((np.arange(width) + 0.5) * (plane.shape[1] / width) - 0.5).clip(0, plane.shape[1] - 1)
    low, left = y.astype(int), x.astype(int)
    high, right = np.minimum(low + 1, plane.shape[0] - 1), np.minimum(left + 1, plane.shape[1] - 1)
    down = (y - low)[:, np.newaxis].astype(np.float32)
    across = (x - left).astype(np.float32)
    wide = plane[:, left] * (1 - across) + plane[:, right] * across
    stretched: Floats = wide[low] * (1 - down) + wide[high] * down
    return stretched


def _tones(linear: Floats) -> Floats:
    return to_encoded(np.minimum(linear @ LUMINANCE, 1))


def _band(part: Pixels, how: Relight, slope: Floats, offset: Floats) -> Pixels:
    linear = LINEAR_OF_BYTE[part] * np.asarray(how.gains, np.float32)
    tones = _tones(linear)
    areas = (slope * tones + offset).clip(1e-3, 1)
    # Detail is a ratio, so that it is as strong in a lifted shadow as it was in the dark.
    moved = how.bend(areas) * (np.maximum(tones, 1e-3) / areas) ** how.detail
    moved = np.minimum(np.maximum(moved, np.minimum(tones, _TOE)), np.maximum(tones, _SHOULDER))
    light = to_linear(moved)
    scaled = linear * (light / np.maximum(to_linear(tones), 1e-5))[..., np.newaxis]
    grey = light[..., np.newaxis]
    return np.rint(to_encoded(into_gamut(grey + (scaled - grey) * how.color)) * 255).astype(np.uint8)
