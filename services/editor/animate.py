"""A still into motion: checked, laid out in layers, drawn frame by frame straight into the film."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

from diptych.errors import InvalidRequest
from diptych.films import FilmWriter, film_size, resolve_format
from diptych.images import Pixels
from diptych.serving.context import RequestContext
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.convert import check_image
from services.editor.cutting.matting import box_of, find_subject
from services.editor.editing import Editor, marking, timing
from services.editor.effect import measure
from services.editor.faults import Faults
from services.editor.filling.inpainting import continued
from services.editor.models import INPAINTING
from services.editor.moving.camera import PAN, ZOOM_IN, Path, camera_path
from services.editor.moving.layers import Scene, behind, flat, mirrored, parted
from services.editor.pixels.dominant_shifts import Hole
from services.editor.pixels.resampling import resample

Event = editor_pb2.StreamAnimateImageResponse
T = TypeVar("T")

_AMOUNT, _SECONDS, _MOST_SECONDS, _FPS, _MAX_SIDE = 0.3, 4.0, 60.0, 24.0, 1920
# A subject that fills more than this share of the picture has no background to part from.
_MOST_SUBJECT = 0.9


@dataclass(frozen=True)
class AnimationRequest:
    """A checked request."""

    image: image_pb2.Image
    motion: int
    amount: float
    num_frames: int
    frames_per_second: float
    parallax: bool
    direction: float | None
    max_side: int
    format: image_pb2.VideoFormat.ValueType


def animation_request(message: editor_pb2.StreamAnimateImageRequest) -> AnimationRequest:
    """The checked request, defaults filled in. InvalidRequest with all faults; FailedPrecondition without encoder."""
    faults = Faults("")
    check_image(message.image, message.HasField("image"), faults / "image")
    motion = faults.choice(message, "motion", editor_pb2.CameraMotion.values()) or ZOOM_IN
    faults.choice(message, "format", image_pb2.VideoFormat.values())
    amount = faults.number(message, "amount", 0, 1, _AMOUNT)
    fps = faults.number(message, "frames_per_second", 1, 60, _FPS)
    max_side = round(faults.number(message, "max_side", 64, 4096, _MAX_SIDE))
    direction = faults.number(message, "direction", -360, 360, 0) if message.HasField("direction") else None
    if direction is not None and motion != PAN:
        (faults / "direction").add("goes with a pan only; leave it out")
    seconds = message.duration.ToNanoseconds() / 1e9 if message.HasField("duration") else _SECONDS
    if not 0 < seconds <= _MOST_SECONDS:
        (faults / "duration").add(f"is {seconds:g} s; give more than 0 and at most {_MOST_SECONDS:g}")
    faults.raise_any()
    return AnimationRequest(
        image=message.image,
        motion=motion,
        amount=amount,
        num_frames=max(1, round(seconds * fps)),
        frames_per_second=fps,
        parallax=message.parallax if message.HasField("parallax") else True,
        direction=direction,
        max_side=max_side,
        format=resolve_format(message.format),
    )


async def animate(request: AnimationRequest, editor: Editor, current: RequestContext) -> AsyncGenerator[Event, None]:
    """The events of one film, in the contract's order. Closing the generator stops the work after the frame at hand."""
    pixels = await editor.decode(request.image, "image")
    guarded = editor.surroundings("", current.deadline)
    await editor.safeguard.check(pixels, "input", guarded)
    size = _frame_size(pixels, request)
    accepted = editor_pb2.ImageAnimationAccepted(num_frames=request.num_frames, width=size[0], height=size[1])
    yield Event(accepted=accepted)
    context = editor.surroundings("", current.deadline)
    scene, path = await _set_up(pixels, size, request, context)
    del pixels
    shown: list[Pixels] = []
    with FilmWriter(*size, frames_per_second=request.frames_per_second, format=request.format) as film:

        def draw(number: int) -> None:
            # An orbit's last frame is the one before its first; the others arrive.
            last = request.num_frames if path.closed else max(1, request.num_frames - 1)
            frame = scene.frame(*path.views(number / last))
            film.add(frame)
            if number in (0, request.num_frames // 2):
                shown.append(frame)

        for number in range(request.num_frames):
            await _whole(context, draw, number)
            _check_bytes(film.num_bytes, editor.max_result_bytes)
            progress = editor_pb2.ImageAnimationProgress(frame=number + 1, num_frames=request.num_frames)
            yield Event(progress=progress)
        video = await _whole(context, film.finish)
    _check_bytes(len(video.content), editor.max_result_bytes)
    context.method("camera", "opencv")
    record = image_pb2.StepRecord(
        step_id="1",
        service="editor",
        operation="animate",
        models=[*context.used, *guarded.used],
        timing=timing(current.clock),
        width=size[0],
        height=size[1],
        effect=await context.compute(measure, shown[0], shown[-1]),
        parameters=context.resolved | guarded.resolved,
    )
    done = editor_pb2.ImageAnimationCompleted(video=video, record=record, marking=marking([record]))
    yield Event(completed=done)


def _frame_size(pixels: Pixels, request: AnimationRequest) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    share = min(1.0, request.max_side / max(width, height))
    return film_size(max(1, round(width * share)), max(1, round(height * share)), request.format)


async def _set_up(
    pixels: Pixels, size: tuple[int, int], request: AnimationRequest, context: EditContext
) -> tuple[Scene, Path]:
    """The layers, no larger than the nearest view needs them, and where the camera goes."""
    wanted = request.parallax and pixels.shape[2] == 3 and request.amount > 0
    aspect, focus = size[0] / size[1], (0.5, 0.5)
    path = camera_path(request.motion, request.amount, aspect, focus, request.direction, wanted)
    most = max(view.zoom for time in (0.0, 1.0) for view in path.views(time))
    share = min(1.0, size[0] * most / pixels.shape[1])
    large = (max(1, round(pixels.shape[1] * share)), max(1, round(pixels.shape[0] * share)))
    pixels = await context.compute(resample, pixels, *large)
    layers, parallax = flat(pixels), False
    if wanted:
        matte = await find_subject(pixels, context)
        box = box_of(matte)
        parallax = box is not None and float(matte.mean()) <= _MOST_SUBJECT
        if box is not None and parallax:
            focus = ((box[0] + box[2]) / 2 / large[0], (box[1] + box[3]) / 2 / large[1])
            back = await _ground(pixels, await context.compute(behind, matte), context)
            layers = await context.compute(parted, pixels, matte, back)
    if (parallax, focus) != (wanted, (0.5, 0.5)):
        path = camera_path(request.motion, request.amount, aspect, focus, request.direction, parallax)
    _note(request, parallax, context)
    return await context.compute(Scene.of, layers, size, most), path


async def _ground(pixels: Pixels, hole: Hole, context: EditContext) -> Pixels:
    """What is behind the subject: by a network for inpainting if there is one, else mirrored."""
    model = await asyncio.to_thread(context.models.first_of, INPAINTING)
    if model:
        return await continued(pixels, hole, context, model)
    context.method("mirrored-ground", "opencv")
    return await context.compute(mirrored, pixels, hole)


def _note(request: AnimationRequest, parallax: bool, context: EditContext) -> None:
    context.note(
        motion=editor_pb2.CameraMotion.Name(editor_pb2.CameraMotion.ValueType(request.motion)),
        amount=request.amount,
        num_frames=request.num_frames,
        frames_per_second=request.frames_per_second,
        parallax=parallax,
        max_side=request.max_side,
        format=image_pb2.VideoFormat.Name(request.format),
    )
    if request.direction is not None:
        context.note(direction=request.direction)


async def _whole(context: EditContext, function: Callable[..., T], *args: object) -> T:
    """`function` off the event loop; a caller who leaves waits for it, as a film is not to be closed under its pen."""
    work = asyncio.ensure_future(context.compute(function, *args))
    try:
        return await asyncio.shield(work)
    finally:
        if not work.done():
            await asyncio.wait([work])


def _check_bytes(count: int, most: int) -> None:
    if count > most:
        raise InvalidRequest.single(
            "duration", f"makes a film of more than the {most} bytes that an answer holds; make it shorter or smaller"
        )
