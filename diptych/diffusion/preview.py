"""Pictures on their way, without the decoder: a fitted linear map from latents to colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from diptych.engines.base import Array
from diptych.images import Pixels


@dataclass(frozen=True)
class PreviewMap:
    """`weights` (C, 3) and `bias` (3): a latent cell's colour, 0 to 1 where it is within gamut."""

    weights: Sequence[Sequence[float]]
    bias: Sequence[float]

    def pixels(self, latents: Array, size: tuple[int, int]) -> Pixels:
        """(height, width, 3) uint8 of (C, h, w) latents, scaled to `size` (width, height)."""
        colours = np.tensordot(np.array(self.weights, np.float32), latents, axes=(0, 0)).transpose(1, 2, 0)
        colours += np.array(self.bias, np.float32)
        cells = (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)
        return np.asarray(PillowImage.fromarray(cells).resize(size, PillowImage.Resampling.BICUBIC))
