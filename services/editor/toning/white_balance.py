"""The colour of the light, from what is nearly grey."""

import numpy as np

from diptych.images import Pixels
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, LUMINANCE, Floats, to_oklab

# Oklab distance from grey, as a share of the lightness, up to which a colour may be grey in coloured light: on a first
# look and on later ones.
_NEARLY_GREY = (0.09, 0.06, 0.05)
# With less of the picture than the first nearly grey, nothing is known of the light; with the second, enough.
_LEAST_SHARE, _ENOUGH = 0.05, 0.25
# Tones outside are noise or clipped.
_DARKEST, _BRIGHTEST = 40, 248
# A light further from white than this is meant, like a sunset, or misjudged.
_LOWEST, _HIGHEST = 0.8, 1.25
# A cast below this is nobody's fault, and the light is left some of its colour: evenings are warm.
_UNSEEN, _SHARE = 0.012, 0.65
# Fewer nearly grey pixels than this cannot be told apart by tone.
_FEWEST = 30


def neutral_gains(sample: Pixels) -> Floats:
    """(3,) gains of linear red, green and blue that take most of a cast off (N, 3) uint8; ones where none is sure.

    After Huo et al. (2006), "Robust Automatic White Balance Algorithm Using Gray Color Points in Images": what is
    nearly grey is taken for grey, the picture is corrected by it, and looked at again.
    """
    inside = (sample.max(axis=1) < _BRIGHTEST) & (sample.max(axis=1) > _DARKEST)
    linear = LINEAR_OF_BYTE[sample[inside]]
    gains, share = np.ones(3, np.float32), 0.0
    for reach in _NEARLY_GREY:
        seen = linear * gains
        lab = to_oklab(seen)
        grey = np.hypot(lab[:, 1], lab[:, 2]) < reach * lab[:, 0]
        share = float(grey.sum() / len(sample))
        if share < _LEAST_SHARE:
            return np.ones(3, np.float32)
        # The light's colour, each pixel counting alike, however bright it is.
        light = (seen[grey] / seen[grey].mean(axis=1, keepdims=True)).mean(axis=0)
        gains = (gains / light).clip(_LOWEST, _HIGHEST)
    cast = to_oklab((1 / gains)[np.newaxis])[0]
    visible = float(np.clip((np.hypot(cast[1], cast[2]) - _UNSEEN) / _UNSEEN, 0, 1))
    sure = float(np.clip((share - _LEAST_SHARE) / (_ENOUGH - _LEAST_SHARE), 0, 1))
    gains = gains ** (_SHARE * visible * sure * _agreement(linear[grey], gains))
    balanced: Floats = gains / (gains @ LUMINANCE)
    return balanced


def _agreement(greys: Floats, gains: Floats) -> float:
    """How much of the cast that `gains` take off lies on dark, middle and bright greys alike, 0 to 1.

    Light tints them all; what tints some of them, like fur or a blue sky, is the thing's own colour.
    """
    if len(greys) < _FEWEST:
        return 0.0
    cast = -np.log(gains)
    length = float(cast @ cast)
    if length < 1e-8:
        return 0.0
    tints = np.log(np.maximum(greys / greys.mean(axis=1, keepdims=True), 1e-3))
    by_tone = tints[np.argsort(greys @ LUMINANCE, kind="stable")]
    shares = [float(part.mean(axis=0) @ cast) / length for part in np.array_split(by_tone, 3)]
    return float(np.clip(min(shares), 0, 1))
