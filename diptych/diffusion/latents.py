"""Where latents begin, and their way to and from pixels."""

import numpy as np

from diptych.diffusion.remembered import Remembered
from diptych.engines.base import Array, Engine
from diptych.images import Mask, Pixels


def draw_noise(seed: int, shape: tuple[int, int, int]) -> Array:
    """(C, h, w) float32 standard normal noise; a function of `seed` (0 to 2**64 - 1) and shape alone."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def shrink_mask(mask: Mask, factor: int) -> Mask:
    """(h, w) float32 of 0 and 1: a cell is 1 when any of its `factor` x `factor` pixels is to be redrawn."""
    height, width = mask.shape
    cells = mask.reshape(height // factor, factor, width // factor, factor).max(axis=(1, 3))
    return np.asarray(cells > 0, np.float32)


def paste(drawn: Pixels, kept: Pixels, mask: Mask) -> Pixels:
    """(H, W, 3) uint8: `drawn` where `mask` is 1, `kept` bit for bit where it is 0, mixed in between."""
    share = mask[..., np.newaxis]
    mixed = drawn * share + kept * (1 - share)
    return np.where(share == 0, kept, (mixed + 0.5).astype(np.uint8))


class Autoencoder:
    """Latents of `channels` channels to pixels and back, one picture a call so that company never changes a bit.

    `scaling_factor` and `shift_factor` as in diffusers: latents = (encoded - shift) * scaling. An encoder that gives
    a distribution gives its mean first, which is what is taken.
    """

    def __init__(
        self,
        decoder: Engine,
        encoder: Engine | None,
        *,
        channels: int,
        scaling_factor: float,
        shift_factor: float = 0.0,
    ) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self.channels = channels
        self._scaling = np.float32(scaling_factor)
        self._shift = np.float32(shift_factor)
        self._remembered = Remembered(self._encode)

    @property
    def can_encode(self) -> bool:
        """Whether the model carries an encoder, so that pictures can go in."""
        return self._encoder is not None

    def decode(self, latents: Array) -> Pixels:
        """(H, W, 3) uint8 from (C, h, w) float32 latents."""
        sample = latents[np.newaxis] / self._scaling + self._shift
        decoded = _only(self._decoder, sample)[0]
        pixels = (np.clip(decoded, -1, 1) + 1) * np.float32(127.5) + np.float32(0.5)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0).astype(np.uint8))

    def encode(self, pixels: Pixels, *, without: Mask | None = None) -> Array:
        """(C, h, w) float32 latents of (H, W, 3) uint8; pixels where `without` is 0.5 or more are taken for grey.
        Remembered while both arrays live."""
        return self._remembered(pixels, without)

    def _encode(self, pixels: Pixels, without: Mask | None) -> Array:
        if self._encoder is None:
            raise ValueError("the model has no vae_encoder")
        sample = pixels.astype(np.float32).transpose(2, 0, 1)[np.newaxis] / np.float32(127.5) - 1
        if without is not None:
            sample = sample * (without < 0.5)
        encoded = _only(self._encoder, sample)[0][: self.channels]
        return np.ascontiguousarray((encoded - self._shift) * self._scaling)

    def close(self) -> None:
        """Frees both graphs."""
        self._decoder.close()
        if self._encoder is not None:
            self._encoder.close()


def _only(engine: Engine, sample: Array) -> Array:
    output = engine.outputs[0].name
    return engine.run({engine.inputs[0].name: sample}, [output])[output]
