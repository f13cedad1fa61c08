"""The orchestrator put together: configuration, intent model, worker, client, server."""

from typing import ClassVar

from pydantic import Field, FilePath

from diptych.client import AsyncClient
from diptych.connection import Tls
from diptych.repository import ModelRepository
from diptych.serving.admission import Admission
from diptych.serving.config import ServiceConfig
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.server import ServiceServer
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker
from diptych.v1.orchestrator_pb2_grpc import add_OrchestratorServiceServicer_to_server
from services.orchestrator.executor import Executor
from services.orchestrator.intent import Intent, IntentModel
from services.orchestrator.service import OrchestratorServicer, Understand

# The first calls of a session are the slow ones: they are made before anybody waits.
_WARM_UP_GOALS = ("draw a red apple icon and cut out the background", "warm up")


class OrchestratorConfig(ServiceConfig):
    """What the orchestrator can be told."""

    service: ClassVar[str] = "orchestrator"

    port: int = Field(50050, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    generator_address: str = Field("127.0.0.1:50051", description="Where the generator is, host:port.")
    editor_address: str = Field("127.0.0.1:50052", description="Where the editor is, host:port.")
    peer_ca: FilePath | None = Field(
        None, description="CA of generator and editor, PEM; with it they are called by TLS."
    )
    intent_model: str = Field("diptych-intent", description="Model that reads goals.")
    goal_seconds: float = Field(600.0, gt=0, description="Time for a goal whose caller sets no deadline, seconds.")
    max_running: int = Field(16, ge=1, description="Goals at work at once.")
    parallel_calls: int = Field(4, ge=1, description="Calls of one goal at once.")


async def build(config: OrchestratorConfig) -> ServiceServer:
    """The server, its intent model loaded and warm. DiptychError when the model cannot be had."""
    worker = Worker("intent")
    model = await worker.run(_load, config)

    def understand(goal: str, has_image: bool) -> Intent:
        return model.understand(goal, has_image=has_image)

    async def close_model() -> None:
        await worker.run(model.close)

    for goal in _WARM_UP_GOALS:
        await worker.run(understand, goal, False)
    server = assemble(config, understand, worker)
    server.lifecycle.on_stop(close_model)
    return server


def assemble(config: OrchestratorConfig, understand: Understand, worker: Worker | None = None) -> ServiceServer:
    """A server that reads goals by `understand`, called on `worker`."""
    worker = worker or Worker("intent")
    lifecycle, telemetry = Lifecycle(), Telemetry(config.service)
    client = AsyncClient(
        generator_address=config.generator_address,
        editor_address=config.editor_address,
        tls=Tls(ca=config.peer_ca) if config.peer_ca is not None else None,
        allow_insecure=config.allow_insecure or None,
    )
    lifecycle.on_stop(worker.close)
    lifecycle.on_stop(client.close)
    servicer = OrchestratorServicer(
        understand,
        Executor(client, parallel_calls=config.parallel_calls),
        worker=worker,
        planning=Admission(1, config.max_queue, telemetry=telemetry),
        running=Admission(config.max_running, config.max_queue, telemetry=telemetry),
        max_image_bytes=config.max_image_bytes,
        goal_seconds=config.goal_seconds,
    )
    return ServiceServer(
        config,
        add_services=lambda server: add_OrchestratorServiceServicer_to_server(servicer, server),
        service_names=["diptych.v1.OrchestratorService"],
        lifecycle=lifecycle,
        telemetry=telemetry,
    )


def _load(config: OrchestratorConfig) -> IntentModel:
    model = ModelRepository([config.models], config.cache).open(config.intent_model)
    return IntentModel.load(model.directory, num_threads=config.threads or 1)
