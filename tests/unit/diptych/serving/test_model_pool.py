import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.errors import DataCorrupted, FailedPrecondition
from diptych.serving.model_pool import ModelPool
from diptych.v1 import image_pb2, model_pb2


@dataclass(eq=False)
class Opened:
    ref: image_pb2.ModelRef
    memory_bytes: int = 1
    closed: bool = False
    warmed: bool = False

    async def warm_up(self) -> None:
        self.warmed = True


SIZES = {"a": 3, "b": 2, "c": 4, "huge": 99}


async def size_of(name: str) -> int:
    return SIZES.get(name, 1)


@dataclass
class Shelf:
    """Where toy models come from; with `gate`, opening waits for it."""

    gate: asyncio.Event | None = None
    log: list[str] = field(default_factory=list)
    open_now: set[str] = field(default_factory=set)
    most: int = 0
    bytes_now: int = 0
    most_bytes: int = 0

    async def open(self, name: str) -> Opened:
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if name == "broken":
            raise DataCorrupted("broken on the shelf")
        assert name not in self.open_now, "opened twice"
        self.open_now.add(name)
        self.most = max(self.most, len(self.open_now))
        self.log.append(f"+{name}")
        self.bytes_now += SIZES.get(name, 1)
        self.most_bytes = max(self.most_bytes, self.bytes_now)
        return Opened(image_pb2.ModelRef(name=name), SIZES.get(name, 1))

    async def close(self, opened: Opened) -> None:
        assert not opened.closed
        opened.closed = True
        await asyncio.sleep(0)
        self.open_now.remove(opened.ref.name)
        self.bytes_now -= opened.memory_bytes
        self.log.append(f"-{opened.ref.name}")


def state(pool: ModelPool[str, Opened], name: str) -> int | None:
    known = pool.state(name)
    return None if known is None else known[0]


async def ticks(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    yield Shelf()


async def test_a_model_is_opened_once_for_all_who_need_it(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close)
    first, second = await asyncio.gather(pool.load("a"), pool.load("a"))
    assert first is second is pool.find("a")
    assert shelf.log == ["+a"]
    assert state(pool, "a") == model_pb2.MODEL_STATE_READY
    assert state(pool, "b") is None


async def test_it_is_loading_until_it_is_there_and_who_leaves_takes_it_from_nobody(shelf: Shelf) -> None:
    shelf.gate = asyncio.Event()
    pool = ModelPool(shelf.open, shelf.close)
    leaver, stayer = asyncio.create_task(pool.load("a")), asyncio.create_task(pool.load("a"))
    await ticks()
    assert state(pool, "a") == model_pb2.MODEL_STATE_LOADING
    assert pool.find("a") is None
    leaver.cancel()
    with suppress(asyncio.CancelledError):
        await leaver
    shelf.gate.set()
    assert (await stayer).ref.name == "a"


async def test_a_failure_reaches_all_who_wait_and_the_next_try_is_a_new_one(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close)
    failures = await asyncio.gather(pool.load("broken"), pool.load("broken"), return_exceptions=True)
    assert [type(one) for one in failures] == [DataCorrupted, DataCorrupted]
    assert pool.state("broken") == (model_pb2.MODEL_STATE_FAILED, "broken on the shelf")
    with pytest.raises(DataCorrupted):
        await pool.load("broken")
    await pool.unload("broken")


async def test_unloading_waits_for_those_at_work_and_newcomers_get_a_new_one(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close)
    async with pool.use("a") as old:
        unloading = asyncio.create_task(pool.unload("a"))
        await ticks()
        assert pool.state("a") == (model_pb2.MODEL_STATE_READY, "leaves when its 1 running requests are done")
        newcomer = asyncio.create_task(pool.load("a"))
        await ticks()
        assert not old.closed and not unloading.done() and not newcomer.done()
    await unloading
    new = await newcomer
    assert old.closed and not new.closed
    assert shelf.log == ["+a", "-a", "+a"]


async def test_an_unloading_whose_caller_leaves_goes_on(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close)
    async with pool.use("a"):
        unloading = asyncio.create_task(pool.unload("a"))
        await ticks()
        unloading.cancel()
        with suppress(asyncio.CancelledError):
            await unloading
    await ticks()
    assert shelf.log == ["+a", "-a"]
    assert state(pool, "a") is None


async def test_the_one_used_longest_ago_makes_room(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close, max_open=2)
    for name in ("a", "b", "a", "c"):
        await pool.load(name)
    assert shelf.log == ["+a", "+b", "-b", "+c"]
    assert shelf.most == 2


async def test_several_make_room_for_a_large_one_and_idle_ones_go_first(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close, max_bytes=6, size_of=size_of)
    await pool.load("b")
    await pool.load("a")
    assert pool.memory_bytes == 5
    async with pool.use("b"):  # Asked for before `a` was, and in use now.
        await pool.load("c")
        assert shelf.log == ["+b", "+a", "-a", "+c"]
    await pool.load("a")
    assert shelf.log[4:] == ["-b", "-c", "+a"]
    assert shelf.most_bytes <= 6


async def test_what_can_never_fit_is_refused_and_nothing_makes_room_for_it(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close, max_bytes=6, size_of=size_of)
    await pool.load("a")
    with pytest.raises(FailedPrecondition, match=r"needs 99 bytes.* 6; raise --memory-budget"):
        await pool.load("huge")
    assert shelf.log == ["+a"]


async def test_loading_warms_and_using_does_not(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close)
    async with pool.use("a") as model:
        assert not model.warmed
    assert (await pool.load("b")).warmed


async def test_a_model_that_cannot_be_warmed_is_not_kept(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Opened) -> None:
        raise DataCorrupted("no warmth")

    monkeypatch.setattr(Opened, "warm_up", fail)
    pool = ModelPool(shelf.open, shelf.close)
    with pytest.raises(DataCorrupted):
        await pool.load("a")
    assert shelf.log == ["+a", "-a"]
    assert pool.find("a") is None


async def test_a_model_in_use_is_waited_for_before_it_makes_room(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close, max_open=1)
    async with pool.use("a"):
        other = asyncio.create_task(pool.load("b"))
        await ticks()
        assert not other.done()
        assert shelf.log == ["+a"]
    await other
    assert shelf.log == ["+a", "-a", "+b"]


async def test_closing_closes_all(shelf: Shelf) -> None:
    pool = ModelPool(shelf.open, shelf.close)
    await pool.load("a")
    await pool.load("b")
    await pool.close()
    assert shelf.open_now == set()


VISIT = st.tuples(
    st.integers(0, 30), st.sampled_from(["a", "b", "c", "broken"]), st.integers(0, 15), st.booleans(), st.booleans()
)


@settings(max_examples=60, deadline=None)
@given(visits=st.lists(VISIT, max_size=12), max_open=st.integers(1, 3), max_bytes=st.integers(4, 9))
def test_nobody_ever_works_with_a_closed_model(
    visits: list[tuple[int, str, int, bool, bool]], max_open: int, max_bytes: int
) -> None:
    async def visit(
        pool: ModelPool[str, Opened], before: int, name: str, stay: int, unloads: bool, leaves: bool
    ) -> None:
        await ticks(before)
        if unloads:
            await pool.unload(name)
            return
        with suppress(DataCorrupted, TimeoutError):
            async with asyncio.timeout(0 if leaves else None):
                async with pool.use(name) as model:
                    for _ in range(stay):
                        assert not model.closed
                        await asyncio.sleep(0)

    async def live() -> None:
        shelf = Shelf()
        pool = ModelPool(shelf.open, shelf.close, max_open=max_open, max_bytes=max_bytes, size_of=size_of)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for one in visits:
                group.create_task(visit(pool, *one))
        assert shelf.most <= max_open
        assert shelf.most_bytes <= max_bytes
        await pool.close()
        assert shelf.open_now == set()

    asyncio.run(live())
