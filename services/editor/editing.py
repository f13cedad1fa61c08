"""Runs the operations of one request in order, and tells of each as it goes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.duration_pb2 import Duration

from diptych.errors import InvalidRequest
from diptych.images import FileFacts, ImageLimits, Pixels, facts_of, fitted_metadata, from_message
from diptych.outputs import Output, Written, write
from diptych.serving.context import RequestClock, RequestContext
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext, ImageThreads
from services.editor.convert import EditRequest, OperationRequest
from services.editor.cutting import selection
from services.editor.effect import measure
from services.editor.models import EditorModels
from services.editor.safeguard import Safeguard

Event = editor_pb2.StreamEditImageResponse
# Pixels up to which a result is checked, measured and written side by side: each holds copies of it.
_MOST_AT_ONCE = 16_000_000


@dataclass(frozen=True)
class Editor:
    """What all requests share."""

    models: EditorModels
    threads: ImageThreads
    limits: ImageLimits
    tile: int
    max_result_bytes: int
    safeguard: Safeguard

    async def decode(self, image: image_pb2.Image, field: str) -> Pixels:
        """The picture of a request, decoded off the event loop."""
        return await self.threads.run(lambda: from_message(image, field=field, limits=self.limits))

    def surroundings(self, path: str, deadline: float | None) -> EditContext:
        """The context of one operation at `path`."""
        return EditContext(self.models, self.threads, self.limits, path, self.tile, deadline)

    async def edit(self, request: EditRequest, current: RequestContext) -> AsyncGenerator[Event, None]:
        """The events of one edit, in the contract's order. Closing the generator stops the work at its next tile."""
        for operation in request.operations:
            if operation.model:
                field = f"{operation.path}.model"
                await asyncio.to_thread(self.models.check, operation.model, operation.task, field)
        pixels = await self.decode(request.image, "spec.image")
        facts = await self.threads.run(facts_of, request.image)
        height, width = pixels.shape[:2]
        accepted = editor_pb2.EditAccepted(width=width, height=height, num_operations=len(request.operations))
        yield Event(accepted=accepted)

        async def writing(result: Pixels) -> Written:
            return await self.threads.run(_write, result, request.output, facts)

        records: list[image_pb2.StepRecord] = []
        written: Written | None = None
        last = len(request.operations) - 1
        for index, operation in enumerate(request.operations):
            frames = facts.frames if index == 0 else 1
            step = _Step(self, index, operation, current, frames=frames, write=writing if index == last else None)
            async with contextlib.aclosing(step.run(pixels)) as events:
                async for event in events:
                    yield event
            pixels, written = step.result, step.written
            records.append(step.record)
        image = (written or await writing(pixels)).image
        if len(image.content) > self.max_result_bytes:
            raise InvalidRequest.single(
                "spec.output.format",
                f"makes a file of {len(image.content)} bytes, more than the {self.max_result_bytes} that an answer "
                "holds; ask for JPEG or WEBP, or for a smaller picture",
            )
        yield Event(image=image)
        yield Event(completed=editor_pb2.EditCompleted(marking=marking(records), timing=timing(current.clock)))


class _Step:
    """One operation at work; `result`, `record` and the last one's `written` are there when its events have ended."""

    result: Pixels
    record: image_pb2.StepRecord
    written: Written | None

    def __init__(
        self,
        editor: Editor,
        index: int,
        operation: OperationRequest,
        current: RequestContext,
        *,
        frames: int,
        write: Callable[[Pixels], Coroutine[Any, Any, Written]] | None,
    ) -> None:
        self._editor = editor
        self._index = index
        self._operation = operation
        self._current = current
        self._frames = frames
        self._write = write

    async def run(self, pixels: Pixels) -> AsyncGenerator[Event, None]:
        """Progress as it comes, then the record."""
        told: asyncio.Queue[float | None] = asyncio.Queue()
        work = asyncio.ensure_future(self._work(pixels, told.put_nowait))
        work.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while (fraction := await told.get()) is not None:
                yield self._progress(min(fraction, 0.99))
            self.result, self.record, self.written = work.result()
        finally:
            work.cancel()
            # Only when the work has let go may the next request take its place.
            await asyncio.wait([work])
        yield self._progress(1.0)
        yield Event(step=self.record)

    async def _work(
        self, pixels: Pixels, tell: Callable[[float], None]
    ) -> tuple[Pixels, image_pb2.StepRecord, Written | None]:
        operation, clock = self._operation, self._current.clock
        before = RequestClock(queue_seconds=clock.queue_seconds, compute_seconds=clock.compute_seconds)
        context = self._editor.surroundings(operation.path, self._current.deadline)
        context.progress = tell
        # The classifier's part is told after that of the operation itself.
        guarded = self._editor.surroundings(operation.path, self._current.deadline)
        if self._index == 0:
            await self._editor.safeguard.check(pixels, "input", guarded)
        if self._frames > 1:
            context.note(input_frame=f"1 of {self._frames}")
        if operation.selection is not None:
            context.selection = await selection.resolve(operation.selection, pixels, context, operation.edit.reach)
        result = await operation.edit.apply(pixels, operation.parameters, context)
        keeps = operation.edit.keeps(operation.parameters)

        def measured() -> Coroutine[Any, Any, image_pb2.EffectReport]:
            return context.compute(lambda: measure(pixels, result, context.selection, keeps=keeps))

        written = None
        if self._write is None:
            effect = await measured()
        elif result.shape[0] * result.shape[1] > _MOST_AT_ONCE:
            await self._editor.safeguard.check(result, "output", guarded)
            effect, written = await measured(), await self._write(result)
        else:
            # Of a large picture each takes a second: side by side. What is blocked is not sent.
            checked = self._editor.safeguard.check(result, "output", guarded)
            _, effect, written = await _together(checked, measured(), self._write(result))
        if context.suspect:
            effect.effect = image_pb2.EFFECT_DAMAGED
        record = image_pb2.StepRecord(
            step_id=str(self._index + 1),
            service="editor",
            operation=operation.edit.name,
            models=[*context.used, *guarded.used],
            timing=timing(clock, before),
            width=result.shape[1],
            height=result.shape[0],
            effect=effect,
            parameters=context.resolved | guarded.resolved | dict(written.chosen if written is not None else {}),
        )
        return result, record, written

    def _progress(self, fraction: float) -> Event:
        return Event(
            progress=editor_pb2.EditProgress(
                operation_index=self._index, operation=self._operation.edit.name, fraction=fraction
            )
        )


async def _together(
    check: Coroutine[Any, Any, None],
    effect: Coroutine[Any, Any, image_pb2.EffectReport],
    written: Coroutine[Any, Any, Written],
) -> tuple[None, image_pb2.EffectReport, Written]:
    """What all three give; the error of the first that has one, once all have ended: nothing goes on behind it."""
    results = await asyncio.gather(check, effect, written, return_exceptions=True)
    for found in results:
        if isinstance(found, BaseException):
            raise found
    return cast(tuple[None, image_pb2.EffectReport, Written], tuple(results))


def timing(clock: RequestClock, since: RequestClock | None = None) -> image_pb2.Timing:
    """Where time went: of the whole request, or from `since`, a copy of its clock, on."""
    queue, compute = clock.queue_seconds, clock.compute_seconds
    if since is not None:
        queue, compute = queue - since.queue_seconds, compute - since.compute_seconds
    total = clock.total_seconds() if since is None else since.total_seconds()
    return image_pb2.Timing(queue=_duration(queue), compute=_duration(compute), total=_duration(total))


def marking(records: list[image_pb2.StepRecord]) -> image_pb2.MarkingVerdict:
    """The label that follows from the models that took part."""
    generative = [
        record.step_id
        for record in records
        if any(model.kind == image_pb2.MODEL_KIND_GENERATIVE for model in record.models)
    ]
    label = image_pb2.MARKING_PARTLY_GENERATED if generative else image_pb2.MARKING_STANDARD_EDIT
    return image_pb2.MarkingVerdict(marking=label, step_ids=generative)


def _write(pixels: Pixels, output: Output, facts: FileFacts) -> Written:
    height, width = pixels.shape[:2]
    return write(pixels, output, metadata=fitted_metadata(facts.metadata, output.metadata, (width, height)))


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(max(seconds, 0) * 1e9))
    return duration
