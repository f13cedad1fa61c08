"""The guided filter (He, Sun and Tang 2013): a plane smoothed, but not across the edges of another."""

import cv2
import numpy as np

from services.editor.pixels.color_spaces import Floats


def guided(guide: Floats, plane: Floats, radius: int, epsilon: float) -> Floats:
    """(H, W) float32: `plane` as a local line of `guide`, both (H, W) float32.

    `radius` in pixels. Differences of the guide well below the root of `epsilon` are smoothed, those above are kept.
    """
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, size, borderType=cv2.BORDER_REFLECT_101), np.float32)

    middle, level = mean(guide), mean(plane)
    slope = (mean(guide * plane) - middle * level) / (mean(guide * guide) - middle * middle + np.float32(epsilon))
    offset = level - slope * middle
    result: Floats = mean(slope) * guide + mean(offset)
    return result
