"""ModelService: which models a service has, where each is in its life, and into memory and out with them."""

import asyncio
import contextlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import grpc

from diptych.errors import InvalidRequest, ModelNotFound, ModelNotPulled, NotFound
from diptych.serving.lineup import Entry, Lineup, ModelKey, key_of
from diptych.v1 import image_pb2, model_pb2, model_pb2_grpc

SERVICE_NAME = "diptych.v1.ModelService"

Context = grpc.aio.ServicerContext[Any, Any]


def model_ref(entry: Entry, *, digest: str, engine: str, precision: str) -> image_pb2.ModelRef:
    """How records name the model that did the work: `entry` as loaded from files of `digest`, run by `engine` with
    weights of `precision`."""
    return image_pb2.ModelRef(
        name=entry.name,
        version=entry.version,
        digest=digest,
        kind=image_pb2.ModelKind.Value(f"MODEL_KIND_{entry.kind}"),
        engine=engine,
        precision=precision,
    )


@dataclass(frozen=True)
class _Facts:
    """An entry and what the repository says of it."""

    entry: Entry
    pulled: bool
    default: bool
    aliases: tuple[str, ...]


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Answers for the models of `lineup` whose task is one of `tasks`."""

    def __init__(self, lineup: Lineup[Any], *, tasks: Collection[str]) -> None:
        self._catalog = lineup.catalog
        self._lineup = lineup
        self._pool = lineup.pool
        self._tasks = tasks

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: Context) -> model_pb2.ListModelsResponse:
        """All models of this service by name and version, or those for one task."""
        models = [self._model(each) for each in await asyncio.to_thread(self._facts)]
        return model_pb2.ListModelsResponse(
            models=[model for model in models if not request.task or model.task == request.task],
            memory_bytes=self._pool.memory_bytes,
            memory_budget_bytes=self._pool.max_bytes or 0,
        )

    async def GetModel(self, request: model_pb2.GetModelRequest, context: Context) -> model_pb2.GetModelResponse:
        """One model. NotFound says which there are."""
        _, model = await self._one(request.name, request.version)
        return model_pb2.GetModelResponse(model=model)

    async def LoadModel(self, request: model_pb2.LoadModelRequest, context: Context) -> model_pb2.LoadModelResponse:
        """The model once it is in memory and warm. ModelNotPulled when its files are not here."""
        reference, model = await self._one(request.name, request.version)
        if model.state == model_pb2.MODEL_STATE_NOT_PULLED:
            raise ModelNotPulled(reference)
        await self._lineup.load(reference)
        _, model = await self._one(request.name, request.version)
        return model_pb2.LoadModelResponse(model=model)

    async def UnloadModel(
        self, request: model_pb2.UnloadModelRequest, context: Context
    ) -> model_pb2.UnloadModelResponse:
        """The model once it is out of memory; what it is at work on is finished first."""
        reference, _ = await self._one(request.name, request.version)
        await self._lineup.unload(reference)
        _, model = await self._one(request.name, request.version)
        return model_pb2.UnloadModelResponse(model=model)

    async def _one(self, name: str, version: str) -> tuple[str, model_pb2.Model]:
        """Reference and state of one model of this service."""
        if not name:
            raise InvalidRequest.single("name", "is empty; give the name of a model, ListModels has them")
        reference = f"{name}@{version}" if version else name
        facts = await asyncio.to_thread(self._facts)
        with contextlib.suppress(ModelNotFound):
            key = key_of(await asyncio.to_thread(self._catalog.get, reference))
            for each in facts:
                if key_of(each.entry) == key:
                    return reference, self._model(each)
        known = ", ".join(f"{each.entry.name} {each.entry.version}" for each in facts) or "none"
        raise NotFound(
            f"this service has no model {f'{name} {version}'.strip()!r}; it has: {known}",
            reason="MODEL_NOT_FOUND",
            metadata={"model": name},
        )

    def _facts(self) -> list[_Facts]:
        """Entries by name and version, and what the disk tells of them: never to be read on the event loop."""
        catalog = self._catalog
        entries = [entry for entry in catalog.manifests() if entry.task in self._tasks]
        known = {entry.name for entry in entries}
        defaults = {name: key_of(catalog.get(name)) for name in known}
        aliases: dict[ModelKey, list[str]] = {}
        for alias, reference in catalog.aliases().items():
            if reference.partition("@")[0] in known:
                aliases.setdefault(key_of(catalog.get(reference)), []).append(alias)
        facts = []
        for entry in entries:
            key = key_of(entry)
            pulled = catalog.state(key.reference) == "READY"
            facts.append(_Facts(entry, pulled, defaults[entry.name] == key, tuple(aliases.get(key, ()))))
        return facts

    def _model(self, facts: _Facts) -> model_pb2.Model:
        entry, key = facts.entry, key_of(facts.entry)
        if (known := self._pool.state(key)) is not None:
            state, detail = known
        elif facts.pulled:
            state, detail = model_pb2.MODEL_STATE_AVAILABLE, ""
        else:
            reference = entry.name if facts.default else key.reference
            state, detail = model_pb2.MODEL_STATE_NOT_PULLED, f"run: diptych models pull {reference}"
        opened = self._pool.find(key)
        return model_pb2.Model(
            ref=opened.ref if opened is not None else model_ref(entry, digest="", engine="", precision=entry.precision),
            task=entry.task,
            state=state,
            license=entry.license,
            origin=entry.origin,
            description=entry.description,
            defaults={
                name: value if isinstance(value, str) else json.dumps(value) for name, value in entry.defaults.items()
            },
            memory_bytes=opened.memory_bytes if opened is not None else 0,
            detail=detail,
            sources=entry.sources,
            default_version=facts.default,
            aliases=facts.aliases,
        )
