"""ModelService: which models a service has, and where each is in its life."""

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import grpc

from diptych.errors import InvalidRequest, NotFound, Unsupported
from diptych.v1 import image_pb2, model_pb2, model_pb2_grpc

SERVICE_NAME = "diptych.v1.ModelService"


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
    """Answers from `catalog` for the models whose task is one of `tasks` (all when None).

    `loaded` holds the refs of the models that are warm now; the service that owns them keeps it up to date.
    """

    def __init__(
        self,
        catalog: ModelCatalog,
        *,
        loaded: Mapping[str, image_pb2.ModelRef] | None = None,
        tasks: Collection[str] | None = None,
    ) -> None:
        self._catalog = catalog
        self._loaded = loaded if loaded is not None else {}
        self._tasks = tasks

    async def ListModels(
        self, request: model_pb2.ListModelsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> model_pb2.ListModelsResponse:
        """All models of this service by name, or those for one task."""
        models = await asyncio.to_thread(self._models)
        return model_pb2.ListModelsResponse(
            models=[model for model in models if not request.task or model.task == request.task]
        )

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> model_pb2.GetModelResponse:
        """One model. NotFound says which there are."""
        if not request.name:
            raise InvalidRequest.single("name", "is empty; give the name of a model, ListModels has them")
        models = await asyncio.to_thread(self._models)
        for model in models:
            if model.ref.name == request.name and request.version in ("", model.ref.version):
                return model_pb2.GetModelResponse(model=model)
        asked = f"{request.name} {request.version}".strip()
        known = ", ".join(f"{model.ref.name} {model.ref.version}" for model in models) or "none"
        raise NotFound(
            f"this service has no model {asked!r}; it has: {known}",
            reason="MODEL_NOT_FOUND",
            metadata={"model": request.name},
        )

    async def LoadModel(
        self, request: model_pb2.LoadModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> model_pb2.LoadModelResponse:
        """Unsupported: models are loaded when the service starts."""
        raise Unsupported("models are loaded when the service starts; restart it to load others")

    async def UnloadModel(
        self, request: model_pb2.UnloadModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> model_pb2.UnloadModelResponse:
        """Unsupported: models stay loaded while the service runs."""
        raise Unsupported("models stay loaded while the service runs; stop it to free their memory")

    def _models(self) -> list[model_pb2.Model]:
        """Reads the repository's disk, so never on the event loop."""
        entries = sorted(self._catalog.manifests(), key=lambda entry: entry.name)
        return [self._model(entry) for entry in entries if self._tasks is None or entry.task in self._tasks]

    def _model(self, entry: Entry) -> model_pb2.Model:
        kind = image_pb2.ModelKind.Value(f"MODEL_KIND_{entry.kind}")
        ref = image_pb2.ModelRef(name=entry.name, version=entry.version, kind=kind, precision=entry.precision)
        state = model_pb2.MODEL_STATE_NOT_PULLED
        detail = f"run: diptych models pull {entry.name}"
        if (warm := self._loaded.get(entry.name)) is not None:
            ref, state, detail = warm, model_pb2.MODEL_STATE_READY, ""
        elif self._catalog.state(entry.name) == "READY":
            state, detail = model_pb2.MODEL_STATE_AVAILABLE, ""
        return model_pb2.Model(
            ref=ref,
            task=entry.task,
            state=state,
            license=entry.license,
            origin=entry.origin,
            description=entry.description,
            defaults={
                name: value if isinstance(value, str) else json.dumps(value) for name, value in entry.defaults.items()
            },
            detail=detail,
        )
