"""Softness measured at edges, and taken back.

What a soft lens or a missed focus does is close to a blur with a Gaussian. Motion blur is not: it is left as it is.
"""

import cv2
import numpy as np

from diptych.images import Pixels, flatten
from services.editor.pixels.color_spaces import Floats

# The picture is blurred once more by this much, pixels, and edges are compared before and after.
_REBLUR = 1.0
# Slopes below this, 0 to 255 a pixel, are no edges; noise makes slopes as well.
_LEAST_SLOPE, _LEAST_OVER_NOISE = 6.0, 1.5
_LEAST_EDGES = 12
# The sharper edges tell of the lens, the others of what is out of focus on purpose.
_SHARPER = 25
# Statistics of a large picture are those of its middle part.
_MOST_SIDE = 2048
# Half-quadratic splitting: how much the denoiser's picture counts, and the noise that it is told at first.
_PRIOR = 0.23
_FIRST_SIGMA = 10.0
# The third round is worth 0.1 to 0.5 dB; a picture of more pixels than these goes without.
_ROUNDS, _LARGE_ROUNDS, _LARGE = 3, 2, 6_000_000


def measure_blur(pixels: Pixels, noise: float) -> float | None:
    """Standard deviation of the blur in pixels, None for a picture without edges. `noise` is 0 to 255.

    After Zhuo and Sim (2011), "Defocus Map Estimation from a Single Image": blurring again flattens a sharp edge more
    than a soft one.
    """
    height, width = pixels.shape[:2]
    top, left = max(0, (height - _MOST_SIDE) // 2), max(0, (width - _MOST_SIDE) // 2)
    part = np.ascontiguousarray(pixels[top : top + _MOST_SIDE, left : left + _MOST_SIDE])
    grey = cv2.cvtColor(flatten(part), cv2.COLOR_RGB2GRAY).astype(np.float32)
    softer = np.asarray(cv2.GaussianBlur(grey, (0, 0), _REBLUR), np.float32)
    before, after = _slopes(grey), _slopes(softer)
    steep = after > max(_LEAST_SLOPE, _LEAST_OVER_NOISE * noise)
    edges = steep & (after == cv2.dilate(after, np.ones((5, 5), np.uint8)))
    if edges.sum() < _LEAST_EDGES:
        return None
    flattened = np.maximum(before[edges] / after[edges], 1.001)
    return float(np.percentile(_REBLUR / np.sqrt(flattened**2 - 1), _SHARPER))


def _slopes(grey: Floats) -> Floats:
    slopes: Floats = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
    return slopes


class Deconvolution:
    """The exact half of the restoration of one tile; the other half is a denoiser's, in turn, for each of `sigmas`.

    Plug-and-play restoration by half-quadratic splitting (Zhang et al. 2021, "Plug-and-Play Image Restoration with
    Deep Denoiser Prior"). Cosine transforms mirror the picture at its edges, where Fourier transforms would ring.
    """

    def __init__(self, planes: Floats, blur: float, noise: float) -> None:
        """`planes` (3, H, W) 0 to 1 with even sides; `blur` in pixels; `noise` 0 to 1."""
        height, width = planes.shape[1:]
        down, across = np.arange(height) / (2 * height), np.arange(width) / (2 * width)
        squared = down[:, np.newaxis] ** 2 + across**2
        self._transfer = np.exp(-2 * np.pi**2 * blur**2 * squared).astype(np.float32)
        self._seen = _cosines(planes)
        self._noise = noise

    def step(self, planes: Floats, sigma: float) -> Floats:
        """What explains the blurred tile and lies near `planes`, which are told to be off by `sigma`, 0 to 1."""
        weight = _PRIOR * (self._noise / sigma) ** 2
        spectrum = (self._transfer * self._seen + weight * _cosines(planes)) / (self._transfer**2 + weight)
        return np.stack([cv2.idct(plane) for plane in spectrum])


def sigmas(noise: float, pixels: int) -> list[float]:
    """The noise to tell the denoiser in each round, 0 to 1, from much to what there is, for so large a picture."""
    rounds = _LARGE_ROUNDS if pixels > _LARGE else _ROUNDS
    return [float(one) for one in np.geomspace(max(_FIRST_SIGMA / 255, noise), noise, rounds)]


def _cosines(planes: Floats) -> Floats:
    return np.stack([cv2.dct(np.ascontiguousarray(plane)) for plane in planes])
