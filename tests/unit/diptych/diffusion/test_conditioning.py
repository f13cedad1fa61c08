"""Prompts as the denoiser sees them."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from diptych.diffusion import Pipeline
from diptych.diffusion.text import TextEncoder
from diptych.engines.base import TensorSpec
from diptych.engines.fake import FakeEngine


@pytest.fixture
def encoder(pipeline: Pipeline) -> TextEncoder:
    return pipeline._conditioner._encoders[0]


def test_padding_is_nought_and_words_are_not(encoder: TextEncoder) -> None:
    states = encoder.encode("a red apple").states
    assert states.shape == (8, 32)
    assert states.dtype == np.float32
    assert states[:5].any(axis=1).all()
    assert not states[5:].any()


def test_order_and_words_count(encoder: TextEncoder) -> None:
    states = {encoder.encode(text).states.tobytes() for text in ("a red apple", "apple red a", "a red cat", "")}
    assert len(states) == 4


def test_a_prompt_is_encoded_once_and_cannot_be_changed(encoder: TextEncoder) -> None:
    states = encoder.encode("a small tree").states
    assert encoder.encode("a small tree").states is states
    with pytest.raises(ValueError, match="read-only"):
        states[0] = 0


@pytest.mark.parametrize(
    ("prompt", "unseen"),
    [
        ("", ""),
        ("a red apple", ""),
        ("a red apple on the big", ""),
        ("a red apple on the big  blue house", "blue house"),
        ("Ein großer Apfel, rot: schön — und noch mehr", "schön — und noch mehr"),
    ],
)
def test_what_does_not_fit_is_told(encoder: TextEncoder, prompt: str, unseen: str) -> None:
    assert encoder.unseen(prompt) == unseen


@pytest.mark.parametrize(("width", "kept"), [(768, 256), (4096, 16)])
def test_prompts_of_wide_encoders_are_not_kept_by_the_hundred(pipeline: Pipeline, width: int, kept: int) -> None:
    """256 tokens of T5's largest encoder are 4 MiB a prompt."""
    tokenizer = Tokenizer.from_str(pipeline._conditioner._encoders[0]._tokenizer.to_str())
    ids = TensorSpec("input_ids", "int64", ("batch", 256))
    engine = FakeEngine([ids], [TensorSpec("states", "float32", ("batch", 256 if width == 4096 else 77, width))])
    encoder = TextEncoder(tokenizer, engine, length=256 if width == 4096 else 77, states="states")
    assert encoder.encode.cache_info().maxsize == kept  # type: ignore[attr-defined]
