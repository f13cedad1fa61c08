import random

import pytest

from diptych.serving.pace import StepTimes


def test_nothing_is_known_of_what_was_never_measured() -> None:
    times = StepTimes()
    assert times.seconds("a", 1) is None
    assert times.worthwhile("a", 1) is None


def test_a_fixed_part_and_one_for_each_sample_are_told_apart() -> None:
    times, chance = StepTimes(), random.Random(1)
    for _ in range(60):
        samples = chance.randint(1, 8)
        times.learn("a", samples, (0.05 + 0.02 * samples) * chance.uniform(0.95, 1.05))
    for samples in (1, 4, 16):
        assert times.seconds("a", samples) == pytest.approx(0.05 + 0.02 * samples, rel=0.15)


def test_one_size_alone_scales_with_the_samples_and_limits_nothing() -> None:
    times = StepTimes()
    for _ in range(10):
        times.learn("a", 2, 0.2)
    assert times.seconds("a", 2) == pytest.approx(0.2)
    assert times.seconds("a", 6) == pytest.approx(0.6)
    assert times.worthwhile("a", 1) is None


def test_a_device_that_is_not_full_takes_everyone() -> None:
    times = StepTimes()
    for samples in (1, 2, 4, 8):
        times.learn("a", samples, 0.1)
    assert times.worthwhile("a", 1) is None
    assert times.seconds("a", 8) == pytest.approx(0.1)


def test_where_each_sample_costs_its_share_one_at_a_time_is_enough() -> None:
    times = StepTimes()
    for samples in (1, 2, 4, 8):
        times.learn("a", samples, 0.1 * samples)
    assert times.worthwhile("a", 1) == 1


def test_a_call_is_as_wide_as_the_root_of_its_fixed_part_over_a_rows() -> None:
    def width(fixed: float, samples: int = 1) -> int | None:
        times = StepTimes()
        for size in (1, 2, 4, 8):
            times.learn("a", size, fixed + 0.1 * size)
        return times.worthwhile("a", samples)

    narrow, wide = width(0.1), width(1.6)
    assert narrow is not None and wide is not None
    assert 2 <= narrow < wide
    assert wide == pytest.approx(4 * narrow, abs=2)
    # A row that brings four samples costs as much as four: the same call holds half as many of them, not a fourth.
    assert width(1.6, samples=4) == wide // 2


def test_the_newest_calls_count_most() -> None:
    times = StepTimes()
    for _ in range(100):
        times.learn("a", 1, 1.0)
    for _ in range(200):
        times.learn("a", 1, 0.1)
    assert times.seconds("a", 1) == pytest.approx(0.1, rel=0.2)


def test_keys_are_apart() -> None:
    times = StepTimes()
    times.learn("a", 1, 1.0)
    assert times.seconds("b", 1) is None
