"""The editor put together: configuration, models, threads, server."""

import asyncio
import logging
from typing import ClassVar

import grpc
from pydantic import Field

from diptych.errors import ModelNotPulled
from diptych.images import ImageLimits
from diptych.inference import open_inference_pb2_grpc
from diptych.repository.repository import ModelRepository
from diptych.serving.admission import Admission
from diptych.serving.config import ServiceConfig
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.model_service import SERVICE_NAME as MODEL_SERVICE_NAME
from diptych.serving.model_service import ModelServicer
from diptych.serving.open_inference import SERVICE_NAME as OPEN_INFERENCE_NAME
from diptych.serving.open_inference import OpenInferenceServicer
from diptych.serving.server import ServiceServer
from diptych.serving.telemetry import Telemetry
from diptych.v1 import editor_pb2_grpc, model_pb2_grpc
from services.editor.context import ImageThreads
from services.editor.editing import Editor
from services.editor.models import TASKS, EditorModels
from services.editor.safeguard import Policy, Safeguard
from services.editor.seeing.safety import CLASSIFIER
from services.editor.service import SERVICE_NAME, EditorServicer

logger = logging.getLogger(__name__)

# Bytes of an answer that are not the picture.
_ROOM_FOR_RECORDS = 64 * 1024


class EditorConfig(ServiceConfig):
    """Settings of the editor, each also from the environment: DIPTYCH_EDITOR_PORT, or DIPTYCH_PORT."""

    service: ClassVar[str] = "editor"
    port: int = Field(50052, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    tile: int = Field(256, ge=64, le=2048, description="Side of the tiles that networks see, pixels.")
    safety: Policy = Field(
        "flag", description="What becomes of pictures that a classifier finds unsafe to show, on their way in or out."
    )
    safety_threshold: float = Field(
        0.7, ge=0, le=1, description="Least sum of the unsafe classes' scores that counts as unsafe."
    )
    memory_budget: int = Field(
        0, ge=0, description="Most memory for models, bytes; those used longest ago make room. 0: no limit."
    )
    preload: bool = Field(False, description="Open and warm all models before serving, not when first needed.")


async def build(config: EditorConfig) -> ServiceServer:
    """The editor, ready to start. FailedPrecondition without a folder of models, or a classifier that it must have."""
    telemetry, lifecycle = Telemetry(config.service), Lifecycle()
    repository = await asyncio.to_thread(ModelRepository, [config.models], config.cache)
    for fault in await asyncio.to_thread(repository.faults):
        logger.warning("a model is left out: %s", fault.message)
    models = EditorModels(
        repository,
        engine=config.engine,
        threads=config.threads,
        memory_budget=config.memory_budget,
        telemetry=telemetry,
    )
    threads = ImageThreads(config.max_running)
    lifecycle.on_stop(threads.close)
    lifecycle.on_stop(models.close)
    if config.preload:
        await models.preload()
    limits = ImageLimits(max_bytes=config.max_image_bytes, max_pixels=config.max_image_pixels)
    room = config.max_message_bytes - _ROOM_FOR_RECORDS
    editor = Editor(models, threads, limits, config.tile, room, await asyncio.to_thread(_safeguard, config, models))
    admission = Admission(config.max_running, config.max_queue, telemetry=telemetry)

    def add_services(server: grpc.aio.Server) -> None:
        editor_pb2_grpc.add_EditorServiceServicer_to_server(EditorServicer(editor, admission), server)
        catalog = ModelServicer(models.lineup, tasks=TASKS)
        model_pb2_grpc.add_ModelServiceServicer_to_server(catalog, server)
        tensors = OpenInferenceServicer(models.lineup, admission, tasks=TASKS, lifecycle=lifecycle, telemetry=telemetry)
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(tensors, server)

    return ServiceServer(
        config,
        add_services=add_services,
        service_names=[SERVICE_NAME, MODEL_SERVICE_NAME, OPEN_INFERENCE_NAME],
        lifecycle=lifecycle,
        telemetry=telemetry,
    )


def _safeguard(config: EditorConfig, models: EditorModels) -> Safeguard:
    """The policy; ModelNotPulled if it is to block and there is nothing to block by."""
    ready = models.state(CLASSIFIER) == "READY"
    if not ready and config.safety == "block":
        raise ModelNotPulled(CLASSIFIER)
    if not ready and config.safety == "flag":
        logger.warning("pictures are not checked for safety: %s is not pulled", CLASSIFIER)
    return Safeguard(config.safety, config.safety_threshold, ready)
