"""The orchestrator put together: configuration, intent model, worker, client, server."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from platformdirs import user_state_path
from pydantic import Field, FilePath, SecretStr, field_validator, model_validator

from diptych.client import AsyncClient
from diptych.connection import Tls
from diptych.repository import ModelRepository
from diptych.serving.admission import Admission
from diptych.serving.config import MIB, ServiceConfig
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.server import ServiceServer
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker
from diptych.v1.orchestrator_pb2_grpc import add_OrchestratorServiceServicer_to_server
from services.orchestrator.catalog import CatalogReader
from services.orchestrator.goals import Goals, Memory, Understand
from services.orchestrator.intent import Intent, IntentModel
from services.orchestrator.memory.conversations import Conversations
from services.orchestrator.memory.estimating import Estimator
from services.orchestrator.memory.history import History
from services.orchestrator.memory.store import Store
from services.orchestrator.planning.profiles import read_profiles
from services.orchestrator.running.executor import Executor
from services.orchestrator.service import OrchestratorServicer

if TYPE_CHECKING:
    from services.orchestrator.language.language_model import LanguageModel

# The first calls of a session are the slow ones: they are made before anybody waits.
_WARM_UP_GOALS = ("draw a red apple icon and cut out the background", "warm up")


class OrchestratorConfig(ServiceConfig):
    """Settings of the orchestrator, each also from the environment: DIPTYCH_ORCHESTRATOR_PORT, or DIPTYCH_PORT."""

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
    state: Path | None = Field(None, description="Folder of conversations and measured times; default: the user's.")
    conversation_hours: float = Field(24.0, gt=0, description="How long a conversation is kept after each turn.")
    conversation_bytes: int = Field(256 * MIB, ge=1, description="Pictures kept for one caller, bytes.")
    profiles: Path | None = Field(None, description="TOML file of profiles, or a folder of such files.")
    llm_url: str = Field("", description="Language model that plans: an OpenAI-compatible address up to /v1.")
    llm_model: str = Field("", description="Name of that model.")
    llm_key: SecretStr | None = Field(None, description="Its key; better given by the environment than as a flag.")
    llm_seconds: float = Field(20.0, gt=0, description="Time for it to plan; then the built-in planner does, seconds.")

    @field_validator("profiles")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        read_profiles(path)
        return path

    @model_validator(mode="after")
    def _named_model(self) -> "OrchestratorConfig":
        if self.llm_url and not self.llm_model:
            raise ValueError("--llm-url needs --llm-model, the name of the model there")
        return self


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
    if config.state is None:
        config = config.model_copy(update={"state": user_state_path("diptych")})
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
    state = Worker("state")
    store = Store(config.state)
    profiles = read_profiles(config.profiles)
    conversations = Conversations(store, config.conversation_hours * 3600, config.conversation_bytes)
    memory = Memory(state, conversations, Estimator(History(store)), profiles)
    catalog = CatalogReader(client)
    language_model = _language_model(config)

    async def close_store() -> None:
        await state.run(store.close)
        await state.close()

    for close in (worker.close, client.close, catalog.close, close_store):
        lifecycle.on_stop(close)
    if language_model is not None:
        lifecycle.on_stop(language_model.close)
    goals = Goals(
        understand,
        worker=worker,
        planning=Admission(1, config.max_queue, telemetry=telemetry),
        memory=memory,
        catalog=catalog,
        language_model=language_model,
        profiles=profiles,
    )
    servicer = OrchestratorServicer(
        goals,
        memory,
        Executor(client, parallel_calls=config.parallel_calls, timed=memory.estimator.learn),
        running=Admission(config.max_running, config.max_queue, telemetry=telemetry),
        profiles=profiles,
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


def _language_model(config: OrchestratorConfig) -> "LanguageModel | None":
    if not config.llm_url:
        return None
    from services.orchestrator.language.language_model import LanguageModel  # needs the extra [llm]

    return LanguageModel(config.llm_url, config.llm_model, config.llm_key, seconds=config.llm_seconds)


def _load(config: OrchestratorConfig) -> IntentModel:
    model = ModelRepository([config.models], config.cache).open(config.intent_model)
    return IntentModel.load(model.directory, num_threads=config.threads or 1)
