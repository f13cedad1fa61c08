"""Pictures at another size, and pictures turned, without halos at transparent edges."""

from typing import Any

import cv2
import numpy as np
from PIL import Image as PillowImage

from diptych.images import Pixels
from services.editor.pixels.color_spaces import Floats

_LANCZOS = PillowImage.Resampling.LANCZOS


def resample(pixels: Pixels, width: int, height: int) -> Pixels:
    """The picture at `width` x `height` by Lanczos with antialiasing; colour is weighted by alpha."""
    if pixels.shape[1::-1] == (width, height):
        return pixels
    if pixels.shape[2] == 3:
        return np.asarray(PillowImage.fromarray(pixels).resize((width, height), _LANCZOS))
    alpha = resample_plane(pixels[..., 3].astype(np.float32), width, height)
    result = np.empty((height, width, 4), np.uint8)
    result[..., 3] = np.rint(alpha.clip(0, 255))
    weight = pixels[..., 3].astype(np.float32) / 255
    for channel in range(3):
        lit = resample_plane(pixels[..., channel] * weight, width, height)
        result[..., channel] = _divided(lit, alpha)
    return result


def resample_plane(plane: Floats, width: int, height: int) -> Floats:
    """A float (H, W) plane at another size by Lanczos with antialiasing; may overshoot a little."""
    resized = PillowImage.fromarray(plane.astype(np.float32)).resize((width, height), _LANCZOS)
    return np.asarray(resized, np.float32)


def turn(pixels: Pixels, angle: float, *, expand: bool) -> Pixels:
    """The picture turned clockwise by `angle` degrees about its centre, bicubic.

    New corners are transparent, or white where there is no alpha.
    """
    matrix, size = _turning(pixels.shape[1], pixels.shape[0], angle, expand)
    if pixels.shape[2] == 3:
        # In 8 bits and at once: what floats would take of a large photo is gigabytes.
        on_white: Any = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC, borderValue=(255, 255, 255))
        return np.asarray(on_white, np.uint8)
    # One transparent pixel all round, so that edges fade instead of breaking into steps.
    light: Any = cv2.copyMakeBorder(premultiplied(pixels), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    matrix[:, 2] -= matrix[:, :2] @ (1, 1)
    turned: Any = cv2.warpAffine(light, matrix, size, flags=cv2.INTER_CUBIC, borderValue=(0, 0, 0, 0))
    return unpremultiplied(turned)


def _turning(width: int, height: int, angle: float, expand: bool) -> tuple[Any, tuple[int, int]]:
    """The matrix (2, 3) that turns a picture about its centre, and the size it needs."""
    radians = np.deg2rad(angle)
    cos, sin = float(np.cos(radians)), float(np.sin(radians))
    new_width, new_height = turned_size(width, height, angle) if expand else (width, height)
    x, y, new_x, new_y = (width - 1) / 2, (height - 1) / 2, (new_width - 1) / 2, (new_height - 1) / 2
    matrix = np.array([[cos, -sin, new_x - cos * x + sin * y], [sin, cos, new_y - sin * x - cos * y]])
    return matrix, (new_width, new_height)


def turned_size(width: int, height: int, angle: float) -> tuple[int, int]:
    """Width and height of the smallest canvas that holds the turned picture."""
    cos, sin = abs(np.cos(np.deg2rad(angle))), abs(np.sin(np.deg2rad(angle)))
    # A hair less before rounding up: a turn by 0.0001 degrees should not add a pixel.
    return int(np.ceil(width * cos + height * sin - 1e-3)), int(np.ceil(width * sin + height * cos - 1e-3))


def premultiplied(pixels: Pixels) -> Floats:
    """(H, W, 4) float32 0..255, colour times alpha."""
    light = pixels.astype(np.float32)
    light[..., :3] *= light[..., 3:] / 255
    return light


def unpremultiplied(light: Floats) -> Pixels:
    """(H, W, 4) uint8 with straight alpha; black where it is transparent."""
    alpha = light[..., 3]
    result = np.empty(light.shape, np.uint8)
    result[..., 3] = np.rint(alpha.clip(0, 255))
    for channel in range(3):
        result[..., channel] = _divided(light[..., channel], alpha)
    return result


def _divided(lit: Floats, alpha: Floats) -> Pixels:
    """Colour 0..255 from colour times alpha, both with what they overshoot; black where alpha rounds to nothing."""
    straight = lit * (255 / np.maximum(alpha, 0.5))
    return np.where(alpha >= 0.5, np.rint(straight.clip(0, 255)), 0).astype(np.uint8)
