"""Sheets of pictures: plain grids, and grids with words under each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

LINE = 16  # px of a line of words
NARROWEST = 200  # px, so that words have room


def reduced(picture: Pixels, size: int) -> Image.Image:
    """The picture at `size` px a side."""
    return Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS)


def grid(pictures: Sequence[Pixels] | Pixels, columns: int, size: int) -> Image.Image:
    """The pictures in reading order, without gaps."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * size, rows * size), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(reduced(picture, size), (number % columns * size, number // columns * size))
    return sheet


def captioned(rows: Sequence[tuple[Sequence[Pixels], Sequence[str]]], columns: int, size: int) -> Image.Image:
    """Groups of pictures side by side, lines of words under each group, `columns` groups in a row."""
    wide = max(NARROWEST, max(len(pictures) for pictures, _ in rows) * size)
    lines = max(len(words) for _, words in rows)
    high, gap = size + lines * LINE + 8, 12
    deep = -(-len(rows) // columns)
    sheet = Image.new("RGB", (columns * (wide + gap) + gap, deep * (high + gap) + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (pictures, words) in enumerate(rows):
        left, top = gap + number % columns * (wide + gap), gap + number // columns * (high + gap)
        for place, picture in enumerate(pictures):
            sheet.paste(reduced(picture, size), (left + place * size, top))
        pen.rectangle((left - 1, top - 1, left + len(pictures) * size, top + size), outline=(225, 225, 225))
        for line, text in enumerate(words):
            pen.text((left, top + size + 4 + line * LINE), text, fill=(60, 60, 60), font=font)
    return sheet


def save(sheet: Image.Image, path: Path) -> None:
    """Writes the sheet as a PNG of 255 colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(255, dither=Image.Dither.NONE).save(path, optimize=True)
