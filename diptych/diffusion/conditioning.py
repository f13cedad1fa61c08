"""What the denoiser is told beside latents and timestep: one array for each of its other inputs.

Which inputs a graph has says which kind of model it is, so they are read from there. Names are diffusers'.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch

from diptych.diffusion.languages.translation import Translator
from diptych.diffusion.text import Encoded, TextEncoder
from diptych.engines.base import Array
from diptych.errors import FailedPrecondition

# Input name -> this row's array, without the batch axis.
Condition = Mapping[str, Array]
# The input of a denoiser that was taught to follow guidance by itself (latent consistency models).
EMBEDDED_GUIDANCE = "timestep_cond"
Combination = Callable[[Sequence[Encoded]], dict[str, Array]]


class Conditioner:
    """Prompts as conditions. `zero_negative`: an empty negative prompt is all zeros (as in Stable Diffusion XL);
    `translator` puts prompts into the encoders' language first."""

    def __init__(
        self,
        encoders: Sequence[TextEncoder],
        combine: Combination,
        *,
        zero_negative: bool = False,
        translator: Translator | None = None,
    ) -> None:
        self._encoders = encoders
        self._combine = combine
        self._zero_negative = zero_negative
        self._translator = translator

    def read(self, prompt: str) -> str:
        """The prompt as the encoders are given it."""
        return self._translator.read(prompt) if self._translator else prompt

    def positive(self, prompt: str) -> Condition:
        """What the prompt says."""
        read = self.read(prompt)
        return self._combine([encoder.encode(read) for encoder in self._encoders])

    def negative(self, prompt: str) -> Condition:
        """What guidance leads away from."""
        condition = self.positive(prompt)
        if self._zero_negative and not prompt:
            return {name: np.zeros_like(array) for name, array in condition.items()}
        return condition

    def unseen(self, prompt: str) -> str:
        """The end of the prompt, as it is read, that no encoder sees; empty when all fits into one."""
        read = self.read(prompt)
        return min((encoder.unseen(read) for encoder in self._encoders), key=len)

    def close(self) -> None:
        """Frees the encoders."""
        for encoder in self._encoders:
            encoder.close()


def single(encoded: Sequence[Encoded]) -> dict[str, Array]:
    """One encoder's states (Stable Diffusion 1.x and 2.x)."""
    return {"encoder_hidden_states": encoded[0].states}


def side_by_side(encoded: Sequence[Encoded]) -> dict[str, Array]:
    """The states of all encoders side by side, and the last one's pooled vector (Stable Diffusion XL)."""
    pooled = _pooled(encoded[-1:])
    return {"encoder_hidden_states": np.concatenate([one.states for one in encoded], axis=-1), "text_embeds": pooled}


def stacked(width: int, t5_length: int) -> Combination:
    """CLIP states side by side, filled up to `width`, and below them T5's (Stable Diffusion 3); without a T5 encoder
    its `t5_length` tokens are zeros."""

    def combine(encoded: Sequence[Encoded]) -> dict[str, Array]:
        clip, t5 = encoded[:2], encoded[2:]
        beside = np.concatenate([one.states for one in clip], axis=-1)
        beside = np.pad(beside, ((0, 0), (0, width - beside.shape[-1])))
        below = t5[0].states if t5 else np.zeros((t5_length, width), np.float32)
        return {"encoder_hidden_states": np.concatenate([beside, below]), "pooled_projections": _pooled(clip)}

    return combine


def _pooled(encoded: Sequence[Encoded]) -> Array:
    vectors = [one.pooled for one in encoded if one.pooled is not None]
    if len(vectors) != len(encoded):
        raise FailedPrecondition("a text encoder gives no pooled vector", reason="UNSUPPORTED_MODEL")
    return np.concatenate(vectors)


def extra_inputs(
    wanted: Collection[str], *, width: int, height: int, guidance_scale: float, guidance_width: int
) -> dict[str, Array]:
    """What of `wanted` does not come from the prompt: the picture's size (Stable Diffusion XL) and the guidance that
    a distilled model has learned to follow by itself (latent consistency models), as `guidance_width` numbers."""
    extras: dict[str, Array] = {}
    if "time_ids" in wanted:
        # The size it pretends to have had, where it was cut, the size it has.
        extras["time_ids"] = np.array([height, width, 0, 0, height, width], np.float32)
    if EMBEDDED_GUIDANCE in wanted:
        extras[EMBEDDED_GUIDANCE] = _sinusoids(1000 * (guidance_scale - 1), guidance_width)
    return extras


def _sinusoids(value: float, width: int) -> Array:
    """(width,) float32: sines, then cosines, of `value` at frequencies from 1 to 1 / 10000."""
    # In torch, as the denoiser was trained: at these angles the last bit of a frequency is seen.
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = value * frequencies
    return torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()]), (0, width % 2)).numpy()
