import pytest

from diptych.serving.lifecycle import Lifecycle, State


async def test_a_whole_life() -> None:
    lifecycle, seen, closed = Lifecycle(), list[State](), list[str]()

    async def note(state: State) -> None:
        seen.append(state)

    async def close_worker() -> None:
        closed.append("worker")

    async def close_batcher() -> None:
        closed.append("batcher")

    lifecycle.on_change(note)
    lifecycle.on_stop(close_worker)
    lifecycle.on_stop(close_batcher)
    accepted = []
    for state in (State.READY, State.DRAINING, State.STOPPED):
        await lifecycle.enter(state)
        accepted.append(lifecycle.accepts_work)
    assert seen == [State.READY, State.DRAINING, State.STOPPED]
    assert accepted == [True, False, False]
    assert closed == ["batcher", "worker"]


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ([], State.DRAINING),
        ([State.READY], State.READY),
        ([State.READY], State.STOPPED),
        ([State.READY, State.DRAINING], State.READY),
        ([State.STOPPED], State.READY),
    ],
)
async def test_there_is_no_way_back(path: list[State], wrong: State) -> None:
    lifecycle = Lifecycle()
    for state in path:
        await lifecycle.enter(state)
    with pytest.raises(RuntimeError, match="cannot go"):
        await lifecycle.enter(wrong)
