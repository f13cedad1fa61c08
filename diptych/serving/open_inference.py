"""The Open Inference Protocol, version 2: raw tensors in and out of the graphs of this service's models.

A graph is named by its model and its place in the model's folder: `isnet` for `isnet/model.onnx`,
`diptych-icons.unet` for `diptych-icons/unet/model.onnx`. Calls share the engines, threads, batches and limits of the
other services of the process.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Mapping
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any, Protocol

import grpc

from diptych.errors import DiptychError, FieldViolation, InvalidRequest, NotFound
from diptych.inference import open_inference_pb2 as pb
from diptych.inference import open_inference_pb2_grpc as pb_grpc
from diptych.serving.admission import Admission
from diptych.serving.context import current_request
from diptych.serving.graphs import GRAPH_FILE, BatchedGraph
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.lineup import Entry, Lineup, key_of
from diptych.serving.model_pool import OpenModel
from diptych.serving.telemetry import Telemetry
from diptych.serving.tensors import fill_response, metadata_of, read_request
from diptych.v1 import model_pb2

SERVICE_NAME = "inference.GRPCInferenceService"

_VERSION = version("diptych")
_EXTENSIONS = ("model_repository", "binary_tensor_data")
_STATES = {model_pb2.MODEL_STATE_READY: "READY", model_pb2.MODEL_STATE_LOADING: "LOADING"}
# Requests of one stream that are at work or waiting while the oldest one's response is not sent.
_MOST_AHEAD = 16

Context = grpc.aio.ServicerContext[Any, Any]


class TensorModel(OpenModel, Protocol):
    """A model in memory, with its graphs by their place in its folder: "" or such as `unet`, `controlnet.edges`."""

    @property
    def graphs(self) -> Mapping[str, BatchedGraph]: ...


def graph_names(entry: Entry) -> dict[str, str]:
    """Place -> name of each graph of a model."""
    paths = [PurePosixPath(path) for path in entry.paths]
    places = [".".join(path.parent.parts) for path in paths if path.name == GRAPH_FILE]
    return {place: f"{entry.name}.{place}" if place else entry.name for place in places}


class OpenInferenceServicer(pb_grpc.GRPCInferenceServiceServicer):
    """Answers for the models of `lineup` whose task is one of `tasks`."""

    def __init__(
        self,
        lineup: Lineup[Any],
        admission: Admission,
        *,
        tasks: Collection[str],
        lifecycle: Lifecycle,
        telemetry: Telemetry,
    ) -> None:
        self._lineup = lineup
        self._admission = admission
        self._tasks = tasks
        self._lifecycle = lifecycle
        self._service = telemetry.service
        self._found: dict[str, tuple[str, str]] = {}

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """True: it answers."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Whether calls are accepted."""
        return pb.ServerReadyResponse(ready=self._lifecycle.accepts_work)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        """Name, version and extensions."""
        return pb.ServerMetadataResponse(name=f"diptych-{self._service}", version=_VERSION, extensions=_EXTENSIONS)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Whether the graph is in memory."""
        reference, _ = await self._place(request.name, request.version, "name")
        return pb.ModelReadyResponse(ready=self._lineup.pool.find(await self._lineup.key(reference)) is not None)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        """Inputs and outputs of the graph, opened if it is not."""
        reference, place = await self._place(request.name, request.version, "name")
        async with self._lineup.use(reference) as model:
            graph, used = _graph(model, place, request.name), model.ref
            others = [one.version for one in await asyncio.to_thread(self._entries) if one.name == used.name]
            return pb.ModelMetadataResponse(
                name=request.name,
                versions=[used.version, *(each for each in others if each != used.version)],
                platform=graph.engine.name,
                inputs=[metadata_of(spec) for spec in graph.engine.inputs],
                outputs=[metadata_of(spec) for spec in graph.outputs],
            )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """The graph's outputs."""
        return await self._infer(request)

    async def ModelStreamInfer(
        self, requests: AsyncIterable[pb.ModelInferRequest], context: Context
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        """A response for each request, in their order; several are at work at once."""
        answers: asyncio.Queue[asyncio.Task[pb.ModelStreamInferResponse] | None] = asyncio.Queue(_MOST_AHEAD)
        at_work: set[asyncio.Task[Any]] = set()

        async def read() -> None:
            try:
                async for request in requests:
                    answer = asyncio.create_task(self._answer(request))
                    at_work.add(answer)
                    answer.add_done_callback(at_work.discard)
                    await answers.put(answer)
            finally:
                await answers.put(None)

        reading = asyncio.create_task(read())
        try:
            while (answer := await answers.get()) is not None:
                yield await answer
            await reading
        finally:
            for task in (reading, *at_work):
                task.cancel()
            await asyncio.gather(reading, *at_work, return_exceptions=True)

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        """Every graph of every version."""
        response = pb.RepositoryIndexResponse()
        for entry in await asyncio.to_thread(self._entries):
            state, reason = self._lineup.pool.state(key_of(entry)) or (model_pb2.MODEL_STATE_AVAILABLE, "not loaded")
            word = _STATES.get(state, "UNAVAILABLE")
            if word == "READY" or not request.ready:
                for name in graph_names(entry).values():
                    response.models.add(name=name, version=entry.version, state=word, reason=reason)
        return response

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Returns when the model of that name is in memory and warm."""
        _refuse(request.parameters, ())
        await self._lineup.load(await self._model(request.model_name))
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Returns when the model of that name is out of memory."""
        _refuse(request.parameters, ("unload_dependents",))
        await self._lineup.unload(await self._model(request.model_name))
        return pb.RepositoryModelUnloadResponse()

    async def _infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        reference, place = await self._place(request.model_name, request.model_version, "model_name")
        deadline = current_request().deadline
        async with self._lineup.use(reference) as model:
            graph: BatchedGraph = _graph(model, place, request.model_name)
            inputs = await asyncio.to_thread(read_request, request, graph.engine.inputs, graph.outputs)
            wanted = [output.name for output in request.outputs] or None
            async with self._admission.permit(deadline):
                results = await graph.run(inputs, deadline, wanted)
            response = pb.ModelInferResponse(
                model_name=request.model_name, model_version=model.ref.version, id=request.id
            )
        typed = not request.raw_input_contents
        await asyncio.to_thread(fill_response, response, results, typed=typed)
        return response

    async def _answer(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
        try:
            response = await self._infer(request)
        except DiptychError as error:
            return pb.ModelStreamInferResponse(
                error_message=f"[{error.code_name}] {error.message}",
                infer_response=pb.ModelInferResponse(id=request.id),
            )
        response.parameters["triton_final_response"].bool_param = True
        return pb.ModelStreamInferResponse(infer_response=response)

    async def _place(self, name: str, version: str, field: str) -> tuple[str, str]:
        """Reference of the model and place of the graph in it, for a graph's name. NotFound names the graphs."""
        if not name:
            raise InvalidRequest.single(field, "is empty; give the name of a graph, RepositoryIndex has them")
        if name not in self._found:
            self._found[name] = await asyncio.to_thread(self._search, name)
        model, place = self._found[name]
        return (f"{model}@{version}" if version else model), place

    async def _model(self, name: str) -> str:
        """The reference of a model given as such or as one of its graphs."""
        entries = await asyncio.to_thread(self._entries)
        aliases = await asyncio.to_thread(self._lineup.catalog.aliases)
        if name.partition("@")[0] in {entry.name for entry in entries} | aliases.keys():
            entry = await asyncio.to_thread(self._lineup.catalog.get, name)
            if entry.task in self._tasks:
                return name
        return (await self._place(name, "", "model_name"))[0]

    def _search(self, name: str) -> tuple[str, str]:
        """Model and place of a graph; aliases of models count. Reads the disk."""
        graphs = {graph: (one.name, place) for one in self._entries() for place, graph in graph_names(one).items()}
        if name in graphs:
            return graphs[name]
        for alias, reference in self._lineup.catalog.aliases().items():
            entry = self._lineup.catalog.get(reference)
            for place in graph_names(entry) if entry.task in self._tasks else ():
                if name == (f"{alias}.{place}" if place else alias):
                    return alias, place
        raise NotFound(
            f"this service has no graph {name[:100]!r}; it has: {', '.join(sorted(graphs)) or 'none'}",
            reason="MODEL_NOT_FOUND",
            metadata={"model": name[:100]},
        )

    def _entries(self) -> list[Entry]:
        return [entry for entry in self._lineup.catalog.manifests() if entry.task in self._tasks]


def _graph(model: TensorModel, place: str, name: str) -> BatchedGraph:
    graph = model.graphs.get(place)
    if graph is None:
        raise NotFound(f"{name} is no graph that its model uses", reason="MODEL_NOT_FOUND", metadata={"model": name})
    return graph


def _refuse(parameters: Collection[str], known: Collection[str]) -> None:
    faults = [
        FieldViolation(f"parameters[{name}]", "is not served here; models come from the server's own repository")
        for name in parameters
        if name not in known
    ]
    if faults:
        raise InvalidRequest(faults)
