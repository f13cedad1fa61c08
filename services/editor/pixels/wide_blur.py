"""Blurs that reach far, at the price of short ones."""

from typing import Any

import cv2
import numpy as np

from diptych.images import Mask

# Pixels of a blur that is drawn on the picture as it is.
_SHORT = 6


def wide_blur(plane: Mask, sigma: float) -> Mask:
    """The plane (H, W) float32 after a Gaussian blur of `sigma` pixels; around it is nought.

    A wide blur holds no detail, so it is drawn on a smaller plane.
    """
    factor = max(1, int(sigma / _SHORT))
    height, width = plane.shape
    small: Any = plane
    if factor > 1:
        small = cv2.resize(plane, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_CONSTANT)
    wide = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) if factor > 1 else small
    return np.asarray(wide, np.float32)
