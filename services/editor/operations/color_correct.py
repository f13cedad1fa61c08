"""Tone and colour. Light (exposure, temperature, tint) is changed in linear light, tones in sRGB, hues in Oklab."""

from dataclasses import dataclass, fields

import numpy as np

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.cutting.selection import blend
from services.editor.faults import Faults
from services.editor.pixels.color_spaces import (
    LINEAR_OF_BYTE,
    LUMINANCE,
    Floats,
    from_oklab,
    to_encoded,
    to_linear,
    to_oklab,
)
from services.editor.seeing.analysis import visible_sample
from services.editor.toning.white_balance import neutral_gains

_RANGES = {
    "exposure": (-5.0, 5.0), "contrast": (-1.0, 1.0), "highlights": (-1.0, 1.0), "shadows": (-1.0, 1.0),
    "temperature": (-1.0, 1.0), "tint": (-1.0, 1.0), "saturation": (-1.0, 1.0), "vibrance": (-1.0, 1.0),
    "gamma": (0.1, 10.0), "brightness": (-1.0, 1.0), "hue": (-180.0, 180.0),
}  # fmt: skip
# Rows at a time, so that the floats of a large picture never exist at once.
_ROWS = 128
# Linear light from which more exposure brightens less and less, so that highlights keep their drawing.
_KNEE = 0.7
# Gains at the ends of temperature and tint, as natural logarithms.
_WARMEST, _MOST_MAGENTA = 0.4, 0.25

# For `auto`, sRGB 0 to 1: where doubt ends and where certainty begins that too little light fell in (the brightest
# tone), that a veil lies over all (the darkest), that too much fell in (the share of pixels clipped to white).
_UNDER, _VEIL, _OVER, _CLIPPED = (0.82, 0.67), (0.1, 0.2), (0.015, 0.045), 250
# The furthest black and white points, how much of the way there, what the brightest tone becomes.
_BLACKEST, _BLACK_SHARE, _WHITEST, _FULL = 0.25, 0.8, 0.4, 0.97
# Where the median goes, half of the way, and the limits of that.
_MIDDLE, _GAMMAS = 0.45, (0.7, 1.25)


@dataclass(frozen=True)
class Parameters:
    """Neutral as constructed. `color` is red, green, blue, 0 to 255."""

    exposure: float = 0.0
    contrast: float = 0.0
    highlights: float = 0.0
    shadows: float = 0.0
    temperature: float = 0.0
    tint: float = 0.0
    saturation: float = 0.0
    vibrance: float = 0.0
    gamma: float = 1.0
    brightness: float = 0.0
    hue: float = 0.0
    grayscale: bool = False
    auto: bool = False
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Automatic:
    """What `auto` decided: gains of linear red, green and blue; black and white point and gamma of the sRGB tones."""

    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    black: float = 0.0
    white: float = 1.0
    gamma: float = 1.0


def read(message: editor_pb2.ColorCorrect, faults: Faults) -> Parameters:
    """The parameters, neutral by default."""
    values = {
        name: faults.number(message, name, low, high, 1.0 if name == "gamma" else 0.0)
        for name, (low, high) in _RANGES.items()
    }
    return Parameters(**values, grayscale=message.grayscale, auto=message.auto, color=faults.color(message, "color"))


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture in other tones; alpha stays, and so does every pixel outside the selection."""
    given = {field.name: getattr(parameters, field.name) for field in fields(Parameters) if field.name != "color"}
    context.note(**given)
    if parameters.color is not None:
        context.note(color="#{:02x}{:02x}{:02x}".format(*parameters.color))
    context.method("color-correct", "numpy")
    automatic = await context.compute(decide, image) if parameters.auto else Automatic()
    return await context.compute(correct, image, parameters, automatic, context.selection)


def correct(
    image: Pixels, parameters: Parameters, automatic: Automatic = Automatic(), selection: Floats | None = None
) -> Pixels:
    """(H, W, 3|4) uint8 with the corrections; bit for bit the input where the selection is 0."""
    curves = _curves(parameters, automatic)
    levels = np.rint(curves.clip(0, 1) * 255).astype(np.uint8)
    mixing = _mixes(parameters)
    result = image.copy()
    for top in range(0, image.shape[0], _ROWS):
        rows = slice(top, top + _ROWS)
        part = image[rows, :, :3]
        if mixing:
            tones = np.stack([curves[channel][part[..., channel]] for channel in range(3)], axis=2)
            done = np.rint(_mix(tones, parameters).clip(0, 1) * 255).astype(np.uint8)
        else:
            done = np.stack([levels[channel][part[..., channel]] for channel in range(3)], axis=2)
        result[rows, :, :3] = done if selection is None else blend(part, done, selection[rows])
    return result


def decide(image: Pixels) -> Automatic:
    """A careful correction: a sure cast off; tones moved only where too little or too much light, or a veil, shows.

    Black, white and middle of a well exposed picture are the photographer's, however dark or bright it is.
    """
    sample = visible_sample(image)
    if len(sample) < 16:
        return Automatic()
    gains = neutral_gains(sample)
    linear = np.minimum(LINEAR_OF_BYTE[sample] * gains, 1)
    tones = to_encoded(linear @ LUMINANCE)
    # A saturated colour is as bright as its strongest channel lets it become.
    low, high = float(np.percentile(tones, 0.5)), float(np.percentile(to_encoded(linear.max(axis=1)), 99.5))
    under, over = _sure(high, *_UNDER), _sure(float((sample.min(axis=1) >= _CLIPPED).mean()), *_OVER)
    black = min(low, _BLACKEST) * _BLACK_SHARE * max(_sure(low, *_VEIL), over)
    white = 1 - under * (1 - max(high / _FULL, _WHITEST))
    middle = float(np.median(((tones - black) / (white - black)).clip(0.02, 0.98)))
    gamma = float(np.clip((np.log(middle) / np.log(_MIDDLE)) ** 0.5, *_GAMMAS))
    gamma **= under if gamma > 1 else max(under, over)
    return Automatic((float(gains[0]), float(gains[1]), float(gains[2])), black, white, gamma)


def _sure(value: float, unsure: float, sure: float) -> float:
    """0 for a value not past `unsure`, 1 past `sure`, between them in between."""
    return float(np.clip((value - unsure) / (sure - unsure), 0, 1))


def _curves(parameters: Parameters, automatic: Automatic) -> Floats:
    """(3, 256) float32: the new sRGB tone of each old one, for all that treats the channels apart."""
    gains = np.exp(
        np.array(
            [
                _WARMEST * parameters.temperature + _MOST_MAGENTA * parameters.tint / 2,
                -_MOST_MAGENTA * parameters.tint,
                -_WARMEST * parameters.temperature + _MOST_MAGENTA * parameters.tint / 2,
            ],
            np.float32,
        )
    )
    # Changing the light's colour should not change how bright it is.
    gains = gains / (gains @ LUMINANCE)
    identity: Floats = np.repeat(np.arange(256, dtype=np.float32)[np.newaxis] / 255, 3, axis=0)
    balance = gains * np.array(automatic.gains, np.float32) * np.float32(2**parameters.exposure)
    tones = identity
    if not np.allclose(balance, 1, atol=1e-6):
        light = LINEAR_OF_BYTE[np.newaxis] * balance[:, np.newaxis]
        tones = to_encoded(_rolled_off(light, min(max(parameters.exposure, 0.0), 1.0)))
    if parameters.auto:
        tones = ((tones - automatic.black) / (automatic.white - automatic.black)).clip(0, None)
        tones = tones ** (1 / automatic.gamma)
    if parameters.brightness:
        tones = tones + parameters.brightness / 2
    if parameters.contrast:
        tones = _contrasted(tones.clip(0, 1), parameters.contrast)
    if parameters.gamma != 1:
        tones = tones.clip(0, None) ** (1 / parameters.gamma)
    result: Floats = tones.astype(np.float32)
    return result


def _rolled_off(light: Floats, share: float) -> Floats:
    """Linear light with a shoulder, as film has it, `share` of the way from light that is cut off at 1."""
    if not share:
        return light
    over = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    shoulder = np.minimum(light, _KNEE) + (1 - _KNEE) * (1 - np.exp(-over))
    rolled: Floats = (1 - share) * np.minimum(light, 1) + share * shoulder
    return rolled


def _contrasted(tones: Floats, amount: float) -> Floats:
    """An S-curve about the middle for more, a flatter line for less; black and white stay where they are for more."""
    if amount < 0:
        flatter: Floats = 0.5 + (tones - 0.5) * (1 + 0.9 * amount)
        return flatter
    slope = 10 * amount
    curve = 1 / (1 + np.exp(-slope * (tones - 0.5)))
    low, high = 1 / (1 + np.exp(slope / 2)), 1 / (1 + np.exp(-slope / 2))
    # A sigmoid of little slope is nearly a line, and this share keeps it continuous at 0.
    share = min(1.0, amount * 2)
    steeper: Floats = tones * (1 - share) + (curve - low) / (high - low) * share
    return steeper


def _mixes(parameters: Parameters) -> bool:
    """Whether anything looks at more than one channel at a time."""
    amounts = (parameters.highlights, parameters.shadows, parameters.saturation, parameters.vibrance, parameters.hue)
    return any(amounts) or parameters.grayscale or parameters.color is not None


def _mix(tones: Floats, parameters: Parameters) -> Floats:
    """(h, w, 3) sRGB tones after all that needs the three channels together."""
    if parameters.shadows or parameters.highlights:
        tones = _relit(tones, parameters.shadows, parameters.highlights)
    if parameters.saturation or parameters.vibrance:
        grey = (tones @ LUMINANCE)[..., np.newaxis]
        tones = grey + (tones - grey) * (_saturation(tones, parameters))[..., np.newaxis]
    if parameters.hue or parameters.color is not None:
        tones = _recolored(tones, parameters)
    if parameters.grayscale:
        light = to_encoded(to_linear(tones.clip(0, 1)) @ LUMINANCE)
        tones = np.repeat(light[..., np.newaxis], 3, axis=2)
    return tones


def _relit(tones: Floats, shadows: float, highlights: float) -> Floats:
    """Dark and bright tones moved along curves that leave black and white, and the order of tones, as they are."""
    luma = (tones.clip(0, 1) @ LUMINANCE)[..., np.newaxis]
    # Below 8 a lifted curve still rises everywhere; lowering may go to 1, where it ends flat.
    lift = shadows * (2.0 if shadows > 0 else 1.0) * luma * (1 - luma) ** 3
    fall = highlights * (1.5 if highlights < 0 else 1.0) * (1 - luma) * luma**3
    relit: Floats = tones * ((luma + lift + fall) / np.maximum(luma, 1e-4))
    return relit


def _saturation(tones: Floats, parameters: Parameters) -> Floats:
    """(h, w): the factor on each pixel's distance from grey."""
    factor: Floats = np.full(tones.shape[:2], 1 + parameters.saturation, np.float32)
    if parameters.vibrance:
        high, low = tones.max(axis=2), tones.min(axis=2)
        saturated = ((high - low) / np.maximum(high, 1e-4)).clip(0, 1)
        red, green, blue = (tones[..., channel] for channel in range(3))
        # Skin of every shade: red above green above blue, green about midway.
        midway = (green - blue) / np.maximum(red - blue, 1e-4)
        skin = (red > green) & (green > blue) & (midway > 0.2) & (midway < 0.75)
        factor *= 1 + parameters.vibrance * (1 - saturated) * np.where(skin, 0.4, 1.0)
    return factor


def _recolored(tones: Floats, parameters: Parameters) -> Floats:
    """Hues turned, or all of them made one, at the same Oklab lightness."""
    lab = to_oklab(to_linear(tones.clip(0, 1)))
    if parameters.hue:
        angle = np.deg2rad(parameters.hue)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        lab[..., 1:] = lab[..., 1:] @ np.array([[cos, sin], [-sin, cos]], np.float32)
    if parameters.color is not None:
        light, green_red, blue_yellow = to_oklab(LINEAR_OF_BYTE[np.array(parameters.color)])
        at = lab[..., 0]
        # As much colour as sRGB has room for: none at black and white, all of it at the colour's own lightness.
        room = np.minimum(at / max(float(light), 1e-3), (1 - at) / max(1 - float(light), 1e-3)).clip(0, 1)
        lab[..., 1], lab[..., 2] = room * green_red, room * blue_yellow
    return to_encoded(from_oklab(lab))
