"""The generator put together: configuration, model, worker, batcher, server."""

import asyncio
import logging
from typing import ClassVar

import grpc
from pydantic import Field

from diptych.diffusion import Defaults, Pipeline, Row, open_pipeline
from diptych.errors import ModelNotFound
from diptych.images import ImageLimits
from diptych.repository import LocalModel, ModelRepository
from diptych.serving.admission import Admission
from diptych.serving.config import ServiceConfig
from diptych.serving.continuous_batcher import ContinuousBatcher
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.model_service import SERVICE_NAME as MODEL_SERVICE_NAME
from diptych.serving.model_service import ModelServicer, model_ref
from diptych.serving.server import ServiceServer
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker
from diptych.v1 import generator_pb2_grpc, model_pb2_grpc
from services.generator.convert import Offer
from services.generator.generation import Generator
from services.generator.service import SERVICE_NAME, GeneratorServicer

logger = logging.getLogger(__name__)

TASK = "text-to-image"


class GeneratorConfig(ServiceConfig):
    """Settings of the generator."""

    service: ClassVar[str] = "generator"

    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    model: str = Field("diptych-icons", min_length=1, description="The model to draw with, by its repository name.")
    max_rows: int = Field(8, ge=1, le=64, description="Pictures drawn at once; the rest wait.")
    # Requests share the running batch, so many may be at work; `max_rows` bounds the memory.
    max_running: int = Field(32, ge=1, description="Requests at work at once.")


async def build(config: GeneratorConfig) -> ServiceServer:
    """The server, its model loaded and warm. DiptychError when the model cannot be had."""
    repository = ModelRepository([config.models], config.cache)
    local, pipeline, others = await asyncio.to_thread(_load, repository, config)
    telemetry = Telemetry(config.service)
    lifecycle = Lifecycle()
    worker = Worker(config.service)
    batcher: ContinuousBatcher[Row] = ContinuousBatcher(
        worker, pipeline.step, max_rows=config.max_rows, telemetry=telemetry
    )
    admission = Admission(config.max_running, config.max_queue, telemetry=telemetry)

    async def close_pipeline() -> None:
        await asyncio.to_thread(pipeline.close)

    for close in (close_pipeline, worker.close, batcher.close):  # The last goes first.
        lifecycle.on_stop(close)
    ref = model_ref(local.manifest, digest=local.digest, engine=pipeline.engine_name)
    limits = ImageLimits(max_bytes=config.max_image_bytes, max_pixels=config.max_image_pixels)
    servicer = GeneratorServicer(
        Generator(pipeline, worker=worker, batcher=batcher, admission=admission), Offer(pipeline, ref, limits, others)
    )
    models = ModelServicer(repository, loaded={ref.name: ref}, tasks={TASK})

    def add_services(server: grpc.aio.Server) -> None:
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(servicer, server)
        model_pb2_grpc.add_ModelServiceServicer_to_server(models, server)

    return ServiceServer(
        config,
        add_services=add_services,
        service_names=[SERVICE_NAME, MODEL_SERVICE_NAME],
        lifecycle=lifecycle,
        telemetry=telemetry,
    )


def _load(repository: ModelRepository, config: GeneratorConfig) -> tuple[LocalModel, Pipeline, list[str]]:
    """The model, its warm pipeline, and the names of the other models for the same task."""
    names = [manifest.name for manifest in repository.manifests() if manifest.task == TASK]
    if config.model not in names:
        raise ModelNotFound(config.model, names)
    local = repository.open(config.model)
    pipeline = open_pipeline(
        local.directory,
        Defaults.from_table(local.manifest.defaults),
        engine=config.engine,
        threads=config.threads,
        precision=local.manifest.precision,
    )
    pipeline.warm_up()
    logger.info("model loaded", extra={"fields": {"model": config.model, "engine": pipeline.engine_name}})
    return local, pipeline, [name for name in names if name != config.model]
