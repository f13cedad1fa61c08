"""What the denoiser is told to draw: prompts through tokenizer and text encoder."""

from functools import lru_cache

import numpy as np
from tokenizers import Tokenizer

from diptych.engines.base import Array, Engine
from diptych.errors import FailedPrecondition

_KEPT_PROMPTS = 256


class Conditioner:
    """Prompts as `(T, D) float32` text states, the last used ones remembered.

    Each prompt is encoded alone: an int8 encoder chooses its scales from the whole batch, so company would change the
    numbers. Where the encoder takes an attention mask, the states of padding are zero. `length` is T, in tokens.
    """

    def __init__(self, tokenizer: Tokenizer, encoder: Engine, *, length: int) -> None:
        padding = tokenizer.padding or {}
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(
            length=length, pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]")
        )
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._output = _states_output(encoder)
        self.states = lru_cache(_KEPT_PROMPTS)(self._states)

    def unseen(self, prompt: str) -> str:
        """The end of the prompt that does not fit the encoder's window; empty when all fits."""
        rest = self._tokenizer.encode(prompt).overflowing
        starts = [
            start
            for piece in rest
            for (start, _), special in zip(piece.offsets, piece.special_tokens_mask, strict=True)
            if not special
        ]
        return prompt[min(starts) :].strip() if starts else ""

    def close(self) -> None:
        """Frees the encoder."""
        self._encoder.close()

    def _states(self, prompt: str) -> Array:
        encoding = self._tokenizer.encode(prompt)
        mask = np.array(encoding.attention_mask)
        known = {
            "input_ids": np.array(encoding.ids),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        inputs = {spec.name: known[spec.name][np.newaxis].astype(spec.dtype) for spec in self._encoder.inputs}
        states: Array = self._encoder.run(inputs, [self._output])[self._output][0].astype(np.float32)
        if "attention_mask" in inputs:
            states = states * mask[:, np.newaxis].astype(np.float32)
        states.flags.writeable = False  # Shared by every row with this prompt.
        return states


def _states_output(encoder: Engine) -> str:
    """The name of the output of shape (B, T, D)."""
    for spec in encoder.outputs:
        if spec.name == "last_hidden_state" or len(spec.shape) == 3:
            return spec.name
    raise FailedPrecondition("the text encoder gives no states of shape (B, T, D)", reason="UNSUPPORTED_MODEL")
