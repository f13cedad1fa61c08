"""Colours in plain words."""

import numpy as np

from services.editor.pixels.color_spaces import Floats

_GREYS = ((0.12, "black"), (0.38, "dark grey"), (0.72, "grey"), (0.93, "light grey"), (2.0, "white"))
# Hue angle in Oklab at which a name ends, degrees, up to one full turn; red goes on at the start.
_HUES = (
    (12.0, "pink"), (45.0, "red"), (75.0, "orange"), (113.0, "yellow"), (132.0, "lime"), (162.0, "green"),
    (200.0, "turquoise"), (222.0, "cyan"), (275.0, "blue"), (318.0, "purple"), (345.0, "magenta"), (360.0, "pink"),
)  # fmt: skip
_GREY_CHROMA = 0.03
# Lightness below which a hue is called dark and above which light.
_TONES = {
    "yellow": (0.70, 0.98), "lime": (0.65, 0.95), "cyan": (0.60, 0.93), "turquoise": (0.60, 0.90),
    "green": (0.48, 0.88), "orange": (0.0, 0.82), "red": (0.48, 0.72), "pink": (0.55, 0.92), "magenta": (0.40, 0.82), 
    "purple": (0.42, 0.70), "blue": (0.40, 0.75),
}  # fmt: skip


def name_of(lab: Floats) -> str:
    """The common name of an Oklab colour, such as `dark red`, `brown` or `light grey`."""
    lightness, green_red, blue_yellow = (float(value) for value in lab)
    chroma = float(np.hypot(green_red, blue_yellow))
    if chroma < _GREY_CHROMA:
        return next(name for end, name in _GREYS if lightness < end)
    if lightness < 0.15:
        return "black"
    angle = float(np.degrees(np.arctan2(blue_yellow, green_red))) % 360
    hue = next(name for end, name in _HUES if angle <= end)
    if hue == "yellow" and angle > 98 and lightness < 0.68:
        return "olive"
    if hue == "magenta" and lightness < 0.55:
        hue = "purple"
    if hue in ("orange", "yellow") and lightness < 0.68:
        return "brown" if lightness > 0.40 else "dark brown"
    if hue in ("orange", "yellow") and chroma < 0.11 and lightness > 0.75:
        return "beige"
    if hue == "red" and lightness > 0.72:
        return "pink"
    dark, light = _TONES[hue]
    return f"dark {hue}" if lightness < dark else f"light {hue}" if lightness > light else hue
