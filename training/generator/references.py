"""Real drawings of the generator's vendors, to set its own pictures beside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.generator.prepare import shrink

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

COARSE = 32  # px at which pictures are compared with training drawings


def on_white(drawing: Pixels) -> Pixels:
    """(..., 3) of straight-alpha (..., 4) pixels."""
    values = drawing.astype(np.float32)
    alpha = values[..., 3:] / 255
    return np.asarray(values[..., :3] * alpha + 255 * (1 - alpha) + 0.5, dtype=np.uint8)


def enlarged(picture: Pixels, size: int = 256) -> Pixels:
    """(size, size, 3) of a (H, W, 3) picture, as large as the generator's answers."""
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def coarse(pictures: Pixels) -> Floats:
    """(N, COARSE * COARSE * 3) in 0..255 of (N, H, W, 3) pictures, area-averaged."""
    count, size = pictures.shape[:2]
    factor = size // COARSE
    cells = pictures.reshape(count, COARSE, factor, COARSE, factor, 3)
    return np.asarray(cells.mean((2, 4), dtype=np.float32).reshape(count, -1), dtype=np.float32)


@dataclass(frozen=True)
class References:
    """The drawings of a work folder that prepare.py filled."""

    work: Path
    canvas: int
    index: dict[str, Any]
    drawings: Pixels  # (N, 256, 256, 4), on disk

    @classmethod
    def read(cls, work: Path, canvas: int) -> References:
        """Opens the folder."""
        index = json.loads((work / "index.json").read_text())
        return cls(work, canvas, index, np.load(work / "drawings.npy", mmap_mode="r"))

    @property
    def nouns(self) -> list[str]:
        """The noun of every drawing."""
        return [self.index["concepts"][drawing["concept"]]["noun"] for drawing in self.index["drawings"]]

    @property
    def vendors(self) -> list[int]:
        """The vendor of every drawing, by number."""
        return [drawing["pack"] for drawing in self.index["drawings"]]

    def small(self, number: int) -> Pixels:
        """(canvas, canvas, 4): a drawing on the generator's native canvas."""
        return shrink(np.asarray(self.drawings[number]), self.canvas)

    def picture(self, number: int) -> Pixels:
        """(256, 256, 3): a drawing as the generator would give it at best, on white."""
        return enlarged(on_white(self.small(number)))

    def painted(self, variant: int) -> Pixels:
        """(256, 256, 3): a drawing in one of its colours, on white."""
        return enlarged(on_white(np.load(self.work / "variants.npy", mmap_mode="r")[variant]))

    def together(self, things: list[tuple[int, float, float, float]]) -> Pixels:
        """(256, 256, 3): drawings at (number, x, y, side) on one white canvas, in parts of it."""
        canvas = Image.new("RGBA", (self.canvas, self.canvas), "white")
        for number, x, y, side in things:
            cells = round(side * self.canvas)
            thing = Image.fromarray(self.small(number)).resize((cells, cells), Image.Resampling.BOX)
            canvas.alpha_composite(
                thing, (max(0, round(x * self.canvas - cells / 2)), max(0, round(y * self.canvas - cells / 2)))
            )
        return enlarged(np.asarray(canvas.convert("RGB")))

    def variants(self) -> tuple[Floats, NDArray[np.int64]]:
        """((V, D) coarse training drawings in every colour, (V,) the drawing of each)."""
        pixels = np.load(self.work / "variants.npy", mmap_mode="r")
        parts = [coarse(on_white(pixels[start : start + 1024])) for start in range(0, len(pixels), 1024)]
        return np.concatenate(parts), np.asarray([variant["drawing"] for variant in self.index["variants"]])
