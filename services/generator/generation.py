"""An order's life: admitted, prepared, stepped in company, finished, recorded."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from diptych.diffusion import Pipeline, Row
from diptych.images import Pixels, to_message
from diptych.serving.admission import Admission
from diptych.serving.context import current_request
from diptych.serving.continuous_batcher import ContinuousBatcher, RowStepped
from diptych.serving.worker import Worker
from diptych.v1 import generator_pb2, image_pb2
from services.generator.convert import Order
from services.generator.records import marking, seconds, step_record

Event = generator_pb2.StreamGenerateImageResponse
_PREVIEW_QUALITY = 80


class Generator:
    """Draws orders with one pipeline, whose every call runs on `worker`."""

    def __init__(
        self, pipeline: Pipeline, *, worker: Worker, batcher: ContinuousBatcher[Row], admission: Admission
    ) -> None:
        self._pipeline = pipeline
        self._worker = worker
        self._batcher = batcher
        self._admission = admission

    async def draw(self, order: Order) -> AsyncGenerator[Event, None]:
        """The events of one order in the order that the contract promises. Closing it frees its rows."""
        request = current_request()
        drawn: list[Pixels] = []
        async with self._admission.permit(request.deadline):
            yield Event(
                accepted=generator_pb2.GenerationAccepted(
                    resolved=order.resolved, queue_position=self._batcher.rows_waiting
                )
            )
            async with aclosing(self._pictures(order, drawn, request.deadline)) as events:
                async for event in events:
                    yield event
        yield Event(
            completed=generator_pb2.GenerationCompleted(
                resolved=order.resolved, record=step_record(order, drawn, request.clock), marking=marking(order)
            )
        )

    async def _pictures(self, order: Order, drawn: list[Pixels], deadline: float | None) -> AsyncGenerator[Event, None]:
        """Progress, previews and images; what was drawn is added to `drawn`."""
        # One call each, so that others' steps go in between.
        rows = [await self._worker.run(self._pipeline.prepare, spec) for spec in order.rows]
        pace = _Pace(rows)
        async with self._batcher.submit(rows, deadline=deadline) as steps:
            async for event in steps:
                yield Event(progress=pace.progress(event))
                if event.step == event.row.num_steps:
                    yield Event(image=await self._image(order, rows.index(event.row), event.row, drawn))
                elif order.preview_interval and event.step % order.preview_interval == 0:
                    yield Event(preview=await self._preview(rows.index(event.row), event))
        if order.resolved.num_inference_steps == 0:
            for index, row in enumerate(rows):
                yield Event(image=await self._image(order, index, row, drawn))

    async def _image(self, order: Order, index: int, row: Row, drawn: list[Pixels]) -> generator_pb2.GeneratedImage:
        pixels = await self._worker.run(self._pipeline.finish, row)
        drawn.append(pixels)
        output = order.output
        image = await asyncio.to_thread(
            to_message, pixels, output.format, quality=output.quality, lossless=output.lossless
        )
        return generator_pb2.GeneratedImage(index=index, seed=row.spec.seed, image=image)

    async def _preview(self, index: int, event: RowStepped[Row]) -> generator_pb2.GenerationPreview:
        pixels = await self._worker.run(self._pipeline.preview, event.row)
        image = await asyncio.to_thread(to_message, pixels, image_pb2.IMAGE_FORMAT_JPEG, quality=_PREVIEW_QUALITY)
        return generator_pb2.GenerationPreview(index=index, step=event.step, image=image)


class _Pace:
    """How fast each picture of an order comes along."""

    def __init__(self, rows: list[Row]) -> None:
        self._index = {row: index for index, row in enumerate(rows)}
        self._first: dict[Row, float] = {}

    def progress(self, event: RowStepped[Row]) -> generator_pb2.GenerationProgress:
        now = time.monotonic()
        row, step = event.row, event.step
        elapsed = now - self._first.setdefault(row, now)
        progress = generator_pb2.GenerationProgress(index=self._index[row], step=step, num_steps=row.num_steps)
        if elapsed > 0:
            progress.steps_per_second = (step - 1) / elapsed
            progress.remaining.CopyFrom(seconds((row.num_steps - step) * elapsed / (step - 1)))
        return progress
