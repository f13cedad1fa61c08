"""Which version of a model answers to which name, and how another one takes over while requests come in."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from diptych.serving.model_pool import ModelPool, OpenModel


class ModelKey(NamedTuple):
    """One model as certain bytes."""

    name: str
    version: str
    digest: str

    @property
    def reference(self) -> str:
        """How the repository knows it."""
        return f"{self.name}@{self.version}"


class Entry(Protocol):
    """What services tell of a model; a repository's manifest has it all."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def license(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def defaults(self) -> Mapping[str, Any]: ...
    @property
    def paths(self) -> Sequence[str]: ...
    @property
    def sources(self) -> Sequence[str]: ...


class Catalog(Protocol):
    """Where entries come from; `diptych.repository.ModelRepository` is one. Reads the disk.

    A reference is a name, `name@version`, or an alias of either.
    """

    def manifests(self) -> Sequence[Entry]:
        """All entries, by name and version."""

    def get(self, reference: str) -> Entry:
        """One entry, of the default version if the reference names none; ModelNotFound."""

    def state(self, reference: str) -> str:
        """READY when the files are on this machine, else NOT_PULLED."""

    def aliases(self) -> Mapping[str, str]:
        """Other names, and the reference that each stands for."""


T = TypeVar("T", bound=OpenModel)


class Lineup(Generic[T]):
    """Models of `pool` by reference.

    What a reference means is read from `catalog` when its model is not in memory, and by `load`; in between it stays
    as it is, whatever happens on the disk. So a swap is: put the new version on the disk, load the name. The old one
    serves until the new one is warm, finishes what it is at, and goes.
    """

    def __init__(self, catalog: Catalog, pool: ModelPool[ModelKey, T]) -> None:
        self.catalog = catalog
        self.pool = pool
        self._keys: dict[str, ModelKey] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def find(self, reference: str) -> T | None:
        """The model that answers to `reference`, if it is in memory."""
        key = self._keys.get(reference)
        return None if key is None else self.pool.find(key)

    async def key(self, reference: str) -> ModelKey:
        """What answers to `reference`; ModelNotFound."""
        known = self._keys.get(reference)
        if known is not None and self.pool.state(known) is not None:
            return known
        found = key_of(await asyncio.to_thread(self.catalog.get, reference))
        if self._keys.get(reference) == known:  # Else a load was faster, and knows better.
            self._keys[reference] = found
        return self._keys[reference]

    @asynccontextmanager
    async def use(self, reference: str) -> AsyncIterator[T]:
        """The model, opened if it is not; it stays for as long as the block lasts."""
        # What is on its way out is not waited for to be opened again: another version may have taken its place.
        while await self.pool.gone(key := await self.key(reference)):
            pass
        async with self.pool.use(key) as model:
            yield model

    async def load(self, reference: str) -> T:
        """The model that the repository has under `reference` now, warm. What it replaces goes when it is idle."""
        new = key_of(await asyncio.to_thread(self.catalog.get, reference))
        model = await self.pool.load(new)
        self._keys[reference] = new
        for other, key in list(self._keys.items()):
            if key.name == new.name and key != new:
                now = await asyncio.to_thread(self.catalog.get, other)
                if key_of(now) == new:
                    self._keys[other] = new
        serving = set(self._keys.values())
        for key in self.pool.known():
            # Side by side are versions that somebody asked for; whom nobody can reach any more goes.
            if key.name == new.name and key not in serving:
                leaving = asyncio.get_running_loop().create_task(self.pool.unload(key))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
        return model

    async def unload(self, reference: str) -> None:
        """Returns when the model that answers to `reference` is out of memory; its users finish first."""
        await self.pool.unload(await self.key(reference))


def key_of(entry: Entry) -> ModelKey:
    """The key of an entry as it is on the disk."""
    return ModelKey(entry.name, entry.version, entry.digest)
