"""One picture laid into another: scaled, placed, softened, lit like its surroundings, with a shadow."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from diptych.images import Mask, Pixels
from services.editor.cutting.matting import opacity
from services.editor.filling.harmonize import lit_like
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, to_encoded
from services.editor.pixels.edges import bleed
from services.editor.pixels.wide_blur import wide_blur

# A shadow's darkness at full strength; its offset and softness as shares of the height of what casts it.
_DARKEST, _SHADOW_DROP, _SHADOW_BLUR = 0.55, 0.035, 0.05
# How far around a thing its surroundings reach, as a share of its longer side.
_SURROUNDINGS = 0.5


# Height and width, and whatever follows them in a shape.
Size = tuple[int, ...]


@dataclass(frozen=True)
class Look:
    """How a picture is laid in; all 0..1 but `feather`, which is in pixels."""

    opacity: float = 1.0
    feather: float = 0.0
    harmonize: float = 0.0
    shadow: float = 0.0


@dataclass(frozen=True)
class _Meeting:
    """Where picture and overlay meet: the same rectangle in both."""

    in_base: tuple[slice, slice]
    in_overlay: tuple[slice, slice]


def lay_over(base: Pixels, overlay: Pixels, left: int, top: int, look: Look) -> Pixels:
    """`base` with `overlay` at `left`, `top`; what reaches over the edges is cut off. Channels as in `base`."""
    meeting = _meeting(base.shape, overlay.shape, left, top)
    if meeting is None:
        return base
    alpha = _softened(overlay, look.feather) * np.float32(look.opacity)
    colors = overlay[..., :3] if overlay.shape[2] == 3 else bleed(overlay)
    if look.harmonize > 0:
        colors = _lit(np.ascontiguousarray(colors), alpha, base, left, top, look.harmonize)
    result = shaded(base, alpha, left, top, look.shadow) if look.shadow > 0 else base.copy()
    part = result[meeting.in_base]
    part[...] = over(part, colors[meeting.in_overlay], alpha[meeting.in_overlay])
    return result


def over(base: Pixels, colors: Pixels, alpha: Mask) -> Pixels:
    """(H, W, 3|4): `colors`, (H, W, 3), laid on `base` by `alpha`, (H, W) 0..1; bit for bit `base` where that is 0."""
    share = alpha[..., np.newaxis]
    if base.shape[2] == 3:
        return np.rint(base + (colors.astype(np.float32) - base) * share).astype(np.uint8)
    below = base[..., 3:] / np.float32(255)
    whole = share + below * (1 - share)
    result = np.empty_like(base)
    mixed = (colors * share + base[..., :3] * (below * (1 - share))) / np.maximum(whole, 1e-6)
    result[..., :3] = np.rint(mixed)
    result[..., 3:] = np.rint(whole * 255)
    untouched = alpha <= 0
    result[untouched] = base[untouched]
    return result


def _meeting(base: Size, overlay: Size, left: int, top: int) -> _Meeting | None:
    right, bottom = min(left + overlay[1], base[1]), min(top + overlay[0], base[0])
    x, y = max(left, 0), max(top, 0)
    if right <= x or bottom <= y:
        return None
    return _Meeting(
        (slice(y, bottom), slice(x, right)),
        (slice(y - top, bottom - top), slice(x - left, right - left)),
    )


def _softened(overlay: Pixels, feather: float) -> Mask:
    """(H, W) 0..1: the overlay's alpha, fading out inwards over `feather` pixels."""
    alpha: Mask = opacity(overlay) if overlay.shape[2] == 4 else np.ones(overlay.shape[:2], np.float32)
    if feather <= 0:
        return alpha
    seen = np.pad((alpha > 0.5).astype(np.uint8), 1)
    depth: Any = cv2.distanceTransform(seen, cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = ((depth - 0.5) / max(feather, 1e-3)).clip(0, 1)
    faded: Mask = (alpha * ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return faded


def _lit(colors: Pixels, alpha: Mask, base: Pixels, left: int, top: int, strength: float) -> Pixels:
    """The overlay's colours in the light of what is around its place."""
    height, width = colors.shape[:2]
    reach = max(8, round(_SURROUNDINGS * max(height, width)))
    y, x = max(top - reach, 0), max(left - reach, 0)
    part = base[y : max(top + height + reach, 0), x : max(left + width + reach, 0)]
    if part.size == 0:
        return colors
    seen = opacity(part) if part.shape[2] == 4 else None
    return lit_like(colors, alpha, np.ascontiguousarray(part[..., :3]), seen, strength)


def shaded(base: Pixels, alpha: Mask, left: int, top: int, strength: float) -> Pixels:
    """The base with the soft shadow of what stands on it, in linear light; see-through on what is see-through."""
    height, width = alpha.shape
    drop, blur = max(1, round(_SHADOW_DROP * height)), max(0.8, _SHADOW_BLUR * height)
    reach = int(3 * blur) + drop
    y0, y1 = max(top - reach, 0), min(top + height + reach, base.shape[0])
    x0, x1 = max(left - reach, 0), min(left + width + reach, base.shape[1])
    result = base.copy()
    if y1 <= y0 or x1 <= x0:
        return result
    cast = np.zeros((y1 - y0, x1 - x0), np.float32)
    place = _meeting(cast.shape, alpha.shape, left - x0, top + drop - y0)
    if place is None:
        return result
    cast[place.in_base] = alpha[place.in_overlay]
    shade = wide_blur(cast, blur) * np.float32(_DARKEST * strength)
    part = result[y0:y1, x0:x1]
    if base.shape[2] == 4:
        part[...] = over(part, np.zeros_like(part[..., :3]), shade)
        return result
    dark = LINEAR_OF_BYTE[part] * (1 - shade[..., np.newaxis])
    touched = shade > 1 / 512
    part[touched] = np.rint(to_encoded(dark[touched]) * 255)
    return result
