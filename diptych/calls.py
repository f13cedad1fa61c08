"""One thin method for each RPC: takes and gives v1 messages, raises `DiptychError`.

`timeout` is in seconds; None waits as long as the server does. `metadata` goes along as headers; without an
`x-request-id` in it the call gets a new one. Streams are cancelled on the server when their iterator is closed.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from grpc_health.v1 import health_pb2, health_pb2_grpc

from diptych.connection import Connection, Tls, default_address
from diptych.errors import InvalidRequest, NotFound, ServiceUnavailable
from diptych.v1 import editor_pb2 as editor
from diptych.v1 import generator_pb2 as generator
from diptych.v1 import model_pb2 as model
from diptych.v1 import orchestrator_pb2 as orchestrator
from diptych.v1.editor_pb2_grpc import EditorServiceStub
from diptych.v1.generator_pb2_grpc import GeneratorServiceStub
from diptych.v1.model_pb2_grpc import ModelServiceStub
from diptych.v1.orchestrator_pb2_grpc import OrchestratorServiceStub

if TYPE_CHECKING:
    from diptych.v1.editor_pb2_grpc import EditorServiceAsyncStub
    from diptych.v1.generator_pb2_grpc import GeneratorServiceAsyncStub
    from diptych.v1.model_pb2_grpc import ModelServiceAsyncStub
    from diptych.v1.orchestrator_pb2_grpc import OrchestratorServiceAsyncStub

Headers = Mapping[str, str]
ServiceName = Literal["orchestrator", "generator", "editor"]
_FULL_NAMES = {
    "orchestrator": "diptych.v1.OrchestratorService",
    "generator": "diptych.v1.GeneratorService",
    "editor": "diptych.v1.EditorService",
}


class Calls:
    """Every RPC of the three services. Channels open when they are first needed."""

    def __init__(
        self,
        address: str | None = None,
        *,
        generator_address: str | None = None,
        editor_address: str | None = None,
        token: str | None = None,
        tls: Tls | None = None,
        allow_insecure: bool | None = None,
    ) -> None:
        token = token or os.environ.get("DIPTYCH_TOKEN") or None
        if allow_insecure is None:
            allow_insecure = os.environ.get("DIPTYCH_ALLOW_INSECURE", "").lower() in {"1", "true", "yes"}
        given = {"orchestrator": address, "generator": generator_address, "editor": editor_address}
        self._connections = {
            service: Connection(
                service, at or default_address(service), token=token, tls=tls, allow_insecure=allow_insecure
            )
            for service, at in given.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends every connection and the calls on them. Another call afterwards opens new ones."""
        for connection in self._connections.values():
            await connection.close()
        for name in [name for name in vars(self) if name.endswith("_stub")]:
            delattr(self, name)

    def address_of(self, service: ServiceName) -> str:
        """Where this client calls a service."""
        return self._connection(service).address

    async def health(
        self, service: ServiceName = "orchestrator", *, timeout: float | None = 5.0, metadata: Headers | None = None
    ) -> bool:
        """Whether the service takes work now. ServiceUnavailable when nothing answers; False while it drains."""
        connection = self._connection(service)
        stub = health_pb2_grpc.HealthStub(connection.channel)
        request = health_pb2.HealthCheckRequest(service=_FULL_NAMES[service])
        try:
            answer = await connection.call(stub.Check, request, timeout, metadata)
        except NotFound:
            raise ServiceUnavailable(
                service, f"the server at {connection.address} is not a diptych {service}"
            ) from None
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    @cached_property
    def _generator_stub(self) -> "GeneratorServiceAsyncStub":
        return GeneratorServiceStub(self._connections["generator"].channel)

    async def generate_image(
        self, request: generator.GenerateImageRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> generator.GenerateImageResponse:
        """Makes pictures and answers when all are done."""
        return await self._connections["generator"].call(self._generator_stub.GenerateImage, request, timeout, metadata)

    def stream_generate_image(
        self,
        request: generator.StreamGenerateImageRequest,
        *,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> AsyncGenerator[generator.StreamGenerateImageResponse, None]:
        """Makes pictures, watched: `accepted`, `progress`, `preview`, `image`, `completed`."""
        return self._connections["generator"].stream(
            self._generator_stub.StreamGenerateImage, request, timeout, metadata
        )

    def stream_animate_latents(
        self,
        request: generator.StreamAnimateLatentsRequest,
        *,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> AsyncGenerator[generator.StreamAnimateLatentsResponse, None]:
        """A film through latent space, watched."""
        return self._connections["generator"].stream(
            self._generator_stub.StreamAnimateLatents, request, timeout, metadata
        )

    @cached_property
    def _editor_stub(self) -> "EditorServiceAsyncStub":
        return EditorServiceStub(self._connections["editor"].channel)

    async def edit_image(
        self, request: editor.EditImageRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> editor.EditImageResponse:
        """Applies operations and answers when all are done."""
        return await self._connections["editor"].call(self._editor_stub.EditImage, request, timeout, metadata)

    def stream_edit_image(
        self, request: editor.StreamEditImageRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> AsyncGenerator[editor.StreamEditImageResponse, None]:
        """Applies operations, watched: `accepted`, `progress`, `step`, `image`, `completed`."""
        return self._connections["editor"].stream(self._editor_stub.StreamEditImage, request, timeout, metadata)

    async def analyze_image(
        self, request: editor.AnalyzeImageRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> editor.AnalyzeImageResponse:
        """What is in a picture, and how it is lit."""
        return await self._connections["editor"].call(self._editor_stub.AnalyzeImage, request, timeout, metadata)

    async def select_region(
        self, request: editor.SelectRegionRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> editor.SelectRegionResponse:
        """A mask for a part of a picture."""
        return await self._connections["editor"].call(self._editor_stub.SelectRegion, request, timeout, metadata)

    def stream_animate_image(
        self,
        request: editor.StreamAnimateImageRequest,
        *,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> AsyncGenerator[editor.StreamAnimateImageResponse, None]:
        """A film of a still, watched."""
        return self._connections["editor"].stream(self._editor_stub.StreamAnimateImage, request, timeout, metadata)

    @cached_property
    def _orchestrator_stub(self) -> "OrchestratorServiceAsyncStub":
        return OrchestratorServiceStub(self._connections["orchestrator"].channel)

    async def plan_goal(
        self, request: orchestrator.PlanGoalRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> orchestrator.PlanGoalResponse:
        """What would be done, and why. Runs nothing."""
        return await self._connections["orchestrator"].call(
            self._orchestrator_stub.PlanGoal, request, timeout, metadata
        )

    def run_goal(
        self, request: orchestrator.RunGoalRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> AsyncGenerator[orchestrator.RunGoalResponse, None]:
        """Plans and runs, watched."""
        return self._connections["orchestrator"].stream(self._orchestrator_stub.RunGoal, request, timeout, metadata)

    def run_plan(
        self, request: orchestrator.RunPlanRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> AsyncGenerator[orchestrator.RunPlanResponse, None]:
        """Runs a plan that the caller saw, or changed."""
        return self._connections["orchestrator"].stream(self._orchestrator_stub.RunPlan, request, timeout, metadata)

    async def create_job(
        self, request: orchestrator.CreateJobRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> orchestrator.CreateJobResponse:
        """Takes a goal or a plan as a durable job."""
        return await self._connections["orchestrator"].call(
            self._orchestrator_stub.CreateJob, request, timeout, metadata
        )

    async def get_job(
        self, request: orchestrator.GetJobRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> orchestrator.GetJobResponse:
        """One job."""
        return await self._connections["orchestrator"].call(self._orchestrator_stub.GetJob, request, timeout, metadata)

    async def list_jobs(
        self, request: orchestrator.ListJobsRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> orchestrator.ListJobsResponse:
        """The caller's jobs, newest first."""
        return await self._connections["orchestrator"].call(
            self._orchestrator_stub.ListJobs, request, timeout, metadata
        )

    def watch_job(
        self, request: orchestrator.WatchJobRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> AsyncGenerator[orchestrator.WatchJobResponse, None]:
        """A job's events, past ones first."""
        return self._connections["orchestrator"].stream(self._orchestrator_stub.WatchJob, request, timeout, metadata)

    async def cancel_job(
        self, request: orchestrator.CancelJobRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> orchestrator.CancelJobResponse:
        """Stops a job."""
        return await self._connections["orchestrator"].call(
            self._orchestrator_stub.CancelJob, request, timeout, metadata
        )

    async def delete_job(
        self, request: orchestrator.DeleteJobRequest, *, timeout: float | None = None, metadata: Headers | None = None
    ) -> orchestrator.DeleteJobResponse:
        """Forgets a job that has ended."""
        return await self._connections["orchestrator"].call(
            self._orchestrator_stub.DeleteJob, request, timeout, metadata
        )

    def download_artifact(
        self,
        request: orchestrator.DownloadArtifactRequest,
        *,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> AsyncGenerator[orchestrator.DownloadArtifactResponse, None]:
        """Stored bytes, in chunks."""
        return self._connections["orchestrator"].stream(
            self._orchestrator_stub.DownloadArtifact, request, timeout, metadata
        )

    async def upload_artifact(
        self,
        requests: AsyncIterator[orchestrator.UploadArtifactRequest] | Iterator[orchestrator.UploadArtifactRequest],
        *,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> orchestrator.UploadArtifactResponse:
        """Stores bytes: the header first, then chunks of at most 1 MiB."""
        return await self._connections["orchestrator"].send(
            self._orchestrator_stub.UploadArtifact, requests, timeout, metadata
        )

    async def list_models(
        self,
        request: model.ListModelsRequest,
        *,
        service: ServiceName,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> model.ListModelsResponse:
        """The models of a service. `service`: generator or editor."""
        connection, stub = self._models(service)
        return await connection.call(stub.ListModels, request, timeout, metadata)

    async def get_model(
        self,
        request: model.GetModelRequest,
        *,
        service: ServiceName,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> model.GetModelResponse:
        """One model of a service. `service`: generator or editor."""
        connection, stub = self._models(service)
        return await connection.call(stub.GetModel, request, timeout, metadata)

    async def load_model(
        self,
        request: model.LoadModelRequest,
        *,
        service: ServiceName,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> model.LoadModelResponse:
        """Loads and warms a model. `service`: generator or editor."""
        connection, stub = self._models(service)
        return await connection.call(stub.LoadModel, request, timeout, metadata)

    async def unload_model(
        self,
        request: model.UnloadModelRequest,
        *,
        service: ServiceName,
        timeout: float | None = None,
        metadata: Headers | None = None,
    ) -> model.UnloadModelResponse:
        """Unloads a model once its running work is done. `service`: generator or editor."""
        connection, stub = self._models(service)
        return await connection.call(stub.UnloadModel, request, timeout, metadata)

    def _models(self, service: ServiceName) -> "tuple[Connection, ModelServiceAsyncStub]":
        if service == "orchestrator":
            raise InvalidRequest.single("service", "the orchestrator has no models of its own; ask generator or editor")
        connection = self._connection(service)
        return connection, ModelServiceStub(connection.channel)

    def _connection(self, service: ServiceName) -> Connection:
        if service not in self._connections:
            raise InvalidRequest.single("service", f"{service!r} is none of {', '.join(self._connections)}")
        return self._connections[service]
