from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.diffusion import Pipeline, RowSpec, Toward
from diptych.diffusion.latents import draw_noise
from diptych.diffusion.walk import lerp, slerp

SHAPE = (4, 8, 8)


@given(seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)), share=st.floats(0, 1))
def test_noise_between_two_noises_is_as_strong(seeds: tuple[int, int], share: float) -> None:
    first, second = (draw_noise(seed, SHAPE) for seed in seeds)
    norms = sorted(float(np.linalg.norm(one)) for one in (first, second))
    assert norms[0] * 0.99 <= np.linalg.norm(slerp(first, second, share)) <= norms[1] * 1.01


@pytest.mark.parametrize("way", [slerp, lerp])
def test_both_ends_are_themselves(way: "type[slerp]") -> None:
    first, second = draw_noise(1, SHAPE), draw_noise(2, SHAPE)
    assert way(first, second, 0.0).tobytes() == first.tobytes()
    assert way(first, second, 1.0).tobytes() == second.tobytes()
    assert way(first, first, 0.3).tobytes() == first.tobytes()


def test_steps_along_the_way_are_even() -> None:
    first, second = draw_noise(1, SHAPE), draw_noise(2, SHAPE)
    points = [slerp(first, second, share) for share in np.linspace(0, 1, 9)]
    steps = [np.linalg.norm(one - other) for one, other in pairwise(points)]
    assert max(steps) / min(steps) < 1.05


def test_a_row_on_the_way_begins_between_and_is_told_both_prompts(pipeline: Pipeline) -> None:
    def spec(share: float) -> RowSpec:
        toward = Toward("a blue cat", 2, share)
        return RowSpec("a red apple", 64, 64, 1, 2, 3.0, "flow_match_euler", toward=toward)

    here = pipeline.prepare(RowSpec("a red apple", 64, 64, 1, 2, 3.0, "flow_match_euler"))
    there = pipeline.prepare(RowSpec("a blue cat", 64, 64, 2, 2, 3.0, "flow_match_euler"))
    rows = {share: pipeline.prepare(spec(share)) for share in (0.0, 0.5, 1.0)}
    assert rows[0.0].latents.tobytes() == here.latents.tobytes()
    assert rows[1.0].latents.tobytes() == there.latents.tobytes()
    for row in (here, there, *rows.values()):
        while not row.finished:
            pipeline.step([row])
    assert rows[0.0].latents.tobytes() == here.latents.tobytes()
    assert rows[1.0].latents.tobytes() == there.latents.tobytes()
    assert rows[0.5].latents.tobytes() not in (here.latents.tobytes(), there.latents.tobytes())
