# ruff: noqa: RUF001 - the marks of other scripts are meant
"""When a step is done only if the picture is so."""

import pytest

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.conditions import bound_of
from services.orchestrator.planning.wanted import Wanted


@pytest.mark.parametrize(
    "clause",
    [
        "if it is too dark, brighten it",
        "should it be too dark, brighten it",
        "falls es zu dunkel ist, mach es heller",
        "si c'est trop sombre, éclaircis la photo",
        "en caso de que esté oscura, aclárala",
        "要是太暗，就调亮",
        "太暗的话调亮",
    ],
)
def test_under_a_condition_only_a_dark_picture_is_brightened(clause: str) -> None:
    bound = bound_of(Wanted("color_correct", {"brightness": 0.3}, clause), clause)
    usual = bound_of(Wanted("color_correct", {"brightness": 0.3}, "brighten it"), "brighten it")
    assert bound is not None and usual is not None and bound.measure == v1.MEASURE_EXPOSURE
    assert bound.at_most is not None and usual.at_most is not None and bound.at_most < 0 < usual.at_most
    assert "too dark" in bound.words and "not bright already" in usual.words


def test_without_a_condition_noise_is_taken_away_in_any_case() -> None:
    assert bound_of(Wanted("denoise", {}, "denoise it"), "denoise it") is None
    bound = bound_of(Wanted("denoise", {}, "denoise it if it is noisy"), "")
    assert bound is not None and bound.measure == v1.MEASURE_NOISE and bound.at_least == 3.0
