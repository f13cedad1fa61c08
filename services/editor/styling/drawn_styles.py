"""Styles that are plain arithmetic: pencil, pixel art, halftone and poster. Sizes follow the picture's own."""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image

from diptych.images import Pixels
from services.editor.pixels.color_spaces import Floats

_PIXELS_ACROSS, _PIXEL_COLORS = 112, 24
_POSTER_COLORS = 7
# Distance of halftone dots as a share of the longer side; angles of the screens of cyan, magenta, yellow and black.
_DOT, _LEAST_DOT, _ANGLES = 1 / 140, 4.0, (15, 75, 0, 45)
_ROWS = 256


def pencil(colors: Pixels) -> Pixels:
    """(H, W, 3): graphite on paper, by dividing the picture by its blurred self, lines firmer and darks hatched in."""
    grey = cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY)
    longer = max(grey.shape)
    calm: Any = cv2.bilateralFilter(grey, 5, 25, 3) if longer <= 1600 else cv2.GaussianBlur(grey, (0, 0), longer / 1600)
    around: Any = cv2.GaussianBlur(calm, (0, 0), max(2.0, longer / 90))
    lines = np.minimum(calm.astype(np.float32) / np.maximum(around, 1), 1) ** 2.2
    shade = 1 - 0.45 * (1 - around.astype(np.float32) / 255) ** 1.5
    drawn = np.rint(255 * (lines * shade).clip(0, 1)).astype(np.uint8)
    return np.repeat(drawn[..., np.newaxis], 3, axis=2)


def pixel_art(colors: Pixels) -> Pixels:
    """(H, W, 3): large squares in few colours."""
    height, width = colors.shape[:2]
    step = max(height, width) / min(_PIXELS_ACROSS, max(height, width))
    size = max(1, round(width / step)), max(1, round(height / step))
    small = Image.fromarray(colors).resize(size, Image.Resampling.BOX)
    few = small.quantize(_PIXEL_COLORS, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE).convert("RGB")
    return np.asarray(few.resize((width, height), Image.Resampling.NEAREST))


def poster(colors: Pixels) -> Pixels:
    """(H, W, 3): flat areas of few colours with smooth outlines."""
    longer = max(colors.shape[:2])
    share = min(1.0, 800 / longer)
    size = max(1, round(colors.shape[1] * share)), max(1, round(colors.shape[0] * share))
    small: Any = cv2.resize(colors, size, interpolation=cv2.INTER_AREA)
    for _ in range(3):
        small = cv2.bilateralFilter(small.reshape(size[1], size[0], 3), 7, 40, 5)
    tiny = Image.fromarray(small).reduce(max(1, max(size) // 128))
    chosen_few = tiny.quantize(_POSTER_COLORS, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    few = Image.fromarray(small).quantize(palette=chosen_few, dither=Image.Dither.NONE)
    palette = np.array(few.getpalette(), np.uint8).reshape(-1, 3)
    labels: Any = cv2.medianBlur(np.asarray(few, np.uint8), 5)
    best, chosen = np.full(colors.shape[:2], -1.0, np.float32), np.zeros(colors.shape[:2], np.uint8)
    for number in np.unique(labels):
        area: Any = cv2.GaussianBlur((labels == number).astype(np.float32), (0, 0), 1.2)
        there = cv2.resize(area, (colors.shape[1], colors.shape[0]), interpolation=cv2.INTER_LINEAR)
        nearer = there > best
        best[nearer], chosen[nearer] = there[nearer], number
    return np.asarray(palette[chosen])


def halftone(colors: Pixels) -> Pixels:
    """(H, W, 3): printed dots of cyan, magenta, yellow and black on white."""
    height, width = colors.shape[:2]
    pitch = max(_LEAST_DOT, max(height, width) * _DOT)
    calm: Any = cv2.GaussianBlur(colors, (0, 0), pitch / 3)
    result = np.empty_like(colors)
    x = np.arange(width, dtype=np.float32)[np.newaxis]
    for top in range(0, height, _ROWS):
        part = calm[top : top + _ROWS].astype(np.float32) / 255
        y = np.arange(top, top + len(part), dtype=np.float32)[:, np.newaxis]
        black = 1 - part.max(axis=2)
        inks = (1 - part - black[..., np.newaxis]) / np.maximum(1 - black, 1e-3)[..., np.newaxis]
        printed = np.ones_like(part)
        for channel in range(3):
            printed[..., channel] = 1 - _dots(inks[..., channel], x, y, pitch, _ANGLES[channel])
        printed *= 1 - _dots(black, x, y, pitch, _ANGLES[3])[..., np.newaxis]
        result[top : top + _ROWS] = np.rint(printed * 255)
    return result


def _dots(ink: Floats, x: Floats, y: Floats, pitch: float, angle: float) -> Floats:
    """(h, w) 0..1: dots that cover as much as there is ink, with soft edges of a pixel."""
    turn = np.deg2rad(angle)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    wave = (np.cos(2 * np.pi * along / pitch) + np.cos(2 * np.pi * across / pitch)) / 4 + 0.5
    # The wave is above this in the wanted share of the area, nearly enough.
    sharp = pitch / 4
    dots: Floats = ((wave - (1 - ink)) * sharp + 0.5).clip(0, 1) * (ink > 0.02)
    return dots.astype(np.float32)


DRAWINGS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "pencil": pencil,
    "pixel-art": pixel_art,
    "poster": poster,
    "halftone": halftone,
}
