"""Prompts through one tokenizer and one text encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from tokenizers import Encoding, Tokenizer

from diptych.diffusion.weighting import WeightedText, read_weights
from diptych.engines.base import Array, Engine

_MOST_KEPT_PROMPTS, _MOST_KEPT_BYTES = 256, 64 << 20


@dataclass(frozen=True, eq=False)
class Encoded:
    """A prompt as an encoder sees it: `states` (T, D) float32, and `pooled` (P,) float32 where the encoder pools."""

    states: Array
    pooled: Array | None = None


class TextEncoder:
    """Prompts as text states, the last used ones remembered.

    Each prompt is encoded alone: an int8 encoder chooses its scales from the whole batch, so company would change the
    numbers. Where the encoder takes an attention mask, the states of padding are zero. `length` is T, in tokens;
    `states` and `pooled` name the outputs to take.

    Weights move the states of their words away from those of the empty prompt, or towards them (as ComfyUI does).
    """

    def __init__(
        self, tokenizer: Tokenizer, encoder: Engine, *, length: int, states: str, pooled: str | None = None
    ) -> None:
        padding = tokenizer.padding or {}
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(
            length=length, pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]")
        )
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._outputs = [states] if pooled is None else [states, pooled]
        self.length = length
        width = {spec.name: spec.shape[-1] for spec in encoder.outputs}.get(states)
        each = 4 * length * (width if isinstance(width, int) else 1024)  # Of T5's largest encoder 4 MiB.
        kept = max(1, min(_MOST_KEPT_PROMPTS, _MOST_KEPT_BYTES // each))
        self.encode: Callable[[str], Encoded] = lru_cache(kept)(self._encode)

    def unseen(self, prompt: str) -> str:
        """The end of the prompt that does not fit the encoder's window; empty when all fits."""
        text = read_weights(prompt).text
        rest = self._tokenizer.encode(text).overflowing
        starts = [
            start
            for piece in rest
            for (start, _), special in zip(piece.offsets, piece.special_tokens_mask, strict=True)
            if not special
        ]
        return text[min(starts) :].strip() if starts else ""

    def close(self) -> None:
        """Frees the encoder."""
        self._encoder.close()

    def _encode(self, prompt: str) -> Encoded:
        weighted = read_weights(prompt)
        encoding = self._tokenizer.encode(weighted.text)
        encoded = self._run(encoding)
        if weighted.weights:
            weights = _token_weights(encoding, weighted)[:, np.newaxis]
            plain, nothing = encoded.states, self.encode("").states
            moved = np.where(weights == 1, plain, nothing + weights * (plain - nothing))
            encoded = Encoded(moved.astype(np.float32), encoded.pooled)
        for array in (encoded.states, encoded.pooled):
            if array is not None:
                array.flags.writeable = False  # Shared by every row with this prompt.
        return encoded

    def _run(self, encoding: Encoding) -> Encoded:
        mask = np.array(encoding.attention_mask)
        known = {
            "input_ids": np.array(encoding.ids),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        inputs = {spec.name: known[spec.name][np.newaxis].astype(spec.dtype) for spec in self._encoder.inputs}
        outputs = self._encoder.run(inputs, self._outputs)
        states, *pooled = (outputs[name][0].astype(np.float32) for name in self._outputs)
        if "attention_mask" in inputs:
            states = states * mask[:, np.newaxis].astype(np.float32)
        return Encoded(states, *pooled)


def _token_weights(encoding: Encoding, weighted: WeightedText) -> Array:
    """(T,) float32: the weight of each token's last character (the first may be the space before the word), 1 for
    special tokens and padding."""
    weights = [
        1.0 if special or end == 0 else weighted.weights[end - 1]
        for (_, end), special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
    ]
    return np.array(weights, np.float32)
