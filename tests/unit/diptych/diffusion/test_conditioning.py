"""Prompts as the denoiser sees them."""

import numpy as np
import pytest

from diptych.diffusion import Pipeline
from diptych.diffusion.conditioning import Conditioner


@pytest.fixture
def conditioner(pipeline: Pipeline) -> Conditioner:
    return pipeline._conditioner


def test_padding_is_nought_and_words_are_not(conditioner: Conditioner) -> None:
    states = conditioner.states("a red apple")
    assert states.shape == (8, 32)
    assert states.dtype == np.float32
    assert states[:5].any(axis=1).all()
    assert not states[5:].any()


def test_order_and_words_count(conditioner: Conditioner) -> None:
    states = {conditioner.states(text).tobytes() for text in ("a red apple", "apple red a", "a red cat", "")}
    assert len(states) == 4


def test_a_prompt_is_encoded_once_and_cannot_be_changed(conditioner: Conditioner) -> None:
    states = conditioner.states("a small tree")
    assert conditioner.states("a small tree") is states
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
def test_what_does_not_fit_is_told(conditioner: Conditioner, prompt: str, unseen: str) -> None:
    assert conditioner.unseen(prompt) == unseen
