"""Whether a picture is a drawing or a photograph, by looking."""

import cv2
import numpy as np

from diptych.images import Pixels, flatten

# A drawing's areas are flat but for rounding and mild compression.
_FLAT_RANGE = 6
_LEAST_FLAT_SHARE = 0.6
# So are an evening sky and whatever is out of focus. A drawing has a frame of one colour besides, or areas without any
# difference.
_PLAIN_RANGE = 12
_LEAST_PLAIN_SHARE = 0.6
_LEAST_SAME_SHARE = 0.4
_FRAME = 8
_SIDE = 512


def looks_drawn(pixels: Pixels) -> bool:
    """True for drawings, icons and screenshots: outside of their ground, most neighbourhoods are of one colour."""
    height, width = pixels.shape[:2]
    # The centre at full resolution: scaling down would blur flat areas and average noise away.
    top, left = max(0, (height - _SIDE) // 2), max(0, (width - _SIDE) // 2)
    part = np.ascontiguousarray(flatten(pixels[top : top + _SIDE, left : left + _SIDE]))
    kernel = np.ones((3, 3), np.uint8)
    spread = (cv2.dilate(part, kernel).astype(np.int16) - cv2.erode(part, kernel)).max(axis=2)
    coarse = (part >> 4).astype(np.int32) @ np.array([256, 16, 1], np.int32)
    ground = np.bincount(coarse.ravel()).argmax()
    figure = coarse != ground
    # A blank page tells nothing; its flatness then counts whole.
    found = spread[figure if figure.mean() > 0.02 else np.ones_like(figure)]
    if float((found <= _FLAT_RANGE).mean()) < _LEAST_FLAT_SHARE:
        return False
    return float((found == 0).mean()) >= _LEAST_SAME_SHARE or _frame_is_plain(pixels)


def _frame_is_plain(pixels: Pixels) -> bool:
    sides = pixels[:_FRAME], pixels[-_FRAME:], pixels[:, :_FRAME], pixels[:, -_FRAME:]
    frame = np.concatenate([flatten(np.ascontiguousarray(side)).reshape(-1, 3) for side in sides]).astype(np.int16)
    near = np.abs(frame - np.median(frame, axis=0)).max(axis=1) <= _PLAIN_RANGE
    return float(near.mean()) >= _LEAST_PLAIN_SHARE
