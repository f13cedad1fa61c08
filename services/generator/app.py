"""The generator put together: configuration, models, threads, batcher, server."""

import asyncio
import logging
from typing import ClassVar

import grpc
from pydantic import Field

from diptych.images import ImageLimits
from diptych.inference import open_inference_pb2_grpc
from diptych.repository import ModelRepository
from diptych.serving.admission import Admission
from diptych.serving.config import ServiceConfig
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.model_service import SERVICE_NAME as MODEL_SERVICE_NAME
from diptych.serving.model_service import ModelServicer
from diptych.serving.open_inference import SERVICE_NAME as OPEN_INFERENCE_NAME
from diptych.serving.open_inference import OpenInferenceServicer
from diptych.serving.server import ServiceServer
from diptych.serving.telemetry import Telemetry
from diptych.v1 import generator_pb2_grpc, model_pb2_grpc
from services.generator.animate import Animator
from services.generator.generation import Generator
from services.generator.models import TASK, GeneratorModels, Stages
from services.generator.service import SERVICE_NAME, GeneratorServicer

logger = logging.getLogger(__name__)

# Bytes of an answer that are not the film.
_ROOM_FOR_RECORDS = 64 * 1024


class GeneratorConfig(ServiceConfig):
    """Settings of the generator, each also from the environment: DIPTYCH_GENERATOR_PORT, or DIPTYCH_PORT."""

    service: ClassVar[str] = "generator"

    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    model: str = Field("diptych-icons", min_length=1, description="Who draws when a request names no model.")
    preload_models: str = Field("", description="More models to open before serving, with commas between the names.")
    max_models: int = Field(4, ge=1, description="Models in memory at once; the one used longest ago makes room.")
    memory_budget: int = Field(
        0, ge=0, description="Most memory for models, bytes; those used longest ago make room. 0: no limit."
    )
    max_rows: int = Field(8, ge=1, le=64, description="Pictures in one denoiser call; bounds its memory.")
    # Requests share the running batch, so many may be at work.
    max_running: int = Field(32, ge=1, description="Requests at work at once.")


async def build(config: GeneratorConfig) -> ServiceServer:
    """The server, its default model open and warm. DiptychError when that cannot be had."""
    repository = await asyncio.to_thread(ModelRepository, [config.models], config.cache, users=True)
    for fault in await asyncio.to_thread(repository.faults):
        logger.warning("a model is left out: %s", fault.message)
    telemetry, lifecycle = Telemetry(config.service), Lifecycle()
    models = GeneratorModels(
        repository,
        default=config.model,
        stages=Stages(config.service),
        max_rows=config.max_rows,
        max_models=config.max_models,
        memory_budget=config.memory_budget,
        engine=config.engine,
        threads=config.threads,
        telemetry=telemetry,
    )
    lifecycle.on_stop(models.close)
    others = [name.strip() for name in config.preload_models.split(",") if name.strip()]
    for name in (*others, config.model):
        async with models.use(name):
            pass
    limits = ImageLimits(max_bytes=config.max_image_bytes, max_pixels=config.max_image_pixels)
    admission = Admission(config.max_running, config.max_queue, telemetry=telemetry)
    generator = Generator(models, admission)
    animator = Animator(models, admission, config.max_message_bytes - _ROOM_FOR_RECORDS)

    def add_services(server: grpc.aio.Server) -> None:
        servicer = GeneratorServicer(models, generator, animator, limits)
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(servicer, server)
        catalog = ModelServicer(models.lineup, tasks={TASK})
        model_pb2_grpc.add_ModelServiceServicer_to_server(catalog, server)
        tensors = OpenInferenceServicer(
            models.lineup, admission, tasks={TASK}, lifecycle=lifecycle, telemetry=telemetry
        )
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(tensors, server)

    return ServiceServer(
        config,
        add_services=add_services,
        service_names=[SERVICE_NAME, MODEL_SERVICE_NAME, OPEN_INFERENCE_NAME],
        lifecycle=lifecycle,
        telemetry=telemetry,
    )
