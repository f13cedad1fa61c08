"""How far the selection of a found thing goes: an edit may want more than the thing's own pixels."""

import enum

import cv2
import numpy as np

from diptych.images import Mask
from services.editor.cutting.matting import box_of

# The rim around a thing that still has its colour and its contact shadow, as a share of the thing's longer side.
_RIM_SHARE, _LEAST_RIM = 0.02, 3
# What is selected less than this is a finder's doubt.
_DOUBT = 0.1


class Reach(enum.Enum):
    """The thing's own pixels, those with a rim around, or the whole box that holds it."""

    THING = enum.auto()
    RIM = enum.auto()
    BOX = enum.auto()


def extended(mask: Mask, reach: Reach) -> Mask:
    """(H, W) 0..1: what was found, as far as `reach` says. The same where nothing was found."""
    box = box_of(mask)
    if reach is Reach.THING or box is None:
        return mask
    left, top, right, bottom = box
    result = np.zeros_like(mask)
    if reach is Reach.BOX:
        result[top:bottom, left:right] = 1
        return result
    rim = max(_LEAST_RIM, round(_RIM_SHARE * max(right - left, bottom - top)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    result[cv2.dilate((mask > _DOUBT).astype(np.uint8), kernel) > 0] = 1
    return result
