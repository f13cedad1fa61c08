"""Reference pictures: tokens beside the text for models with an IP-Adapter (Ye et al. 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image as PillowImage

from diptych.diffusion.remembered import Remembered
from diptych.engines.base import Array, Engine
from diptych.images import Pixels

TOKENS, SCALES = "image_tokens", "image_scales"
# CLIP's means and deviations of red, green and blue.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture (H, W, 3) uint8 to be guided by. `style`: by its look alone, where the model can tell."""

    pixels: Pixels
    scale: float = 1.0
    style: bool = False


class References:
    """What the denoiser is told of reference pictures. `size`: side of what the encoder sees; `style_layers` of
    `num_layers` take style alone."""

    def __init__(self, encoder: Engine, *, size: int, num_layers: int, style_layers: Sequence[int]) -> None:
        self._encoder = encoder
        self._size = size
        self._num_layers = num_layers
        self._style_layers = list(style_layers)
        self._tokens_of = Remembered(lambda pixels: self._tokens(_seen(pixels, size)))

    def conditions(self, reference: Reference | None) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """Inputs of the denoiser with the picture, and without it (for the negative side); without a picture it is
        heeded nowhere."""
        scales = np.zeros(self._num_layers, np.float32)
        if reference is None:
            nothing = {TOKENS: self._nothing, SCALES: scales}
            return nothing, nothing
        scales[self._style_layers if reference.style else slice(None)] = reference.scale
        tokens, without = self._tokens_of(reference.pixels)
        return {TOKENS: tokens, SCALES: scales}, {TOKENS: without, SCALES: scales}

    def close(self) -> None:
        """Frees the encoder."""
        self._encoder.close()

    @cached_property
    def _nothing(self) -> Array:
        return self._tokens(np.zeros((3, self._size, self._size), np.float32))[1]

    def _tokens(self, sample: Array) -> tuple[Array, Array]:
        outputs = self._encoder.run({self._encoder.inputs[0].name: sample[np.newaxis]})
        return outputs["image_tokens"][0], outputs["no_image_tokens"][0]


def _seen(pixels: Pixels, size: int) -> Array:
    """(3, size, size) float32: the middle square, scaled and normed as CLIP wants it."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    sides = (size * width // short, size * height // short)
    scaled = PillowImage.fromarray(pixels).resize(sides, PillowImage.Resampling.BICUBIC)
    left, top = (sides[0] - size) // 2, (sides[1] - size) // 2
    square = np.asarray(scaled.crop((left, top, left + size, top + size)), np.float32) / np.float32(255)
    return np.ascontiguousarray(((square - _MEAN) / _DEVIATION).transpose(2, 0, 1))
