"""Words as a mask of letters: broken into lines, as large as they can be read well, in one font."""

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diptych.images import Mask

# Roboto Bold: Latin, Greek and Cyrillic letters (Apache-2.0).
FONT = "roboto-bold"
_FILE = ("font_roboto", "files/Roboto-Bold.ttf")
# Share of the picture's width that lines may fill, and of its height that all of them may.
_WIDEST, _TALLEST = 0.9, 0.9
# Where no size is asked for: the largest and least height of a line as shares of the picture's height, and how large
# words must be to stay unbroken.
_LARGEST, _LEAST, _UNBROKEN, _STEP = 0.16, 0.02, 0.07, 0.92
_LEADING = 1.2
_NARROWER = 0.97
_NO_CHARACTER = "\uffff"


@dataclass(frozen=True)
class Lettering:
    """Lines of text, and the height of one in pixels."""

    lines: tuple[str, ...]
    pixels: int


def missing(text: str) -> str:
    """The characters of the text that the font has no letters for, each once."""
    font = _font(64)
    nothing = _drawn(font, _NO_CHARACTER)
    seen = dict.fromkeys(character for character in text if not character.isspace())
    return "".join(one for one in seen if not one.isprintable() or _drawn(font, one) == nothing)


def set_in(text: str, width: int, height: int, size: float | None) -> Lettering | None:
    """The text in a picture of width and height, lines of `size` of its height; None when it does not fit."""
    if size is not None:
        return _fitting(text, max(1, round(size * height)), width, height, broken=True)
    share = _LARGEST
    while share >= _LEAST:
        pixels = max(1, round(share * min(height, width)))
        found = _fitting(text, pixels, width, height, broken=share < _UNBROKEN)
        if found is not None:
            return found
        share *= _STEP
    return None


def mask_of(lettering: Lettering, align: str) -> Mask:
    """(h, w) float32 0..1: the letters, cut to what they cover. `align`: left, center or right."""
    font = _font(lettering.pixels)
    widths = [math.ceil(font.getlength(line)) for line in lettering.lines]
    leading = round(lettering.pixels * _LEADING)
    canvas = Image.new("L", (max(1, *widths) + lettering.pixels, leading * len(lettering.lines) + lettering.pixels))
    draw = ImageDraw.Draw(canvas)
    for number, (line, length) in enumerate(zip(lettering.lines, widths, strict=True)):
        room = max(widths) - length
        left = lettering.pixels // 2 + {"left": 0, "right": room}.get(align, room // 2)
        draw.text((left, number * leading), line, fill=255, font=font)
    box = canvas.getbbox() or (0, 0, 1, 1)
    return np.asarray(canvas.crop(box), np.float32) / np.float32(255)


def _fitting(text: str, pixels: int, width: int, height: int, *, broken: bool) -> Lettering | None:
    """The lines at this height; None when they are wider or taller than they may be."""
    font, widest = _font(pixels), _WIDEST * width
    lines: list[str] = []
    for paragraph in text.strip().splitlines():
        lines += _broken(paragraph, font, widest) if broken else [paragraph.strip()]
    fits = all(font.getlength(line) <= widest for line in lines)
    return Lettering(tuple(lines), pixels) if fits and len(lines) * pixels * _LEADING <= _TALLEST * height else None


def _broken(text: str, font: ImageFont.FreeTypeFont, widest: float) -> list[str]:
    """The words in as few lines as the width allows, and these as even as they can be."""
    kept = _filled(text, font, widest)
    while len(kept) > 1:
        widest *= _NARROWER
        even = _filled(text, font, widest)
        if len(even) > len(kept) or max(font.getlength(line) for line in even) > widest:
            break
        kept = even
    return kept


def _filled(text: str, font: ImageFont.FreeTypeFont, widest: float) -> list[str]:
    """The words in lines, each as long as it may be."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > widest:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


@lru_cache(maxsize=64)
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    package, path = _FILE
    return ImageFont.truetype(str(files(package) / path), pixels)


def _drawn(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
