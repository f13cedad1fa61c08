"""One call to generator or editor: pictures in, pictures out, its events told step by step."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from diptych.client import AsyncClient
from diptych.errors import DiptychError, FailedPrecondition, InternalError, ServiceUnavailable
from diptych.serving.context import find_request, remaining_seconds
from diptych.v1 import editor_pb2, generator_pb2, image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import action_of, unchanged
from services.orchestrator.running.failures import failing_step, name_step
from services.orchestrator.running.watch import StepWatch

Image = image_pb2.Image
E = TypeVar("E")
Filming = generator_pb2.StreamAnimateLatentsResponse | editor_pb2.StreamAnimateImageResponse

# A little more than the channel's longest pause between two tries to connect.
_RECONNECT_SECONDS = 1.5
_RETRY_SECONDS = 0.1

# Where an operation keeps its second picture.
_SECOND_PICTURE = {
    "replace_background": "image",
    "replace_object": "replacement",
    "add_object": "object",
    "style_transfer": "image",
    "match_style": "reference",
    "composite": "overlay",
}


@dataclass(frozen=True)
class Given:
    """A picture for a step. `origin`: its path in the caller's request, empty when a step made it.

    `marking`: how it is labelled; one that the caller gave counts as no more than edited.
    """

    image: Image
    origin: str = ""
    marking: image_pb2.Marking.ValueType = image_pb2.MARKING_STANDARD_EDIT


@dataclass(frozen=True)
class Order:
    """What one call is to do. `pictures[i]` are those of step i; later steps take their first from the step before."""

    watches: Sequence[StepWatch]
    pictures: Sequence[Sequence[Given]]
    part: int
    output: image_pb2.OutputOptions
    preview_interval: int
    deadline: float | None
    passed_on: frozenset[int] = frozenset()  # steps whose picture goes on unchanged

    @property
    def step(self) -> v1.PlanStep:
        """The first step, the only one unless all are edits."""
        return self.watches[0].step

    @property
    def timeout(self) -> float | None:
        """Seconds left. DeadlineExceeded when none are."""
        return remaining_seconds(self.deadline)


@dataclass
class Attempt:
    """One try of a call. `origins`: which field of the peer's request holds which picture of the caller's."""

    origins: dict[str, str] = field(default_factory=dict)
    heard: bool = False  # whether the peer has answered at all


@dataclass(frozen=True)
class Made:
    """What one call gave. `own_seconds`: the time that the service itself says it took."""

    own_seconds: float
    pictures: list[Image] = field(default_factory=list)
    videos: list[image_pb2.Video] = field(default_factory=list)
    analysis: editor_pb2.Analysis | None = None


class Peers:
    """Generator and editor as the executor sees them."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._acts = {
            "generate": self._generate,
            "vary": self._generate,
            "animate_latents": self._animate_latents,
            "edit": self._edit,
            "select": self._select,
            "analyze": self._analyze,
            "animate_image": self._animate_image,
        }

    async def act(self, order: Order) -> Made:
        """What the order's call gives. DiptychError names the step that failed."""
        await order.watches[0].begin()
        patience = _patience(order.deadline)
        while True:
            attempt = Attempt()
            try:
                return await self._acts[action_of(order.step)](order, attempt)
            except DiptychError as error:
                gone = isinstance(error, ServiceUnavailable) and not attempt.heard
                if not gone or time.monotonic() >= patience:
                    steps = [watch.step for watch in order.watches]
                    ended = sum(watch.has_ended(order.part) for watch in order.watches)
                    raise name_step(error, failing_step(error, steps, ended), attempt.origins) from None
            await asyncio.sleep(_RETRY_SECONDS)

    async def _generate(self, order: Order, attempt: Attempt) -> Made:
        spec = generator_pb2.GenerationSpec()
        spec.CopyFrom(getattr(order.step, action_of(order.step)))
        spec.output.CopyFrom(order.output)
        for name, given in zip(("init_image", "mask_image"), order.pictures[0], strict=False):
            _place(getattr(spec, name), given, f"spec.{name}", attempt)
        request = generator_pb2.StreamGenerateImageRequest(spec=spec, preview_interval=order.preview_interval)
        watch, pictures, steps_done, count = order.watches[0], dict[int, Image](), dict[int, int](), 1
        stream = self._client.stream_generate_image(request, timeout=order.timeout, metadata=_headers())
        async with aclosing(_heard(stream, attempt)) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "accepted":
                    count = event.accepted.resolved.num_images or 1
                elif kind == "progress":
                    at = event.progress
                    steps_done[at.index] = at.step
                    fraction = sum(steps_done.values()) / max(count * at.num_steps, 1)
                    await watch.progress(order.part, fraction, _drawing(at, count))
                elif kind == "preview":
                    await watch.preview(event.preview.image)
                elif kind == "image":
                    pictures[event.image.index] = event.image.image
                elif kind == "completed":
                    record = event.completed.record
                    await watch.end(order.part, record)
                    return Made(_seconds(record.timing.total), [pictures[index] for index in sorted(pictures)])
        raise _broke_off("generator")

    async def _edit(self, order: Order, attempt: Attempt) -> Made:
        spec = editor_pb2.EditSpec(output=order.output)
        _place(spec.image, order.pictures[0][0], "spec.image", attempt)
        for index, (watch, given) in enumerate(zip(order.watches, order.pictures, strict=True)):
            operation = spec.operations.add()
            if index in order.passed_on:
                operation.CopyFrom(unchanged())
                continue
            operation.CopyFrom(watch.step.edit)
            # The first step's first picture is the request's; later steps take theirs from the edit before.
            _fill(operation, given[1:] if index == 0 else given, f"spec.operations[{index}]", attempt)
        request = editor_pb2.StreamEditImageRequest(spec=spec)
        last, pictures, ended = len(order.watches) - 1, list[Image](), 0
        final = image_pb2.StepRecord()
        stream = self._client.stream_edit_image(request, timeout=order.timeout, metadata=_headers())
        async with aclosing(_heard(stream, attempt)) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "progress":
                    at = event.progress
                    await order.watches[min(at.operation_index, last)].progress(order.part, at.fraction)
                elif kind == "step" and ended < last:
                    await order.watches[ended].end(order.part, event.step)
                    ended += 1
                elif kind == "step":
                    final = event.step
                elif kind == "image":
                    pictures.append(event.image)
                elif kind == "completed":
                    # Only now is the last step's picture written and here.
                    await order.watches[last].end(order.part, final)
                    return Made(_seconds(event.completed.timing.total), pictures)
        raise _broke_off("editor")

    async def _select(self, order: Order, attempt: Attempt) -> Made:
        request = editor_pb2.SelectRegionRequest(selection=order.step.select.selection)
        _place(request.image, order.pictures[0][0], "image", attempt)
        answer = await self._client.select_region(request, timeout=order.timeout, metadata=_headers())
        if not answer.HasField("box"):
            what = request.selection.label or "what is to be selected"
            why = f"{what!r} is nowhere to be found in the picture; name something that is in it"
            raise FailedPrecondition(why, reason="NOTHING_SELECTED")
        await order.watches[0].end(order.part, answer.record)
        return Made(_seconds(answer.record.timing.total), [answer.mask])

    async def _analyze(self, order: Order, attempt: Attempt) -> Made:
        request = editor_pb2.AnalyzeImageRequest(kinds=order.step.analyze.kinds)
        _place(request.image, order.pictures[0][0], "image", attempt)
        answer = await self._client.analyze_image(request, timeout=order.timeout, metadata=_headers())
        await order.watches[0].end(order.part, answer.record, answer.analysis)
        return Made(_seconds(answer.record.timing.total), analysis=answer.analysis)

    async def _animate_latents(self, order: Order, attempt: Attempt) -> Made:
        request = order.step.animate_latents
        stream = self._client.stream_animate_latents(request, timeout=order.timeout, metadata=_headers())
        return await _film(order, _heard(stream, attempt), "generator")

    async def _animate_image(self, order: Order, attempt: Attempt) -> Made:
        request = editor_pb2.StreamAnimateImageRequest()
        request.CopyFrom(order.step.animate_image)
        _place(request.image, order.pictures[0][0], "image", attempt)
        stream = self._client.stream_animate_image(request, timeout=order.timeout, metadata=_headers())
        return await _film(order, _heard(stream, attempt), "editor")


async def _film(order: Order, stream: AsyncGenerator[Filming, None], service: str) -> Made:
    """The film of a stream of progress that ends with it."""
    async with aclosing(stream) as events:
        async for event in events:
            if event.HasField("progress"):
                await _film_progress(order, event.progress.frame, event.progress.num_frames)
            elif event.HasField("completed"):
                await order.watches[0].end(order.part, event.completed.record)
                return Made(_seconds(event.completed.record.timing.total), videos=[event.completed.video])
    raise _broke_off(service)


async def _heard(stream: AsyncGenerator[E, None], attempt: Attempt) -> AsyncGenerator[E, None]:
    """The stream's events; notes that there are any."""
    async with aclosing(stream):
        async for event in stream:
            attempt.heard = True
            yield event


def _patience(deadline: float | None) -> float:
    """Until when a peer that does not answer is tried again: it may just be back, and the channel not know it yet."""
    now = time.monotonic()
    return now + _RECONNECT_SECONDS if deadline is None else now + min(_RECONNECT_SECONDS, (deadline - now) / 2)


def _headers() -> Mapping[str, str]:
    """The request's id goes along, so that one goal can be followed through three logs."""
    request = find_request()
    return {"x-request-id": request.request_id} if request is not None else {}


def _fill(operation: editor_pb2.Operation, given: Sequence[Given], path: str, attempt: Attempt) -> None:
    """Puts an operation's own pictures where they belong: the second one, then the mask."""
    rest = list(given)
    if operation.selection.WhichOneof("target") == "mask":
        _place(operation.selection.mask, rest.pop(), f"{path}.selection.mask", attempt)
    if rest:
        name = operation.WhichOneof("operation") or ""
        second = _SECOND_PICTURE[name]
        _place(getattr(getattr(operation, name), second), rest[0], f"{path}.{name}.{second}", attempt)


def _place(target: Image, given: Given, path: str, attempt: Attempt) -> None:
    target.CopyFrom(given.image)
    if given.origin:
        attempt.origins[path] = given.origin


def _drawing(at: generator_pb2.GenerationProgress, count: int) -> str:
    words = f"step {at.step} of {at.num_steps}"
    return words if count == 1 else f"picture {at.index + 1} of {count}, {words}"


async def _film_progress(order: Order, frame: int, num_frames: int) -> None:
    await order.watches[0].progress(order.part, frame / max(num_frames, 1), f"frame {frame} of {num_frames}")


def _broke_off(service: str) -> InternalError:
    return InternalError(f"the {service}'s answer ended before it was complete", metadata={"service": service})


def _seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9
