"""ModelService: which models a service has, where each is in its life, and into memory and out with them."""

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import grpc

from diptych.errors import InvalidRequest, ModelNotPulled, NotFound
from diptych.serving.model_pool import ModelPool
from diptych.v1 import image_pb2, model_pb2, model_pb2_grpc

SERVICE_NAME = "diptych.v1.ModelService"

Context = grpc.aio.ServicerContext[Any, Any]


class Entry(Protocol):
    """What the service tells of a model; a repository's manifest has it all."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
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


class ModelCatalog(Protocol):
    """Where entries come from; `diptych.repository.ModelRepository` is one."""

    def manifests(self) -> Sequence[Entry]:
        """All entries."""

    def state(self, name: str) -> str:
        """READY when the files are on this machine, else NOT_PULLED."""


def model_ref(entry: Entry, *, digest: str, engine: str) -> image_pb2.ModelRef:
    """How records name the model that did the work: `entry` as loaded from files of `digest`, run by `engine`."""
    return image_pb2.ModelRef(
        name=entry.name,
        version=entry.version,
        digest=digest,
        kind=image_pb2.ModelKind.Value(f"MODEL_KIND_{entry.kind}"),
        engine=engine,
        precision=entry.precision,
    )


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Answers from `catalog` for the models whose task is one of `tasks`; those in memory are in `pool`."""

    def __init__(self, catalog: ModelCatalog, pool: ModelPool[Any], *, tasks: Collection[str]) -> None:
        self._catalog = catalog
        self._pool = pool
        self._tasks = tasks

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: Context) -> model_pb2.ListModelsResponse:
        """All models of this service by name, or those for one task."""
        models = [self._model(*found) for found in await asyncio.to_thread(self._entries)]
        return model_pb2.ListModelsResponse(
            models=[model for model in models if not request.task or model.task == request.task]
        )

    async def GetModel(self, request: model_pb2.GetModelRequest, context: Context) -> model_pb2.GetModelResponse:
        """One model. NotFound says which there are."""
        return model_pb2.GetModelResponse(model=await self._one(request.name, request.version))

    async def LoadModel(self, request: model_pb2.LoadModelRequest, context: Context) -> model_pb2.LoadModelResponse:
        """The model once it is in memory and warm. ModelNotPulled when its files are not here."""
        model = await self._one(request.name, request.version)
        if model.state == model_pb2.MODEL_STATE_NOT_PULLED:
            raise ModelNotPulled(request.name)
        await self._pool.load(request.name)
        return model_pb2.LoadModelResponse(model=await self._one(request.name, request.version))

    async def UnloadModel(
        self, request: model_pb2.UnloadModelRequest, context: Context
    ) -> model_pb2.UnloadModelResponse:
        """The model once it is out of memory; what it is at work on is finished first."""
        await self._one(request.name, request.version)
        await self._pool.unload(request.name)
        return model_pb2.UnloadModelResponse(model=await self._one(request.name, request.version))

    async def _one(self, name: str, version: str) -> model_pb2.Model:
        if not name:
            raise InvalidRequest.single("name", "is empty; give the name of a model, ListModels has them")
        entries = await asyncio.to_thread(self._entries)
        for entry, pulled in entries:
            if entry.name == name and version in ("", entry.version):
                return self._model(entry, pulled)
        asked = f"{name} {version}".strip()
        known = ", ".join(f"{entry.name} {entry.version}" for entry, _ in entries) or "none"
        raise NotFound(
            f"this service has no model {asked!r}; it has: {known}", reason="MODEL_NOT_FOUND", metadata={"model": name}
        )

    def _entries(self) -> list[tuple[Entry, bool]]:
        """Entries by name, and whether their files are here. Reads the disk, so never on the event loop."""
        entries = sorted(self._catalog.manifests(), key=lambda entry: entry.name)
        return [(entry, self._catalog.state(entry.name) == "READY") for entry in entries if entry.task in self._tasks]

    def _model(self, entry: Entry, pulled: bool) -> model_pb2.Model:
        kind = image_pb2.ModelKind.Value(f"MODEL_KIND_{entry.kind}")
        ref = image_pb2.ModelRef(name=entry.name, version=entry.version, kind=kind, precision=entry.precision)
        if (known := self._pool.state(entry.name)) is not None:
            state, detail = known
        elif pulled:
            state, detail = model_pb2.MODEL_STATE_AVAILABLE, ""
        else:
            state, detail = model_pb2.MODEL_STATE_NOT_PULLED, f"run: diptych models pull {entry.name}"
        opened = self._pool.find(entry.name)
        return model_pb2.Model(
            ref=opened.ref if opened is not None else ref,
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
        )
