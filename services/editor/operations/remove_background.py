"""Cuts the subject out; the rest becomes transparent."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.cutting.foreground import subject_colors
from services.editor.cutting.matting import DEFAULT_MODEL, find_subject
from services.editor.faults import Faults


@dataclass(frozen=True)
class Parameters:
    """`model` empty for the default."""

    model: str
    decontaminate: bool
    mask_only: bool


def read(message: editor_pb2.RemoveBackground, faults: Faults) -> Parameters:
    """The parameters; nothing in them can be out of range."""
    wanted = message.decontaminate if message.HasField("decontaminate") else True
    return Parameters(message.model, wanted, message.mask_only)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """(H, W, 4) with the matte as alpha, times the alpha there was; or the matte as grey (H, W, 3)."""
    context.note(
        model=parameters.model or DEFAULT_MODEL,
        decontaminate=parameters.decontaminate,
        mask_only=parameters.mask_only,
    )
    matte = await find_subject(image, context, parameters.model)
    context.progress(0.8)
    if parameters.mask_only:
        grey = np.rint(matte * 255).astype(np.uint8)
        return np.asarray(cv2.merge([grey] * 3), np.uint8)
    if parameters.decontaminate:
        context.method("blur-fusion", "opencv")
    return await context.compute(cut_out, image, matte, parameters.decontaminate)


def cut_out(image: Pixels, matte: Mask, clean_edges: bool) -> Pixels:
    """The picture with `matte` as alpha. Where nothing is left, no colour is left either."""
    colors: Any = subject_colors(image, matte) if clean_edges else np.ascontiguousarray(image[..., :3])
    alpha = cv2.convertScaleAbs(matte, alpha=255)
    colors = cv2.bitwise_and(colors, colors, mask=alpha)
    result: Any = cv2.cvtColor(colors, cv2.COLOR_RGB2RGBA)
    cv2.insertChannel(alpha, result, 3)
    return np.asarray(result, np.uint8)
