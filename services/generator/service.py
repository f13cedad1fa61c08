"""GeneratorService over gRPC: reads the request, lets `Generator` draw, answers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from diptych.images import ImageLimits
from diptych.v1 import generator_pb2, generator_pb2_grpc
from services.generator.animate import Animator, read_walk
from services.generator.convert import Offer, read_order
from services.generator.generation import Event, Generator
from services.generator.models import GeneratorModels

SERVICE_NAME = "diptych.v1.GeneratorService"

Context = grpc.aio.ServicerContext[Any, Any]


class GeneratorServicer(generator_pb2_grpc.GeneratorServiceServicer):
    """The stream is the path; the unary call drains it."""

    def __init__(self, models: GeneratorModels, generator: Generator, animator: Animator, limits: ImageLimits) -> None:
        self._models = models
        self._generator = generator
        self._animator = animator
        self._limits = limits

    async def GenerateImage(
        self, request: generator_pb2.GenerateImageRequest, context: Context
    ) -> generator_pb2.GenerateImageResponse:
        """All pictures at once."""
        response = generator_pb2.GenerateImageResponse()
        async with aclosing(self._events(request.spec, 0)) as events:
            async for event in events:
                if event.HasField("image"):
                    response.images.append(event.image)
                elif event.HasField("completed"):
                    done = event.completed
                    response.resolved.CopyFrom(done.resolved)
                    response.record.CopyFrom(done.record)
                    response.marking.CopyFrom(done.marking)
        response.images.sort(key=lambda image: image.index)
        return response

    async def StreamGenerateImage(
        self, request: generator_pb2.StreamGenerateImageRequest, context: Context
    ) -> AsyncGenerator[Event, None]:
        """Events as they come."""
        async with aclosing(self._events(request.spec, request.preview_interval)) as events:
            async for event in events:
                yield event

    async def StreamAnimateLatents(
        self, request: generator_pb2.StreamAnimateLatentsRequest, context: Context
    ) -> AsyncGenerator[generator_pb2.StreamAnimateLatentsResponse, None]:
        """A film, frame by frame."""
        async with self._models.use(request.model) as model:
            walk = await asyncio.to_thread(read_walk, request, Offer(model.pipeline, model.ref, self._limits))
            async with aclosing(self._animator.draw(model, walk)) as events:
                async for event in events:
                    yield event

    async def _events(self, spec: generator_pb2.GenerationSpec, preview_interval: int) -> AsyncGenerator[Event, None]:
        async with self._models.use(spec.model) as model:
            offer = Offer(model.pipeline, model.ref, self._limits)
            order = await asyncio.to_thread(read_order, spec, preview_interval, offer)
            async with aclosing(self._generator.draw(model, order)) as events:
                async for event in events:
                    yield event
