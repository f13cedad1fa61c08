"""Findings that need no model: light, detail, main colours, transparency."""

import cv2
import numpy as np

from diptych.images import Pixels, flatten
from diptych.v1 import editor_pb2
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, LUMINANCE, Floats, from_oklab, to_encoded, to_oklab
from services.editor.pixels.noise import measure_noise
from services.editor.seeing.color_names import name_of

# Statistics of a large picture are those of every n-th pixel.
_MOST_SAMPLES = 500_000
_PALETTE_SIZE = 6
# Oklab colours nearer than this look alike in a list of main colours.
_ALIKE = 0.08
_LEAST_SHARE = 0.01
# Middle grey, and the lightness means that separate the keys.
_MIDDLE_GREY = 0.18
_LOW_KEY, _HIGH_KEY = 35.0, 70.0


def visible_sample(pixels: Pixels) -> Pixels:
    """(N, 3) uint8 of evenly spread pixels that can be seen; empty when none can."""
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / _MOST_SAMPLES)))
    part = pixels[::step, ::step].reshape(-1, pixels.shape[2])
    return part[part[:, 3] >= 128][:, :3] if part.shape[1] == 4 else part


def has_transparency(pixels: Pixels) -> bool:
    """Whether any pixel is not opaque."""
    return pixels.shape[2] == 4 and bool(pixels[..., 3].min() < 255)


def lighting(pixels: Pixels) -> editor_pb2.Lighting:
    """Exposure, contrast, clipping, colour temperature and key of what is visible."""
    sample = visible_sample(pixels)
    if not len(sample):
        return editor_pb2.Lighting(key="normal", exposure=-10)
    linear = LINEAR_OF_BYTE[sample]
    luminance = linear @ LUMINANCE
    lightness = _lightness(luminance)
    mean = float(luminance.mean())
    key = "low" if lightness.mean() < _LOW_KEY else "high" if lightness.mean() > _HIGH_KEY else "normal"
    return editor_pb2.Lighting(
        mean_luminance=mean,
        exposure=float(np.log2(max(mean, 2**-10 * _MIDDLE_GREY) / _MIDDLE_GREY)),
        contrast=float(lightness.std()),
        clipped_shadows=float((sample.max(axis=1) <= 2).mean()),
        clipped_highlights=float((sample.min(axis=1) >= 253).mean()),
        color_temperature=_temperature(linear.mean(axis=0)),
        key=key,
    )


def quality(pixels: Pixels) -> editor_pb2.Quality:
    """Sharpness as the variance of the Laplacian, and the noise that is typical over the tones."""
    grey = cv2.cvtColor(flatten(pixels), cv2.COLOR_RGB2GRAY).astype(np.float32)
    if min(grey.shape) < 3:
        return editor_pb2.Quality()
    sharpness = cv2.Laplacian(grey, cv2.CV_32F)[1:-1, 1:-1].var()
    return editor_pb2.Quality(sharpness=float(sharpness), noise=measure_noise(pixels).typical)


def palette(pixels: Pixels) -> list[editor_pb2.PaletteColor]:
    """At most six main colours, largest share first, by k-means in Oklab over a coarse histogram."""
    sample = visible_sample(pixels)
    if not len(sample):
        return []
    coarse = (sample >> 3).astype(np.int32) @ np.array([1024, 32, 1], np.int32)
    bins, members, counts = np.unique(coarse, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(members, sample[:, channel], len(bins)) for channel in range(3)], axis=1)
    colors = to_oklab(LINEAR_OF_BYTE[np.rint(sums / counts[:, np.newaxis]).astype(np.uint8)])
    centres, shares = _cluster(colors, counts / counts.sum())
    found: list[editor_pb2.PaletteColor] = []
    for centre, share in sorted(zip(centres, shares, strict=True), key=lambda one: -one[1]):
        if share < _LEAST_SHARE and found:
            break
        rgb = np.rint(to_encoded(from_oklab(centre)).clip(0, 1) * 255).astype(int)
        color = "#{:02x}{:02x}{:02x}".format(*rgb)
        found.append(editor_pb2.PaletteColor(color=color, name=name_of(centre), fraction=float(share)))
    return found


def _lightness(luminance: Floats) -> Floats:
    """CIE L* 0..100 of relative luminance."""
    low = luminance * (29 / 3) ** 3
    return np.where(luminance > (6 / 29) ** 3, 116 * np.cbrt(luminance) - 16, low).astype(np.float32)


def _temperature(mean: Floats) -> float:
    """Correlated colour temperature in kelvin (McCamy 1992); 0 where the colour is no white."""
    x, y, z = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ mean
    total = x + y + z
    if total <= 0:
        return 0.0
    ratio = (x / total - 0.3320) / (0.1858 - y / total) if abs(0.1858 - y / total) > 1e-6 else 0.0
    kelvin = float(449 * ratio**3 + 3525 * ratio**2 + 6823.3 * ratio + 5520.33)
    _, green, blue = to_oklab(np.asarray(mean / max(mean.max(), 1e-6), np.float32))
    return kelvin if 1_500 < kelvin < 25_000 and float(np.hypot(green, blue)) < 0.15 else 0.0


def _cluster(colors: Floats, weights: np.ndarray) -> tuple[Floats, np.ndarray]:
    """Centres and their shares. Seeds are chosen by weight and distance, so the same picture gives the same palette."""
    centres = [colors[int(weights.argmax())]]
    nearest = np.square(colors - centres[0]).sum(axis=1)
    while len(centres) < _PALETTE_SIZE:
        best = int((nearest * weights).argmax())
        if nearest[best] < _ALIKE**2:
            break
        centres.append(colors[best])
        nearest = np.minimum(nearest, np.square(colors - colors[best]).sum(axis=1))
    means = np.stack(centres)
    for _ in range(12):
        owner = np.square(colors[:, np.newaxis] - means).sum(axis=2).argmin(axis=1)
        shares = np.bincount(owner, weights, len(means))
        for channel in range(3):
            total = np.bincount(owner, weights * colors[:, channel], len(means))
            means[:, channel] = np.where(shares > 0, total / np.maximum(shares, 1e-12), means[:, channel])
    return means, shares
