"""How noisy a picture is, tone by tone."""

from dataclasses import dataclass

import cv2
import numpy as np

from diptych.images import Pixels
from services.editor.pixels.color_spaces import Floats

# Patches of this side are compared; each is a point of 3 * 7 * 7 dimensions.
_SIDE = 7
_STRIDE = 3
# A large picture is judged by so many windows of this side, spread evenly.
_WINDOWS, _WINDOW = 4, 256
_MOST_PATCHES = 60_000
# Fewer patches than this a group, and their spread says nothing.
_LEAST_PATCHES = 400
_GROUP = 1_500
_MOST_GROUPS = 6
# The share of patches taken for the quiet ones, and what their spread is short of that of all noise.
_QUIET, _SHORT = 10, 1.47
# How far around itself a pixel looks for the tone it would have without noise, pixels.
_TONE_REACH = 2.0


@dataclass(frozen=True)
class Noise:
    """Standard deviation of noise, 0 to 255, at a few tones, 0 to 255 and rising: sensors are noisier in the light."""

    tones: tuple[float, ...] = (128.0,)
    sigmas: tuple[float, ...] = (0.0,)

    @property
    def typical(self) -> float:
        """The median over tones."""
        return float(np.median(self.sigmas))

    def at_least(self, sigma: float) -> "Noise":
        """The same, but nowhere less than `sigma`."""
        return Noise(self.tones, tuple(max(one, sigma) for one in self.sigmas))

    def map(self, colors: Floats) -> Floats:
        """(H, W) float32: the noise to expect at each pixel of (H, W, 3), tones 0 to 255."""
        tone = cv2.GaussianBlur(colors.mean(axis=2), (0, 0), _TONE_REACH)
        expected: Floats = np.interp(tone, self.tones, self.sigmas).astype(np.float32)
        return expected


def measure_noise(pixels: Pixels) -> Noise:
    """The noise of what is opaque, for dark and bright tones apart; none where there is too little to see.

    Texture spreads small patches in few directions, noise in all alike: after Chen, Zhu and Heng (2015), "An Efficient
    Statistical Method for Image Noise Level Estimation". A picture that is all grass and grey passes for noisy.
    """
    patches = np.concatenate([_patches(window) for window in _windows(pixels)])
    if len(patches) > _MOST_PATCHES:
        patches = patches[:: -(-len(patches) // _MOST_PATCHES)]
    if len(patches) < _LEAST_PATCHES:
        return Noise()
    points = patches.astype(np.float32)
    tones = points.mean(axis=1)
    groups = np.array_split(np.argsort(tones, kind="stable"), max(1, min(len(points) // _GROUP, _MOST_GROUPS)))
    return Noise(
        tuple(float(tones[group].mean()) for group in groups),
        tuple(max(_least_spread(points[group]), _quiet_spread(points[group])) for group in groups),
    )


def _windows(pixels: Pixels) -> list[Pixels]:
    """The whole of a small picture, else parts of it."""
    height, width = pixels.shape[:2]
    if height * width <= _WINDOWS**2 * _WINDOW**2:
        return [pixels]
    tops = np.linspace(0, max(height - _WINDOW, 0), _WINDOWS if height > _WINDOW else 1).astype(int)
    lefts = np.linspace(0, max(width - _WINDOW, 0), _WINDOWS if width > _WINDOW else 1).astype(int)
    return [pixels[top : top + _WINDOW, left : left + _WINDOW] for top in tops for left in lefts]


def _patches(window: Pixels) -> Pixels:
    """(N, 3 * side * side) uint8 of the window's opaque patches."""
    if min(window.shape[:2]) < _SIDE:
        return np.empty((0, 3 * _SIDE * _SIDE), np.uint8)
    stride = _STRIDE if window.shape[0] * window.shape[1] >= _STRIDE**2 * _GROUP else 1
    views = np.lib.stride_tricks.sliding_window_view(window, (_SIDE, _SIDE), axis=(0, 1))[::stride, ::stride]
    found = views[:, :, :3].reshape(-1, 3 * _SIDE * _SIDE)
    if window.shape[2] == 4:
        found = found[views[:, :, 3].reshape(-1, _SIDE * _SIDE).min(axis=1) == 255]
    return found


def _least_spread(points: Floats) -> float:
    """The standard deviation along those directions in which the points spread alike."""
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(points, rowvar=False)))
    for count in range(len(eigenvalues), 0, -1):
        least = eigenvalues[:count]
        if least.mean() <= np.median(least) * 1.0001:
            break
    return float(np.sqrt(max(least.mean(), 0)))


def _quiet_spread(points: Floats) -> float:
    """The noise that the channels share, from the patches with least of it: after Immerkaer (1996).

    Cameras smooth the noise of colours before they write a file, and a grey picture has none.
    """
    grey = points.reshape(-1, 3, _SIDE, _SIDE).mean(axis=1)
    # Twice the Laplacian of neighbours, that is second differences in both directions: straight edges cancel out.
    fine = np.diff(np.diff(grey, n=2, axis=1), n=2, axis=2) / 6
    return float(np.percentile(np.sqrt(np.square(fine).mean(axis=(1, 2))), _QUIET) * _SHORT)
