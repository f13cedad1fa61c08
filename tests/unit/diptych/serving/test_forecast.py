import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.serving.choosing import Place, choose
from diptych.serving.continuous_batcher import Sketch
from diptych.serving.forecast import finish_times
from diptych.serving.pace import StepTimes


def times() -> StepTimes:
    """0.3 s a call and 0.1 s a sample for "a", twice that for "b"; a call of many pays off."""
    known = StepTimes()
    for samples in (1, 2, 4, 8):
        known.learn("a", samples, 0.3 + 0.1 * samples)
        known.learn("b", samples, 0.6 + 0.2 * samples)
    return known


def place(steps: int, key: str = "a", samples: int = 1) -> Place[Sketch]:
    return Place(Sketch(key, steps, samples), 0.0, group=object())


def test_rows_of_one_call_end_each_at_its_own_step() -> None:
    short, long = place(2), place(5)
    ends = finish_times([short, long], times(), max_rows=8, now=0.0)
    assert ends is not None
    assert ends[short] == pytest.approx(2 * 0.5)
    assert ends[long] == pytest.approx(2 * 0.5 + 3 * 0.4)


def test_who_finds_no_room_waits_for_the_first_to_leave() -> None:
    first, second = place(2), place(3)
    ends = finish_times([first, second], times(), max_rows=1, now=0.0)
    assert ends is not None
    assert ends == {first: pytest.approx(0.8), second: pytest.approx(2.0)}


def test_another_key_takes_its_own_time() -> None:
    ends = finish_times([place(2), other := place(2, "b")], times(), max_rows=8, now=0.0)
    assert ends is not None
    assert ends[other] == pytest.approx(0.8 + 1.6)


def test_nothing_is_told_while_a_key_is_unknown() -> None:
    assert finish_times([place(2), place(1, "never seen")], times(), max_rows=8, now=0.0) is None


def test_nobody_there_is_done_already() -> None:
    assert finish_times([], times(), max_rows=1, now=0.0) == {}


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 30), st.sampled_from("ab"), st.integers(1, 2)), max_size=12),
    max_rows=st.integers(1, 6),
)
def test_the_forecast_comes_true_when_nobody_comes(rows: list[tuple[int, str, int]], max_rows: int) -> None:
    pace = times()
    places = [place(*row) for row in rows]
    ends = finish_times(places, pace, max_rows=max_rows, now=0.0)
    assert ends is not None
    now = 0.0
    while places:
        step = choose(places, pace, max_rows=max_rows, now=now).step
        now += pace.seconds(step[0].row.key, sum(one.row.samples for one in step)) or 0.0
        for one in step:
            one.steps += 1
            if one.steps == one.row.num_steps:
                places.remove(one)
                assert ends[one] == pytest.approx(now)
