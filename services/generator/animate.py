"""Films through latent space: places to pass become frames, frames become rows in company of all others."""

import asyncio
import math
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from diptych.diffusion import RowSpec, Toward
from diptych.errors import InvalidRequest
from diptych.films import FilmWriter, resolve_format
from diptych.images import Pixels
from diptych.serving.admission import Admission
from diptych.serving.context import RequestClock, current_request
from diptych.serving.continuous_batcher import Booking, Sketch
from diptych.v1 import generator_pb2, image_pb2
from services.generator.convert import MOST_GUIDANCE, MOST_STEPS, Offer, Reader
from services.generator.models import GeneratorModel, GeneratorModels
from services.generator.records import STEP_ID, seconds, timing

Event = generator_pb2.StreamAnimateLatentsResponse

_FEWEST_KEYFRAMES, _MOST_KEYFRAMES = 2, 16
_DEFAULT_SECONDS, _MOST_SECONDS = 4.0, 60.0
_DEFAULT_FPS, _MOST_FPS = 24.0, 60.0
# Frames begun and not written yet: enough to fill a call while one is decoded and one encoded, few enough for memory.
_FRAMES_AHEAD = 12


@dataclass(frozen=True)
class Walk:
    """A film as it will be drawn: one row a frame, each with `num_calls` of the denoiser."""

    frames: tuple[RowSpec, ...]
    format: image_pb2.VideoFormat.ValueType
    frames_per_second: float
    seeds: tuple[int, ...]
    loop: bool
    model: image_pb2.ModelRef
    num_calls: int

    @property
    def parameters(self) -> dict[str, str]:
        """What was asked, every default filled in."""
        first = self.frames[0]
        return {
            "num_frames": str(len(self.frames)),
            "frames_per_second": f"{self.frames_per_second:g}",
            "loop": str(self.loop).lower(),
            "seeds": ",".join(map(str, self.seeds)),
            "negative_prompt": first.negative_prompt,
            "num_inference_steps": str(first.num_inference_steps),
            "guidance_scale": f"{first.guidance_scale:g}",
            "noise_schedule": first.noise_schedule,
        }


def read_walk(request: generator_pb2.StreamAnimateLatentsRequest, offer: Offer) -> Walk:
    """The walk that a request stands for.

    InvalidRequest with every fault; FailedPrecondition where there is no encoder for the format.
    """
    reader = Reader(request, offer, prefix="")
    defaults, sizes = offer.pipeline.defaults, offer.pipeline.sizes
    count = len(request.keyframes)
    if not _FEWEST_KEYFRAMES <= count <= _MOST_KEYFRAMES:
        reader.fault("keyframes", f"has {count}; give {_FEWEST_KEYFRAMES} to {_MOST_KEYFRAMES} places to pass")
    places = []
    for index, keyframe in enumerate(request.keyframes[:_MOST_KEYFRAMES]):
        one = Reader(keyframe, offer, f"keyframes[{index}].", reader.faults)
        seed = keyframe.seed if keyframe.HasField("seed") else secrets.randbits(32)
        places.append((one.prompt("prompt", required=True), seed))
    base = RowSpec(
        prompt="",
        negative_prompt=reader.prompt("negative_prompt", required=False),
        width=reader.side("width", sizes.native[0]),
        height=reader.side("height", sizes.native[1]),
        seed=0,
        num_inference_steps=reader.count("num_inference_steps", defaults.num_inference_steps, MOST_STEPS),
        guidance_scale=reader.number("guidance_scale", defaults.guidance_scale, MOST_GUIDANCE),
        noise_schedule=offer.pipeline.default_schedule,
    )
    fps = reader.number("frames_per_second", _DEFAULT_FPS, _MOST_FPS, least=1.0)
    length = _length(request, reader)
    if request.format not in image_pb2.VideoFormat.values():
        reader.fault("format", f"has no value {request.format}; choose MP4 or WEBP")
    reader.steps_of(base)
    if reader.faults:
        raise InvalidRequest(reader.faults)
    loop = request.loop if request.HasField("loop") else True
    frames = _frames(base, places, max(2, round(length * fps)), loop=loop)
    seeds = tuple(seed for _, seed in places)
    return Walk(frames, resolve_format(request.format), fps, seeds, loop, offer.model, offer.pipeline.num_calls(base))


def _length(request: generator_pb2.StreamAnimateLatentsRequest, reader: Reader) -> float:
    if not request.HasField("duration"):
        return _DEFAULT_SECONDS
    length = request.duration.seconds + request.duration.nanos / 1e9
    if not 0 < length <= _MOST_SECONDS:
        reader.fault("duration", f"is {length:g} s; give more than 0 and at most {_MOST_SECONDS:g} s")
        return _DEFAULT_SECONDS
    return length


def _frames(base: RowSpec, places: Sequence[tuple[str, int]], count: int, *, loop: bool) -> tuple[RowSpec, ...]:
    """One row a frame, evenly along the way; a loop's last frame stands one step before its first."""
    stops = [*places, places[0]] if loop else list(places)
    ways = len(stops) - 1
    frames = []
    for index in range(count):
        position = index * ways / (count if loop else count - 1)
        way = min(math.floor(position), ways - 1)
        (prompt, seed), (next_prompt, next_seed) = stops[way], stops[way + 1]
        toward = Toward(next_prompt, next_seed, position - way)
        frames.append(replace(base, prompt=prompt, seed=seed, toward=toward))
    return tuple(frames)


class Animator:
    """Draws walks."""

    def __init__(self, models: GeneratorModels, admission: Admission, max_bytes: int) -> None:
        self._batcher = models.batcher
        self._stages = models.stages
        self._admission = admission
        self._max_bytes = max_bytes

    async def draw(self, model: GeneratorModel, walk: Walk) -> AsyncGenerator[Event, None]:
        """The events of one film in the contract's order. Closing it frees its rows.

        DeadlineExceeded, at once, when it would not be done in time; InvalidRequest when the film's file is too large.
        """
        request = current_request()
        first = walk.frames[0]
        with self._batcher.book(_sketches(model, walk), deadline=request.deadline) as booking:
            async with self._admission.permit(request.deadline):
                yield Event(
                    accepted=generator_pb2.AnimationAccepted(
                        num_frames=len(walk.frames), width=first.width, height=first.height
                    )
                )
                with FilmWriter(
                    first.width, first.height, frames_per_second=walk.frames_per_second, format=walk.format
                ) as film:
                    pace = _Pace(len(walk.frames))
                    async with _in_order(self, model, walk, booking) as frames:
                        async for pixels in frames:
                            await asyncio.to_thread(film.add, pixels)
                            self._check_bytes(film.num_bytes)  # Not only when an hour of frames is drawn.
                            yield Event(progress=pace.progress())
                    video = await asyncio.to_thread(film.finish)
        self._check_bytes(len(video.content))
        yield Event(
            completed=generator_pb2.AnimationCompleted(
                video=video,
                record=_record(walk, video, request.clock),
                marking=image_pb2.MarkingVerdict(marking=image_pb2.MARKING_GENERATED, step_ids=[STEP_ID]),
            )
        )

    def _check_bytes(self, number: int) -> None:
        if number > self._max_bytes:
            raise InvalidRequest.single(
                "duration",
                f"makes a file of {number} bytes or more, and an answer holds {self._max_bytes}; ask for a shorter "
                "film, fewer frames per second or MP4",
            )

    async def frame(self, model: GeneratorModel, walk: Walk, index: int, booking: Booking) -> Pixels:
        """(H, W, 3) uint8 of one frame."""
        spec = walk.frames[index]
        row = await self._stages.encode.run(model.prepare, spec)
        after = (len(walk.frames) - 1 - index) * walk.num_calls
        submission = self._batcher.submit(
            [row], deadline=current_request().deadline, booking=booking, steps_after=after
        )
        async with submission as steps:
            async for _ in steps:
                pass
        return await self._stages.decode.run(model.finish, row)


@asynccontextmanager
async def _in_order(animator: Animator, model: GeneratorModel, walk: Walk, booking: Booking) -> Any:
    """The frames in their order, so many ahead at work; leaving the block stops them."""
    ahead: deque[asyncio.Task[Pixels]] = deque()

    async def frames() -> AsyncGenerator[Pixels, None]:
        coming = iter(range(len(walk.frames)))
        while True:
            while len(ahead) < _FRAMES_AHEAD and (index := next(coming, None)) is not None:
                ahead.append(asyncio.create_task(animator.frame(model, walk, index, booking)))
            if not ahead:
                return
            pixels = await ahead[0]
            ahead.popleft()
            yield pixels

    try:
        yield frames()
    finally:
        for task in ahead:
            task.cancel()
        for task in ahead:
            with suppress(asyncio.CancelledError, Exception):
                await task


class _Pace:
    """How fast the frames of a film come along."""

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames
        self._done = 0
        self._clock = current_request().clock
        self._first = 0.0

    def progress(self) -> generator_pb2.AnimationProgress:
        """After one more frame. What remains is told from the second on."""
        self._done += 1
        progress = generator_pb2.AnimationProgress(frame=self._done, num_frames=self._num_frames)
        now = self._clock.total_seconds()
        if self._done == 1:
            self._first = now
        else:
            each = (now - self._first) / (self._done - 1)
            progress.remaining.CopyFrom(seconds(each * (self._num_frames - self._done)))
        return progress


def _sketches(model: GeneratorModel, walk: Walk) -> list[Sketch]:
    """The film as few long rows, side by side as its frames will be."""
    first = walk.frames[0]
    rows = min(len(walk.frames), _FRAMES_AHEAD)
    return [model.sketch(first, math.ceil(len(walk.frames) * walk.num_calls / rows))] * rows


def _record(walk: Walk, video: image_pb2.Video, clock: RequestClock) -> image_pb2.StepRecord:
    parameters = walk.parameters
    return image_pb2.StepRecord(
        step_id=STEP_ID,
        service="generator",
        operation="animate",
        models=[walk.model],
        timing=timing(clock),
        width=video.width,
        height=video.height,
        parameters=parameters,
    )
