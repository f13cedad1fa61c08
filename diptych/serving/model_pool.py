"""Models by name: opened when first needed, kept while there is room, closed only when nobody uses them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from diptych.errors import DiptychError, FailedPrecondition
from diptych.v1 import image_pb2, model_pb2


class OpenModel(Protocol):
    """A model in memory."""

    @property
    def ref(self) -> image_pb2.ModelRef:
        """How records name it."""

    @property
    def memory_bytes(self) -> int:
        """Memory it takes."""

    async def warm_up(self) -> None:
        """Does what the first request would else wait for."""


K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=OpenModel)


@dataclass(eq=False)
class _Slot(Generic[K, T]):
    """A model on its way in, in, or on its way out. `users` counts those who wait for it to open as well."""

    key: K
    opening: "asyncio.Future[T]"
    users: int = 0
    used: int = 0
    leaving: "asyncio.Task[None] | None" = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ready(self) -> bool:
        return self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None


class ModelPool(Generic[K, T]):
    """At most `max_open` models in at most `max_bytes` of memory. One that is needed when there is no room takes the
    place of those used longest ago; `size_of` foretells its bytes.

    A model on its way out takes nobody new and is closed when the last user has gone, so nobody's work fails; who asks
    for it meanwhile waits and has it opened again. One event loop uses the pool. `open_model` raises what makes sense
    to a caller.
    """

    def __init__(
        self,
        open_model: Callable[[K], Awaitable[T]],
        close_model: Callable[[T], Awaitable[None]],
        *,
        max_open: int | None = None,
        max_bytes: int | None = None,
        size_of: Callable[[K], Awaitable[int]] | None = None,
    ) -> None:
        if max_bytes is not None and size_of is None:
            raise ValueError("max_bytes needs size_of")
        self._open_model = open_model
        self._close_model = close_model
        self._max_open = max_open
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._slots: dict[K, _Slot[K, T]] = {}
        self._failures: dict[K, str] = {}
        self._opening = asyncio.Lock()
        self._clock = itertools.count(1)

    @property
    def memory_bytes(self) -> int:
        """Memory of all models that are in it."""
        return sum(slot.opening.result().memory_bytes for slot in self._slots.values() if slot.ready)

    @property
    def max_bytes(self) -> int | None:
        """Memory that all models together may take; None for as much as there is."""
        return self._max_bytes

    def known(self) -> list[K]:
        """Models that are in memory or on their way."""
        return list(self._slots)

    async def gone(self, key: K) -> bool:
        """Whether the model was on its way out; it is out of memory when this returns."""
        slot = self._slots.get(key)
        if slot is None or slot.leaving is None:
            return False
        await asyncio.shield(slot.leaving)
        return True

    def find(self, key: K) -> T | None:
        """The model if it is in memory."""
        slot = self._slots.get(key)
        return slot.opening.result() if slot is not None and slot.ready else None

    def state(self, key: K) -> "tuple[model_pb2.ModelState.ValueType, str] | None":
        """Its state and what there is to say of it; None for a model that is not in memory and has not failed."""
        slot = self._slots.get(key)
        if slot is not None and slot.leaving is not None:
            return model_pb2.MODEL_STATE_READY, f"leaves when its {slot.users} running requests are done"
        if slot is not None:
            return (model_pb2.MODEL_STATE_READY if slot.ready else model_pb2.MODEL_STATE_LOADING), ""
        if key in self._failures:
            return model_pb2.MODEL_STATE_FAILED, self._failures[key]
        return None

    @asynccontextmanager
    async def use(self, key: K, *, warm: bool = False) -> AsyncIterator[T]:
        """The model, opened if it is not, and warmed on that occasion if asked for; it stays for as long as the block
        lasts."""
        while await self.gone(key):
            pass
        slot = self._slots.get(key) or self._begin_opening(key, warm)
        slot.users += 1
        slot.used = next(self._clock)
        slot.idle.clear()
        try:
            # Shielded: others wait for it too, and who leaves must not take the model from them.
            yield await asyncio.shield(slot.opening)
        finally:
            slot.users -= 1
            if slot.users == 0:
                slot.idle.set()

    async def load(self, key: K) -> T:
        """The model, in memory and warm when this returns."""
        async with self.use(key, warm=True) as model:
            return model

    async def unload(self, key: K) -> None:
        """Returns when the model is out of memory; its users finish first."""
        if (slot := self._slots.get(key)) is not None:
            await asyncio.shield(self._leave(slot))

    async def close(self) -> None:
        """Closes all models; their users are to have gone."""
        await asyncio.gather(*(self._leave(slot) for slot in list(self._slots.values())))

    def _begin_opening(self, key: K, warm: bool) -> _Slot[K, T]:
        self._failures.pop(key, None)
        slot = self._slots[key] = _Slot(key, asyncio.ensure_future(self._open(key, warm)))
        slot.opening.add_done_callback(lambda opening: self._opened(slot, opening))
        return slot

    def _opened(self, slot: _Slot[K, T], opening: "asyncio.Future[T]") -> None:
        failure = None if opening.cancelled() else opening.exception()
        if opening.cancelled() or failure is not None:
            self._slots.pop(slot.key, None)
        if failure is not None:
            told = failure.message if isinstance(failure, DiptychError) else type(failure).__name__
            self._failures[slot.key] = told

    async def _open(self, key: K, warm: bool) -> T:
        async with self._opening:
            size = 0
            if self._size_of is not None and self._max_bytes is not None:
                size = await self._size_of(key)
                if size > self._max_bytes:
                    raise FailedPrecondition(
                        f"the model needs {size} bytes, and all models together may have {self._max_bytes}; "
                        "raise --memory-budget",
                        reason="OVER_MEMORY_BUDGET",
                    )
            while (others := self._others(key)) and self._is_full(others, size):
                # Idle ones first: who is at work is in use now.
                oldest = min(others, key=lambda slot: (slot.leaving is None, slot.users > 0, slot.used))
                await self._leave(oldest)
            model = await self._open_model(key)
            warmed = not warm
            try:
                if warm:
                    await model.warm_up()
                    warmed = True
            finally:
                if not warmed:
                    await self._close_model(model)
            return model

    def _others(self, newcomer: K) -> list[_Slot[K, T]]:
        return [slot for slot in self._slots.values() if slot.ready and slot.key != newcomer]

    def _is_full(self, others: Sequence[_Slot[K, T]], size: int) -> bool:
        """Whether a newcomer of `size` bytes has no room beside `others`."""
        if self._max_open is not None and len(others) >= self._max_open:
            return True
        held = sum(slot.opening.result().memory_bytes for slot in others)
        return self._max_bytes is not None and held + size > self._max_bytes

    def _leave(self, slot: _Slot[K, T]) -> "asyncio.Task[None]":
        if slot.leaving is None:
            slot.leaving = asyncio.get_running_loop().create_task(self._drain(slot))
        return slot.leaving

    async def _drain(self, slot: _Slot[K, T]) -> None:
        await asyncio.wait([slot.opening])
        if slot.users:
            await slot.idle.wait()
        if self._slots.get(slot.key) is slot:
            try:
                if slot.ready:
                    await self._close_model(slot.opening.result())
            finally:
                del self._slots[slot.key]
