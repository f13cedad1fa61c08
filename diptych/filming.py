"""Films as callers ask for them, and the streams that make them."""

from collections.abc import AsyncIterable
from typing import Any, Literal

from google.protobuf.duration_pb2 import Duration

from diptych.errors import InternalError, InvalidRequest
from diptych.events import OnEvent, StepFinished, StepProgress, StepStarted
from diptych.types import Film, FilmResult, Marking, Record
from diptych.v1 import image_pb2

FilmFormat = Literal["mp4", "webp"]


def film_format(name: FilmFormat) -> image_pb2.VideoFormat.ValueType:
    """The contract's number of a format; InvalidRequest for one that is none."""
    numbers = {"mp4": image_pb2.VIDEO_FORMAT_MP4, "webp": image_pb2.VIDEO_FORMAT_WEBP}
    if name not in numbers:
        raise InvalidRequest.single("format", f"{name!r} is none of {', '.join(numbers)}")
    return numbers[name]


def duration_message(seconds: float) -> Duration:
    """Seconds as the contract has them; InvalidRequest for what is no length of time."""
    duration = Duration()
    try:
        duration.FromNanoseconds(round(seconds * 1e9))
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest.single("duration", f"{seconds!r} is no number of seconds") from None
    return duration


async def collect_film(
    responses: AsyncIterable[Any], service: str, operation: str, on_event: OnEvent | None
) -> FilmResult:
    """The film of a stream of `accepted`, `progress` and `completed` events, told to `on_event` as it goes."""
    async for response in responses:
        match response.WhichOneof("event"):
            case "accepted" if on_event is not None:
                on_event(StepStarted("1", service, operation))
            case "progress" if on_event is not None:
                now = response.progress
                words = f"frame {now.frame} of {now.num_frames}"
                on_event(StepProgress("1", now.frame / max(1, now.num_frames), words))
            case "completed":
                done = response.completed
                record = Record.from_message(done.record)
                if on_event is not None:
                    on_event(StepFinished("1", (record,)))
                return FilmResult(Film.from_message(done.video), record, Marking.from_message(done.marking))
    raise InternalError(f"the {service} ended the stream without a film")
