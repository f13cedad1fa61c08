"""A better photograph in one go: noise, white balance, exposure and local contrast, each only where it is lacking."""

from dataclasses import dataclass

import numpy as np

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.operations.denoise import default_strength, merge, needed_pixels, visible_colors
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, LUMINANCE, Floats, to_encoded, to_oklab
from services.editor.pixels.noise import Noise, measure_noise
from services.editor.restoring.denoising import DEFAULT_MODEL, remove_noise
from services.editor.seeing.analysis import visible_sample
from services.editor.toning.relighting import Relight, relight
from services.editor.toning.white_balance import neutral_gains

# The median tone of a photograph may lie anywhere between these, sRGB 0 to 1.
_DARK, _BRIGHT = 0.36, 0.62
# How far towards there it is moved, and the limits of what is moved at all.
_SHARE = 0.75
_MOST_LIFT, _LEAST_LIFT = 4.0, -0.5
# How much of the darkness stays that is meant.
_KEPT = 0.75
# Black and white points no further in than this; beyond them nearly nothing lies.
_BLACKEST, _WHITEST = 0.35, 0.45
# Noise below this is left alone here; gently means that some grain stays.
_GRAIN, _GENTLE = 2.5, 0.8
# Spread of tones (standard deviation) and colourfulness (mean Oklab chroma) that a picture should have.
_FLAT, _DULL = 0.17, 0.05


@dataclass(frozen=True)
class Parameters:
    """`strength` 0 to 1; `model` is the denoiser."""

    strength: float
    model: str


def read(message: editor_pb2.Enhance, faults: Faults) -> Parameters:
    """The parameters, full strength by default."""
    return Parameters(faults.number(message, "strength", 0, 1, 1), message.model or DEFAULT_MODEL)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture enhanced; alpha stays, and so does every pixel outside the selection."""
    context.note(strength=parameters.strength, model=parameters.model)
    if parameters.strength == 0:
        return image
    noise = await context.compute(measure_noise, image)
    cleaned = await _cleaned(image, noise, parameters, context)
    how = (await context.compute(decide, cleaned)).share(parameters.strength)
    context.method("relight", "numpy")
    return await context.compute(relight, cleaned, how, context.selection)


async def _cleaned(image: Pixels, noise: Noise, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture with less noise if it has some; before it is lifted, which would lift the noise as well."""
    strength = await context.compute(default_strength, image, noise) * _GENTLE * parameters.strength
    if strength == 0 or noise.typical < _GRAIN:
        return image
    model = await context.model(parameters.model)
    colors = await context.compute(visible_colors, image)
    needed = needed_pixels(image, context.selection)
    cleaned = await remove_noise(colors, noise, model, context, needed=needed)
    return await context.compute(merge, image, cleaned, strength, context.selection)


def decide(image: Pixels) -> Relight:
    """What the picture lacks."""
    sample = visible_sample(image)
    if len(sample) < 16:
        return Relight()
    gains = neutral_gains(sample)
    linear = np.minimum(LINEAR_OF_BYTE[sample] * gains, 1)
    tones = to_encoded(linear @ LUMINANCE)
    # A saturated colour is as bright as its strongest channel lets it become.
    strongest = to_encoded(linear.max(axis=1))
    highest = float(np.percentile(strongest, 99.5))
    black, white = _points(float(np.percentile(tones, 0.5)), highest)
    spread = ((tones - black) / (white - black)).clip(0, 1)
    bright = (float(np.percentile(strongest, 95)) - black) / (white - black)
    lift = _lift(float(np.median(spread)), bright, highest)
    lifted = (1 + lift) * spread / (1 + lift * spread)
    flatness = float(np.clip(1 - lifted.std() / _FLAT, 0, 1))
    dullness = _dullness(linear)
    return Relight(
        (float(gains[0]), float(gains[1]), float(gains[2])),
        black,
        white,
        lift,
        contrast=0.5 * flatness,
        detail=1 + 0.06 * (abs(lift) > 0.05) + 0.3 * flatness,
        # A lifted shadow shows more colour than an eye sees in the dark.
        color=(1 + 0.25 * dullness) * (1 + max(lift, 0)) ** -0.15,
    )


def _points(low: float, high: float) -> tuple[float, float]:
    """Black and white point: most of the way to where the picture's tones begin and end."""
    black, white = min(low, _BLACKEST) * 0.8, 1 - (1 - max(high, _WHITEST)) * 0.8
    return (black if low > 0.02 else 0.0), (white if high < 0.96 else 1.0)


def _lift(middle: float, bright: float, highest: float) -> float:
    """How much to bend the tones so that the median comes near to where it belongs.

    A bright subject or small lights before a dark ground are meant so, and keep most of it; where nothing is bright,
    too little light fell in.
    """
    wanted = float(np.clip(middle, _DARK, _BRIGHT))
    wanted = middle + _SHARE * (wanted - middle)
    middle = float(np.clip(middle, 0.02, 0.98))
    lift = (wanted - middle) / (middle * (1 - wanted))
    meant = float(np.clip(max((bright - 0.7) / 0.25, (highest - 0.65) / 0.2), 0, 1)) if lift > 0 else 0.0
    return float(np.clip(lift, _LEAST_LIFT, _MOST_LIFT)) * (1 - _KEPT * meant)


def _dullness(linear: Floats) -> float:
    """0 for a picture with colours enough, or with none at all; up to 1 for a faded one."""
    lab = to_oklab(linear)
    chroma = float(np.hypot(lab[:, 1], lab[:, 2]).mean())
    return float(np.clip(1 - chroma / _DULL, 0, 1) * np.clip(chroma / 0.01 - 0.5, 0, 1))
