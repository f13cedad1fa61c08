"""The replayed streams: what must hold of any way of serving."""

import pytest

from benchmarks.generator_replay import Cost, bound, dynamic, far_sighted, learning, poisson, replay

COST = Cost(0.01, 0.015)


def test_who_is_alone_waits_for_nothing_but_the_steps() -> None:
    alone = [(0.0, 10), (100.0, 20)]
    mean = (10 + 20) / 2 * COST.call(1)
    for seconds in (replay(alone, COST, learning()), far_sighted(alone, COST), dynamic(alone, COST)):
        assert seconds == pytest.approx(mean)


def test_a_batch_shrinks_and_answers_at_its_end() -> None:
    assert dynamic([(0.0, 1), (0.0, 3)], COST) == pytest.approx(COST.call(2) + 2 * COST.call(1))


@pytest.mark.parametrize("load", [0.7, 1.1])
def test_ours_beats_batches_of_whole_requests_and_nobody_beats_the_bound(load: float) -> None:
    streams = [poisson(COST, load, 48, seed) for seed in range(2)]
    ours = sum(replay(stream, COST, learning()) for stream in streams)
    theirs = sum(dynamic(stream, COST) for stream in streams)
    seeing = sum(far_sighted(stream, COST) for stream in streams)
    least = sum(bound(stream, COST) for stream in streams)
    assert least < seeing <= ours < 0.8 * theirs
    assert ours < 1.15 * seeing
