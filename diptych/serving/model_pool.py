"""Models by name: opened when first needed, kept while there is room, closed only when nobody uses them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from diptych.errors import DiptychError
from diptych.v1 import image_pb2, model_pb2


class OpenModel(Protocol):
    """A model in memory."""

    @property
    def ref(self) -> image_pb2.ModelRef:
        """How records name it."""

    @property
    def memory_bytes(self) -> int:
        """Memory its weights take."""


T = TypeVar("T", bound=OpenModel)


@dataclass(eq=False)
class _Slot(Generic[T]):
    """A model on its way in, in, or on its way out. `users` counts those who wait for it to open as well."""

    name: str
    opening: "asyncio.Future[T]"
    users: int = 0
    used: int = 0
    leaving: "asyncio.Task[None] | None" = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ready(self) -> bool:
        return self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None


class ModelPool(Generic[T]):
    """At most `max_open` models. One that is needed when there is no room takes the place of the one used longest ago.

    A model on its way out takes nobody new and is closed when the last user has gone, so nobody's work fails; who asks
    for it meanwhile waits and has it opened again. One event loop uses the pool. `open_model` raises what makes sense
    to a caller.
    """

    def __init__(
        self,
        open_model: Callable[[str], Awaitable[T]],
        close_model: Callable[[T], Awaitable[None]],
        *,
        max_open: int | None = None,
    ) -> None:
        self._open_model = open_model
        self._close_model = close_model
        self._max_open = max_open
        self._slots: dict[str, _Slot[T]] = {}
        self._failures: dict[str, str] = {}
        self._opening = asyncio.Lock()
        self._clock = itertools.count(1)

    def find(self, name: str) -> T | None:
        """The model if it is in memory."""
        slot = self._slots.get(name)
        return slot.opening.result() if slot is not None and slot.ready else None

    def state(self, name: str) -> "tuple[model_pb2.ModelState.ValueType, str] | None":
        """Its state and what there is to say of it; None for a model that is not in memory and has not failed."""
        slot = self._slots.get(name)
        if slot is not None and slot.leaving is not None:
            return model_pb2.MODEL_STATE_READY, f"leaves when its {slot.users} running requests are done"
        if slot is not None:
            return (model_pb2.MODEL_STATE_READY if slot.ready else model_pb2.MODEL_STATE_LOADING), ""
        if name in self._failures:
            return model_pb2.MODEL_STATE_FAILED, self._failures[name]
        return None

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[T]:
        """The model, opened if it is not; it stays for as long as the block lasts."""
        while (slot := self._slots.get(name)) is not None and slot.leaving is not None:
            await asyncio.shield(slot.leaving)
        slot = self._slots.get(name) or self._begin_opening(name)
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

    async def load(self, name: str) -> T:
        """The model, in memory when this returns."""
        async with self.use(name) as model:
            return model

    async def unload(self, name: str) -> None:
        """Returns when the model is out of memory; its users finish first."""
        if (slot := self._slots.get(name)) is not None:
            await asyncio.shield(self._leave(slot))

    async def close(self) -> None:
        """Closes all models; their users are to have gone."""
        await asyncio.gather(*(self._leave(slot) for slot in list(self._slots.values())))

    def _begin_opening(self, name: str) -> _Slot[T]:
        self._failures.pop(name, None)
        slot = self._slots[name] = _Slot(name, asyncio.ensure_future(self._open(name)))
        slot.opening.add_done_callback(lambda opening: self._opened(slot, opening))
        return slot

    def _opened(self, slot: _Slot[T], opening: "asyncio.Future[T]") -> None:
        failure = None if opening.cancelled() else opening.exception()
        if opening.cancelled() or failure is not None:
            self._slots.pop(slot.name, None)
        if failure is not None:
            told = failure.message if isinstance(failure, DiptychError) else type(failure).__name__
            self._failures[slot.name] = told

    async def _open(self, name: str) -> T:
        async with self._opening:
            while self._max_open is not None and len(self._taken(name)) >= self._max_open:
                oldest = min(self._taken(name), key=lambda slot: (slot.leaving is None, slot.used))
                await self._leave(oldest)
            return await self._open_model(name)

    def _taken(self, newcomer: str) -> list[_Slot[T]]:
        return [slot for slot in self._slots.values() if slot.ready and slot.name != newcomer]

    def _leave(self, slot: _Slot[T]) -> "asyncio.Task[None]":
        if slot.leaving is None:
            slot.leaving = asyncio.get_running_loop().create_task(self._drain(slot))
        return slot.leaving

    async def _drain(self, slot: _Slot[T]) -> None:
        await asyncio.wait([slot.opening])
        if slot.users:
            await slot.idle.wait()
        if self._slots.get(slot.name) is slot:
            try:
                if slot.ready:
                    await self._close_model(slot.opening.result())
            finally:
                del self._slots[slot.name]
