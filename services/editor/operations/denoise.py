"""Noise away, as much as was measured, detail kept."""

from dataclasses import dataclass

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.pixels.edges import bleed
from services.editor.pixels.noise import Noise, measure_noise
from services.editor.pixels.smooth_parts import half
from services.editor.restoring.denoising import COARSE_NOISE, DEFAULT_MODEL, remove_noise

# Noise up to the first is left alone by default, noise from the second on is taken away whole.
_UNSEEN, _DISTURBING = 1.3, 3.0
# Who asks for it by number gets at least this much smoothing at full strength, whatever was measured.
_LEAST_ASKED = 3.0


@dataclass(frozen=True)
class Parameters:
    """`strength` is the share of the noise to take away, None for what the noise asks for."""

    strength: float | None
    model: str


def read(message: editor_pb2.Denoise, faults: Faults) -> Parameters:
    """The parameters."""
    strength = faults.number(message, "strength", 0, 1, 1)
    return Parameters(strength if message.HasField("strength") else None, message.model or DEFAULT_MODEL)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with less noise; alpha stays, and so does every pixel outside the selection."""
    noise = await context.compute(measure_noise, image)
    strength = parameters.strength
    if strength is None:
        strength = await context.compute(default_strength, image, noise)
    else:
        noise = noise.at_least(_LEAST_ASKED * strength)
    context.note(strength=strength, model=parameters.model)
    if strength == 0:
        return image
    model = await context.model(parameters.model)
    colors = await context.compute(visible_colors, image)
    needed = needed_pixels(image, context.selection)
    cleaned = await remove_noise(colors, noise, model, context, needed=needed)
    return await context.compute(merge, image, cleaned, strength, context.selection)


def default_strength(image: Pixels, noise: Noise) -> float:
    """0 to 1, two digits: what the noise at full and at half size asks for."""
    found = noise.typical
    if min(image.shape[:2]) >= 128:
        coarse = measure_noise(half(image)).typical
        found = max(found, coarse if coarse >= COARSE_NOISE else 0)
    return round(float(np.clip((found - _UNSEEN) / (_DISTURBING - _UNSEEN), 0, 1)), 2)


def visible_colors(image: Pixels) -> Pixels:
    """(H, W, 3) for a network: colours go on beneath what is transparent."""
    return bleed(image) if image.shape[2] == 4 else image


def needed_pixels(image: Pixels, selection: Mask | None) -> Mask | None:
    """(H, W) float32, 0 where nothing can change or be seen; None if all may."""
    if image.shape[2] == 3:
        return selection
    visible = (image[..., 3] > 0).astype(np.float32)
    return visible if selection is None else visible * selection


def merge(image: Pixels, colors: Pixels, strength: float, selection: Mask | None) -> Pixels:
    """`image` with `strength` of the way to `colors`, (H, W, 3), inside the selection; alpha stays."""
    before = np.ascontiguousarray(image[..., :3])
    mixed: Pixels = np.asarray(cv2.addWeighted(before, 1 - strength, colors, strength, 0), np.uint8)
    if selection is not None:
        mixed = blend(before, mixed, selection)
    return mixed if image.shape[2] == 3 else np.dstack([mixed, image[..., 3]])
