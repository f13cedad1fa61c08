from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from diptych.serving.choosing import AGING, PATIENCE, Choice, Place, choose, in_order
from diptych.serving.pace import StepTimes


@dataclass(eq=False)
class Toy:
    num_steps: int = 5
    key: str = "a"
    samples: int = 1
    done: int = 0

    @property
    def finished(self) -> bool:
        return self.done >= self.num_steps


@dataclass
class Steady:
    """Each sample costs a second; so many rows pay off."""

    width: int | None = None
    known: bool = True

    def seconds(self, key: Hashable, samples: int) -> float | None:
        return float(samples) if self.known else None

    def worthwhile(self, key: Hashable, samples: int) -> int | None:
        return self.width


def place(
    steps: int = 5,
    key: str = "a",
    *,
    arrived: float = 0,
    deadline: float | None = None,
    samples: int = 1,
    group: object = None,
    idle_since: float = 0,
) -> Place[Toy]:
    return Place(Toy(steps, key, samples), arrived, deadline, idle_since, group=group or object())


def chosen(
    places: Sequence[Place[Toy]], *, max_rows: int = 8, now: float = 10, width: int | None = None
) -> Choice[Toy]:
    return choose(places, Steady(width), max_rows=max_rows, now=now)


def test_rows_of_one_key_step_together_whatever_their_steps() -> None:
    short, other, long = place(4), place(20, "b"), place(50)
    assert chosen([long, other, short]).step == (short, long)


def test_a_call_holds_no_more_rows_than_allowed() -> None:
    places = [place(steps) for steps in (9, 8, 7)]
    assert chosen(places, max_rows=2).step == (places[2], places[1])


def test_no_more_share_a_call_than_pays_off_and_pairs_count_twice() -> None:
    places = [place(3, samples=2), place(4, samples=2), place(9), place(10)]
    assert chosen(places, width=2).step == tuple(places[:2])
    assert chosen(places, width=3).step == tuple(places)
    assert chosen(places, width=1).step == (places[0],)


def test_the_least_work_goes_first() -> None:
    assert in_order([long := place(50), short := place(4)], Steady(), now=0) == [short, long]


def test_half_done_goes_before_fresh() -> None:
    half, fresh = place(20), place(15)
    half.steps = 10
    assert in_order([fresh, half], Steady(), now=0) == [half, fresh]


def test_a_request_is_one_piece_of_work_and_its_rows_keep_their_order() -> None:
    many = [place(5, group="many") for _ in range(4)]
    single = place(12)
    assert in_order([*many, single], Steady(), now=0) == [single, *many]


def test_who_came_long_ago_is_not_passed() -> None:
    long = place(50, arrived=0)
    soon, late = place(4, arrived=45 / AGING), place(4, arrived=47 / AGING)
    assert in_order([long, soon, late], Steady(), now=0) == [soon, long, late]


def test_who_would_miss_the_deadline_goes_first_earliest_first() -> None:
    short, later, sooner = place(4, idle_since=10), place(10, deadline=23), place(10, deadline=22)
    assert in_order([short, later, sooner], Steady(), now=10) == [sooner, later, short]


def test_who_has_time_enough_or_cannot_make_it_does_not_hurry() -> None:
    short, easy, hopeless = place(4), place(10, deadline=50), place(9, deadline=18)
    assert in_order([short, easy, hopeless], Steady(), now=10) == [short, hopeless, easy]


def test_the_hurried_hold_up_the_others_for_no_longer_than_their_patience() -> None:
    hurried = [place(10, deadline=22), place(10, deadline=23)]
    waiting, other = place(30, idle_since=10 - PATIENCE - 0.1), place(40, idle_since=0)
    assert in_order([*hurried, waiting, other], Steady(), now=10) == [waiting, *hurried, other]
    waiting.idle_since = 10
    assert in_order([*hurried, waiting, other], Steady(), now=10) == [*hurried, waiting, other]


def test_without_a_measured_time_steps_count() -> None:
    assert in_order([long := place(50), short := place(4)], Steady(known=False), now=0) == [short, long]


def test_the_expired_leave_and_make_room() -> None:
    late, fresh, newcomer = place(1, deadline=10), place(2, deadline=10.1), place(3)
    choice = chosen([late, fresh, newcomer], max_rows=2)
    assert choice.expired == (late,)
    assert choice.step == (fresh, newcomer)


def test_nobody_there_means_no_step() -> None:
    choice = chosen([place(deadline=2)], now=3)
    assert choice.step == ()
    assert len(choice.expired) == 1
    assert chosen([]) == Choice((), ())


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from("abc"), st.integers(1, 20), st.integers(1, 2), st.booleans()),
    max_size=40,
)


@given(arrivals=ARRIVALS, max_rows=st.integers(1, 5), fixed=st.sampled_from([0.0, 1.0, 30.0]))
def test_every_row_gets_its_steps_and_none_starves(
    arrivals: list[tuple[int, str, int, int, bool]], max_rows: int, fixed: float
) -> None:
    """A whole run on a fake clock: calls take what the learning pace is to find out."""
    coming = sorted(arrivals)
    places: list[Place[Toy]] = []
    everyone: list[Place[Toy]] = []
    pace, now, busy = StepTimes(), 0.0, 0.0
    while coming or places:
        now = max(now, coming[0][0]) if not places else now
        while coming and coming[0][0] <= now:
            _, key, steps, samples, hurries = coming.pop(0)
            deadline = now + 1e6 if hurries else None
            places.append(place(steps, key, arrived=now, samples=samples, idle_since=now, deadline=deadline))
            everyone.append(places[-1])
        choice = choose(places, pace, max_rows=max_rows, now=now)
        assert 1 <= len(choice.step) <= max_rows
        assert len({one.row.key for one in choice.step}) == 1
        samples = sum(one.row.samples for one in choice.step)
        seconds = 0.01 * (fixed + samples)
        pace.learn(choice.step[0].row.key, samples, seconds)
        now, busy = now + seconds, busy + seconds
        for one in choice.step:
            one.steps, one.row.done, one.idle_since = one.steps + 1, one.row.done + 1, now
            if one.row.finished:
                places.remove(one)
                # Nobody waits for more than the work there was and those whom age lets pass.
                assert now - one.arrived <= busy + 1
    assert all(one.steps == one.row.num_steps for one in everyone)


def test_a_long_request_is_served_though_short_ones_never_stop_coming() -> None:
    long = place(50, arrived=0)
    places, now = [long], 0.0
    while not long.row.finished:
        # One newcomer a second, each a second's work: the device is full without the long one.
        places.append(place(1, arrived=now, idle_since=now))
        (one,) = choose(places, Steady(), max_rows=1, now=now).step
        one.steps, one.row.done, one.idle_since = one.steps + 1, one.row.done + 1, now
        places = [other for other in places if not other.row.finished]
        now += 1
        assert now < 50 / AGING + 60


def test_rows_still_to_come_count_as_work_of_their_group_and_keep_its_order() -> None:
    film = [Place(Toy(5), 0.0, group="film", steps_after=after) for after in (40, 35, 30)]
    single = place(44)
    assert in_order([*film, single], Steady(), now=0) == [single, *film]  # 15 here and 30 to come
    single = place(46)
    assert in_order([*film, single], Steady(), now=0) == [*film, single]
