"""Weights on parts of a prompt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.diffusion import Pipeline
from diptych.diffusion.weighting import read_weights


@pytest.mark.parametrize(
    ("prompt", "text", "weighted"),
    [
        ("a (red:1.5) cat", "a red cat", {"red": 1.5}),
        ("(a (red:2) cat:0.5)", "a red cat", {"a ": 0.5, "red": 1.0, " cat": 0.5}),
        ("a (red) cat: yes", "a (red) cat: yes", {}),
        (r"a \(red:1.5\) cat", r"a \(red:1.5\) cat", {}),
        (r"a \(b\) (c:2)", "a (b) c", {"c": 2.0}),
        ("(time 10:30)", "(time 10:30)", None),
        ("(a:99)", "a", {"a": 10.0}),
        ("((a:9):9)", "a", {"a": 10.0}),
        ("(((a:9):9):0.1)", "a", {"a": 1.0}),
        ("((a))", "((a))", {}),
        ("[a:2] (b:1.", "[a:2] (b:1.", {}),
        ("(a:)(b:-1)(c:1e9)", "(a:)(b:-1)(c:1e9)", {}),
        ("(:1.3)(a: .5 )", "a", {"a": 0.5}),
        ("(open (x:2)", "(open x", {"x": 2.0}),
    ],
)
def test_weights_are_read(prompt: str, text: str, weighted: dict[str, float] | None) -> None:
    found = read_weights(prompt)
    if weighted is None:  # An ambiguous one: a number before the bracket is a weight.
        assert found.text == "time 10"
        return
    assert found.text == text
    for words, weight in weighted.items():
        start = text.index(words)
        assert found.weights[start : start + len(words)] == (weight,) * len(words)


@given(st.text(alphabet="ab ():.1\\", max_size=30))
def test_any_text_is_read(prompt: str) -> None:
    found = read_weights(prompt)
    assert len(found.weights) in (0, len(found.text))


def test_no_nesting_weighs_more_than_ten() -> None:
    assert read_weights("(" * 500 + "a" + ":9)" * 500).weights == (10.0,)


def test_a_weight_moves_its_words_from_nothing_and_no_others(pipeline: Pipeline) -> None:
    encoder = pipeline._conditioner._encoders[0]
    nothing, plain = encoder.encode("").states, encoder.encode("a red cat").states
    heavy = encoder.encode("a (red:1.5) cat").states
    assert np.allclose(heavy[2], nothing[2] + 1.5 * (plain[2] - nothing[2]), atol=1e-6)
    assert (heavy[[0, 1, 3]] == plain[[0, 1, 3]]).all()
    assert (encoder.encode("a (red:1) cat").states == plain).all()
    assert encoder.unseen("a (red:2) apple on the big blue house") == "blue house"
