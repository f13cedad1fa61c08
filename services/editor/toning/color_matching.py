"""The palette and tone of one picture carried over to another, colour by colour; structure is never looked at.

Lightness goes by its distribution; green-red and blue-yellow of dark, middle and bright tones go each by mean and
covariance, along the straight line of least movement (Pitié and Kokaram 2007, "The Linear Monge-Kantorovitch Linear
Colour Mapping").
"""

from dataclasses import dataclass

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.cutting.selection import blend
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, Floats, from_oklab, into_gamut, to_encoded, to_oklab
from services.editor.seeing.analysis import visible_sample

_LEVELS = 256
# A steeper curve would tear smooth tones into steps, a flatter one would flatten them.
_FLATTEST, _STEEPEST = 0.35, 2.2
_SMOOTH = 6.0
# A picture stays legible, however dark or bright the other is.
_MOST_SHIFT = 0.25
_DARKEST, _BRIGHTEST = 0.36, 0.86
# Centres of the zones in Oklab lightness.
_ZONES: Floats = np.array([0.2, 0.5, 0.8], np.float32)
# The least weight of a zone in which its colours are trusted, as a share of the picture.
_LEAST_ZONE = 0.02
# Colours may become at most this many times stronger, and are thought to vary by no less than this.
_STRONGEST, _LEAST_SPREAD = 2.0, 0.006
_ROWS = 128


@dataclass(frozen=True)
class Match:
    """`curve` (256,): the new Oklab lightness of each old one; `turns` (3, 2, 2), `moves` (3, 2): for each zone, what
    its colours are multiplied by and moved to."""

    curve: Floats
    turns: Floats
    moves: Floats

    def apply(self, lab: Floats, strength: float) -> Floats:
        """(..., 3) Oklab, `strength` of the way there."""
        light = np.interp(lab[..., 0], np.linspace(0, 1, _LEVELS), self.curve).astype(np.float32)
        shares = _zone_shares(light)
        turned = np.einsum("zij,...j->...zi", self.turns, lab[..., 1:]) + self.moves
        colors = (turned * shares[..., np.newaxis]).sum(axis=-2)
        matched = np.concatenate([light[..., np.newaxis], colors], axis=-1)
        mixed: Floats = (lab + strength * (matched - lab)).astype(np.float32)
        return mixed


def find_match(image: Pixels, reference: Pixels) -> Match | None:
    """What makes the picture's tones and colours those of the reference; None where one of them shows nothing."""
    samples = [visible_sample(one) for one in (image, reference)]
    if min(len(one) for one in samples) < 16:
        return None
    own, wanted = (to_oklab(LINEAR_OF_BYTE[one]) for one in samples)
    wanted = _legible(wanted)
    curve = _tone_curve(own[:, 0], wanted[:, 0])
    own[:, 0] = np.interp(own[:, 0], np.linspace(0, 1, _LEVELS), curve)
    whole = _colors(own, wanted, None)
    own_shares, wanted_shares = _zone_shares(own[:, 0]), _zone_shares(wanted[:, 0])
    turns, moves = [], []
    for zone in range(len(_ZONES)):
        weights = own_shares[:, zone], wanted_shares[:, zone]
        seen = min(float(weight.mean()) for weight in weights) >= _LEAST_ZONE
        turn, move = _colors(own, wanted, weights) if seen else whole
        turns.append(turn)
        moves.append(move)
    return Match(curve, np.stack(turns).astype(np.float32), np.stack(moves).astype(np.float32))


def recolor(image: Pixels, match: Match, strength: float, selection: Mask | None = None) -> Pixels:
    """(H, W, 3|4) uint8 in the matched colours; alpha stays, and so does every bit where the selection is 0."""
    result = image.copy()
    for top in range(0, image.shape[0], _ROWS):
        rows = slice(top, top + _ROWS)
        part = image[rows, :, :3]
        linear = from_oklab(match.apply(to_oklab(LINEAR_OF_BYTE[part]), strength))
        done = np.rint(to_encoded(into_gamut(linear)) * 255).astype(np.uint8)
        result[rows, :, :3] = done if selection is None else blend(part, done, selection[rows])
    return result


def _zone_shares(light: Floats) -> Floats:
    """(..., 3): how much each zone counts at a lightness; they sum to 1 and change smoothly."""
    middle = np.interp(light, _ZONES, (0.0, 1.0, 0.0)).astype(np.float32)
    dark = np.where(light < _ZONES[1], 1 - middle, 0)
    return np.stack([dark, middle, 1 - middle - dark], axis=-1)


def _tone_curve(own: Floats, wanted: Floats) -> Floats:
    """(256,) rising: histogram matching whose slope is kept within limits."""
    shares = np.linspace(0, 100, 101)
    levels = np.linspace(0, 1, _LEVELS)
    own_at, wanted_at = np.percentile(own, shares), np.percentile(wanted, shares)
    rough = np.interp(levels, own_at, wanted_at)
    # Beyond its own tones a picture has none, but what is drawn between must go on evenly to black and white.
    rough = np.where(levels < own_at[0], wanted_at[0] * levels / max(own_at[0], 1e-3), rough)
    beyond = (levels - own_at[-1]) / max(1 - own_at[-1], 1e-3)
    rough = np.where(levels > own_at[-1], wanted_at[-1] + (1 - wanted_at[-1]) * beyond, rough)
    smooth = cv2.GaussianBlur(rough[np.newaxis], (0, 0), _SMOOTH, borderType=cv2.BORDER_REPLICATE)[0]
    slopes = np.clip(np.diff(smooth) * (_LEVELS - 1), _FLATTEST, _STEEPEST)
    curve = np.concatenate([[0.0], np.cumsum(slopes) / (_LEVELS - 1)])
    middle = float(np.interp(np.median(own), levels, curve))
    curve = _shifted(curve.clip(0, 1), float(np.clip(np.median(wanted) - middle, -_MOST_SHIFT, _MOST_SHIFT)))
    result: Floats = curve.clip(0, 1).astype(np.float32)
    return result


def _shifted(curve: Floats, shift: float) -> Floats:
    """The curve higher or lower, less and less towards the end that it would run into: no tones are cut off there."""
    if not shift:
        return curve
    room = (1 - curve if shift > 0 else curve) / (abs(shift) / (1 - _FLATTEST))
    moved = curve + shift * np.minimum(room, 1)
    smooth: Floats = cv2.GaussianBlur(moved[np.newaxis], (0, 0), _SMOOTH, borderType=cv2.BORDER_REPLICATE)[0]
    return smooth


def _legible(lab: Floats) -> Floats:
    """(N, 3): a reference as if it were exposed so that its middle can be told from black and from white."""
    middle = float(np.median(lab[:, 0]).clip(0.02, 0.98))
    target = float(np.clip(middle, _DARKEST, _BRIGHTEST))
    if target == middle:
        return lab
    bend = (target - middle) / (middle * (1 - target))
    light = lab[:, :1].clip(0, 1)
    bent = (1 + bend) * light / (1 + bend * light)
    gain = np.minimum(bent / np.maximum(light, 1e-3), _STRONGEST)
    return np.concatenate([bent, lab[:, 1:] * gain], axis=1).astype(np.float32)


def _colors(own: Floats, wanted: Floats, weights: tuple[Floats, Floats] | None) -> tuple[Floats, Floats]:
    """The (2, 2) matrix and the (2,) move that give one set of colours mean and covariance of the other."""
    own_mean, own_spread = _moments(own[:, 1:], None if weights is None else weights[0])
    mean, spread = _moments(wanted[:, 1:], None if weights is None else weights[1])
    root = _root(own_spread)
    inverse = np.linalg.inv(root)
    turn = inverse @ _root(root @ spread @ root) @ inverse
    values, vectors = np.linalg.eigh((turn + turn.T) / 2)
    turn = (vectors * values.clip(0, _STRONGEST)) @ vectors.T
    return turn, mean - turn @ own_mean


def _moments(colors: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    mean = np.average(colors, axis=0, weights=weights)
    spread = np.cov(colors, rowvar=False, aweights=weights) + np.eye(2) * _LEAST_SPREAD**2
    return mean, spread


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    root: Floats = (vectors * np.sqrt(values.clip(0, None))) @ vectors.T
    return root
