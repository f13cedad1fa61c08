"""Pictures on their way, without the decoder: a fitted linear map from latents to colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from diptych.engines.base import Array
from diptych.images import Pixels


@dataclass(frozen=True)
class PreviewMap:
    """`weights` (C, 3 n n) and `bias` (3 n n): the colours of the n x n points of a latent cell, row by row, 0 to 1
    where they are within gamut."""

    weights: Sequence[Sequence[float]]
    bias: Sequence[float]

    def pixels(self, latents: Array, size: tuple[int, int]) -> Pixels:
        """(height, width, 3) uint8 of (C, h, w) latents, scaled to `size` (width, height)."""
        colours = np.tensordot(np.array(self.weights, np.float32), latents, axes=(0, 0)).transpose(1, 2, 0)
        colours += np.array(self.bias, np.float32)
        points = math.isqrt(len(self.bias) // 3)
        height, width, _ = colours.shape
        colours = colours.reshape(height, width, points, points, 3).swapaxes(1, 2)
        colours = colours.reshape(height * points, width * points, 3)
        cells = (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)
        return np.asarray(PillowImage.fromarray(cells).resize(size, PillowImage.Resampling.BICUBIC))
