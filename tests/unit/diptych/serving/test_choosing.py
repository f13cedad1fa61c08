from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from diptych.serving.choosing import Place, choose


@dataclass(eq=False)
class Toy:
    key: str
    left: int = 5

    @property
    def finished(self) -> bool:
        return self.left == 0


def place(key: str, idle_since: float, deadline: float | None = None) -> Place[Toy]:
    return Place(Toy(key), arrived=0, deadline=deadline, idle_since=idle_since)


def test_rows_of_one_key_step_together() -> None:
    a1, b, a2 = place("a", 1), place("b", 2), place("a", 3)
    choice = choose([a2], [a1, b], max_rows=4, now=10)
    assert choice.joining == (a2,)
    assert choice.step == (a1, a2)


def test_the_key_idle_longest_takes_its_turn() -> None:
    assert choose([], [place("a", 5), b := place("b", 4)], max_rows=4, now=10).step == (b,)


def test_equal_ages_go_by_order_of_arrival() -> None:
    assert choose([], [a := place("a", 4), place("b", 4)], max_rows=4, now=10).step == (a,)


def test_who_has_waited_long_to_join_does_not_pass_who_is_aboard() -> None:
    assert choose([Place(Toy("a"), arrived=0)], [b := place("b", 9)], max_rows=4, now=10).step == (b,)


def test_joining_is_first_come_first_served_whatever_the_key() -> None:
    a, b, c = place("b", 1), place("a", 2), place("a", 3)
    assert choose([a, b, c], [place("a", 9)], max_rows=3, now=10).joining == (a, b)


def test_the_expired_leave_and_make_room() -> None:
    late, fresh, newcomer = place("a", 1, deadline=10), place("a", 2, deadline=10.1), place("a", 3)
    choice = choose([newcomer], [late, fresh], max_rows=2, now=10)
    assert choice.expired == (late,)
    assert choice.step == (fresh, newcomer)


def test_nobody_there_means_no_step() -> None:
    choice = choose([place("a", 1, deadline=2)], [], max_rows=1, now=3)
    assert choice.step == ()
    assert len(choice.expired) == 1


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(1, 6)), max_size=30),
    max_rows=st.integers(1, 5),
)
def test_every_row_gets_its_steps_and_none_starves(arrivals: list[tuple[int, str, int]], max_rows: int) -> None:
    """A whole run on a fake clock that moves one a step."""
    waiting: list[Place[Toy]] = []
    running: list[Place[Toy]] = []
    joined: list[Place[Toy]] = []
    coming = sorted(((at, index, Place(Toy(key, left), at)) for index, (at, key, left) in enumerate(arrivals)))
    everyone = [one for _, _, one in coming]
    needed = {id(one): one.row.left for one in everyone}
    now = 0
    while coming or waiting or running:
        while coming and coming[0][0] <= now:
            waiting.append(coming.pop(0)[2])
        choice = choose(waiting, running, max_rows=max_rows, now=now)
        waiting = [one for one in waiting if one not in choice.joining]
        running.extend(choice.joining)
        joined.extend(choice.joining)
        assert len(running) <= max_rows
        assert len({one.row.key for one in choice.step}) <= 1
        assert bool(choice.step) == bool(running)
        for one in choice.joining:
            one.idle_since = now
        for one in running:
            assert now - one.idle_since <= 2  # Keys take turns: at most one step of each of the two others.
        now += 1
        for one in choice.step:
            one.row.left -= 1
            one.steps += 1
            one.idle_since = now
        running = [one for one in running if not one.row.finished]
    assert joined == everyone
    assert all(one.steps == needed[id(one)] for one in everyone)
