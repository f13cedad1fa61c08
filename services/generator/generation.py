"""An order's life: admitted, prepared, stepped in company, finished, recorded."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from diptych.images import to_message
from diptych.outputs import write
from diptych.serving.admission import Admission
from diptych.serving.context import current_request
from diptych.serving.continuous_batcher import Booking, RowStepped
from diptych.v1 import generator_pb2, image_pb2
from services.generator.convert import Order
from services.generator.models import GeneratorModel, GeneratorModels, ModelRow
from services.generator.records import Drawn, marking, seconds, step_record

Event = generator_pb2.StreamGenerateImageResponse
_PREVIEW_QUALITY = 80


class Generator:
    """Draws orders in company of all others."""

    def __init__(self, models: GeneratorModels, admission: Admission) -> None:
        self._batcher = models.batcher
        self._stages = models.stages
        self._admission = admission

    async def draw(self, model: GeneratorModel, order: Order) -> AsyncGenerator[Event, None]:
        """The events of one order in the order that the contract promises. Closing it frees its rows.

        DeadlineExceeded, at once, when it would not be done in time.
        """
        request = current_request()
        drawn: list[Drawn] = []
        sketches = [model.sketch(spec, order.num_calls) for spec in order.rows]
        with self._batcher.book(sketches, deadline=request.deadline) as booking:
            async with self._admission.permit(request.deadline):
                yield Event(
                    accepted=generator_pb2.GenerationAccepted(
                        resolved=order.resolved, queue_position=self._batcher.rows_before(booking)
                    )
                )
                pictures = self._pictures(model, order, booking, drawn, request.deadline)
                async with aclosing(pictures) as events:
                    async for event in events:
                        yield event
        yield Event(
            completed=generator_pb2.GenerationCompleted(
                resolved=order.resolved, record=step_record(order, drawn, request.clock), marking=marking(order)
            )
        )

    async def _pictures(
        self, model: GeneratorModel, order: Order, booking: Booking, drawn: list[Drawn], deadline: float | None
    ) -> AsyncGenerator[Event, None]:
        """Progress, previews and images; what was drawn is added to `drawn`."""
        # One call each, so that others' rows go in between.
        rows = [await self._stages.encode.run(model.prepare, spec) for spec in order.rows]
        pace = _Pace(rows)
        async with self._batcher.submit(rows, deadline=deadline, booking=booking) as steps:
            async for event in steps:
                index = rows.index(event.row)
                yield Event(progress=pace.progress(event))
                if event.step == event.row.num_steps:
                    yield Event(image=await self._image(model, order, index, event.row, drawn))
                elif order.preview_interval and event.step % order.preview_interval == 0:
                    yield Event(preview=await self._preview(model, index, event))
        if order.num_calls == 0:
            for index, row in enumerate(rows):
                yield Event(image=await self._image(model, order, index, row, drawn))

    async def _image(
        self, model: GeneratorModel, order: Order, index: int, row: ModelRow, drawn: list[Drawn]
    ) -> generator_pb2.GeneratedImage:
        pixels = await self._stages.decode.run(model.finish, row)
        written = await asyncio.to_thread(write, pixels, order.output)
        drawn.append(Drawn(pixels, written.chosen))
        return generator_pb2.GeneratedImage(index=index, seed=row.row.spec.seed, image=written.image)

    async def _preview(
        self, model: GeneratorModel, index: int, event: RowStepped[ModelRow]
    ) -> generator_pb2.GenerationPreview:
        pixels = await self._stages.decode.run(model.preview, event.row)
        image = await asyncio.to_thread(to_message, pixels, image_pb2.IMAGE_FORMAT_JPEG, quality=_PREVIEW_QUALITY)
        return generator_pb2.GenerationPreview(index=index, step=event.step, image=image)


class _Pace:
    """How fast each picture of an order comes along."""

    def __init__(self, rows: list[ModelRow]) -> None:
        self._index = {row: index for index, row in enumerate(rows)}
        self._first: dict[ModelRow, float] = {}

    def progress(self, event: RowStepped[ModelRow]) -> generator_pb2.GenerationProgress:
        row, step = event.row, event.step
        elapsed = event.at - self._first.setdefault(row, event.at)
        progress = generator_pb2.GenerationProgress(index=self._index[row], step=step, num_steps=row.num_steps)
        if elapsed > 0:
            progress.steps_per_second = (step - 1) / elapsed
        if event.remaining is not None:
            since = time.monotonic() - event.at  # Others of this order may have been finished and sent meanwhile.
            progress.remaining.CopyFrom(seconds(max(0.0, event.remaining - since)))
        return progress
