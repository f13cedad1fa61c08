"""Parts of a picture that hold nothing finer than two pixels but noise: skies, skin, what is out of focus.

At half the size they lose nothing, and a network costs a quarter.
"""

from typing import TypeVar

import cv2
import numpy as np

from diptych.images import Pixels
from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.noise import Noise

Picture = TypeVar("Picture", Pixels, Floats)

# Fine differences are compared over windows of this Gaussian, pixels.
_WINDOW = 4.0
# Independent noise of three channels, averaged, without what half the size keeps of it: a quarter of the variance of
# one channel's, give or take what the measuring of it is off by.
_MOST_NOISE = 0.34
# Where there is only noise, the windows with most of it have no more than this many times that of the middle one.
_MOST_UNEVEN, _HIGH = 1.45, 99


def only_noise(planes: Floats, noise: Noise) -> bool:
    """Whether halving the size of (3, H, W), 0 to 1, would lose nothing that can be told from `noise`."""
    colors = planes.transpose(1, 2, 0) * 255
    sigmas = noise.map(colors)
    if float(sigmas.min()) <= 0:
        return False
    grey: Floats = colors.mean(axis=2)
    fine = grey - doubled(half(grey), grey.shape[1], grey.shape[0])
    strength = cv2.GaussianBlur(np.square(fine / sigmas), (0, 0), _WINDOW)
    middle, high = np.percentile(strength, (50, _HIGH))
    return bool(middle < _MOST_NOISE and high < _MOST_UNEVEN * middle)


def half(picture: Picture) -> Picture:
    """Half as wide and high, by the mean."""
    height, width = picture.shape[:2]
    return cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def doubled(light: Floats, width: int, height: int) -> Floats:
    """(height, width) or (height, width, 3), smoothly."""
    return np.asarray(cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
