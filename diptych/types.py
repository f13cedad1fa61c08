"""What the friendly calls of the client give back: small frozen values, each made from its v1 message.

Names of kinds, routes and labels are the contract's own without their prefix: `GENERATIVE`, `CHAIN`, `STANDARD_EDIT`.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.errors import DiptychError, InvalidRequest, from_status
from diptych.plans import Plan
from diptych.v1 import generator_pb2, image_pb2, model_pb2, orchestrator_pb2

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PilImage

    from diptych.findings import AnalyzeResult

FORMATS: Mapping[str, str] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".avif": "AVIF"}


def format_of(path: str | Path) -> str:
    """The picture format that a file name asks for: PNG, JPEG, WEBP or AVIF. InvalidRequest for other suffixes."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InvalidRequest.single("output", f"{str(path)!r} must end in one of {', '.join(FORMATS)}")
    return FORMATS[suffix]


@dataclass(frozen=True)
class Picture:
    """One picture as a service wrote it. `content` is the encoded file; `format` is PNG, JPEG, WEBP, AVIF or RAW."""

    content: bytes = field(repr=False)
    format: str
    width: int
    height: int
    seed: int | None = None

    @classmethod
    def from_message(cls, image: image_pb2.Image, seed: int | None = None) -> "Picture":
        """The picture in a message."""
        name = image_pb2.ImageFormat.Name(image.format).removeprefix("IMAGE_FORMAT_")
        return cls(image.content, name, image.width, image.height, seed)

    @property
    def bytes(self) -> bytes:
        """The encoded file."""
        return self.content

    def to_pil(self) -> "PilImage":
        """The picture as a Pillow image, RGB or RGBA."""
        import PIL.Image

        if self.format == "RAW":
            mode = "RGBA" if len(self.content) == 4 * self.width * self.height else "RGB"
            return PIL.Image.frombytes(mode, (self.width, self.height), self.content)
        image = PIL.Image.open(io.BytesIO(self.content))
        image.load()
        return image

    def to_numpy(self) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """The pixels, (H, W, 3 or 4) uint8."""
        import numpy as np

        image = self.to_pil()
        has_alpha = "A" in image.getbands() or "transparency" in image.info
        return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))

    def save(self, path: str | Path) -> Path:
        """The path written. Its suffix decides the format; bytes of that format are written as they are."""
        target, wanted = Path(path), format_of(path)
        content = self.content
        if wanted != self.format:
            from diptych.images import encode

            content = encode(self.to_numpy(), image_pb2.ImageFormat.Value(f"IMAGE_FORMAT_{wanted}"))
        target.write_bytes(content)
        return target


@dataclass(frozen=True)
class Film:
    """One film. `format` is MP4 or WEBP."""

    content: bytes = field(repr=False)
    format: str
    width: int
    height: int
    num_frames: int
    frames_per_second: float

    @classmethod
    def from_message(cls, video: image_pb2.Video) -> "Film":
        """The film in a message."""
        name = image_pb2.VideoFormat.Name(video.format).removeprefix("VIDEO_FORMAT_")
        return cls(video.content, name, video.width, video.height, video.num_frames, video.frames_per_second)

    def save(self, path: str | Path) -> Path:
        """The path written; the bytes are written as they are."""
        target = Path(path)
        target.write_bytes(self.content)
        return target


@dataclass(frozen=True)
class ModelUse:
    """Exactly which model did the work. `kind` is GENERATIVE, EDITING, ANALYSIS or ALGORITHM."""

    name: str
    version: str
    digest: str
    kind: str
    engine: str
    precision: str

    @classmethod
    def from_message(cls, ref: image_pb2.ModelRef) -> "ModelUse":
        """The model in a message."""
        kind = image_pb2.ModelKind.Name(ref.kind).removeprefix("MODEL_KIND_")
        return cls(ref.name, ref.version, ref.digest, kind, ref.engine, ref.precision)


@dataclass(frozen=True)
class Record:
    """What was done in one step, as the service that did it wrote it. Times in seconds, sizes in pixels.

    `effect` is CHANGED, NO_EFFECT, DAMAGED when the picture was lost, or UNSPECIFIED for a step that takes no picture.
    """

    step_id: str
    service: str
    operation: str
    models: tuple[ModelUse, ...]
    queue_seconds: float
    compute_seconds: float
    total_seconds: float
    width: int
    height: int
    effect: str
    parameters: Mapping[str, str]

    @classmethod
    def from_message(cls, record: image_pb2.StepRecord) -> "Record":
        """The record in a message."""
        return cls(
            record.step_id,
            record.service,
            record.operation,
            tuple(ModelUse.from_message(ref) for ref in record.models),
            record.timing.queue.ToNanoseconds() / 1e9,
            record.timing.compute.ToNanoseconds() / 1e9,
            record.timing.total.ToNanoseconds() / 1e9,
            record.width,
            record.height,
            image_pb2.Effect.Name(record.effect.effect).removeprefix("EFFECT_"),
            dict(record.parameters),
        )


@dataclass(frozen=True)
class Marking:
    """How a result must be labelled: GENERATED, PARTLY_GENERATED or STANDARD_EDIT, and the steps that caused it."""

    label: str
    step_ids: tuple[str, ...]

    @classmethod
    def from_message(cls, verdict: image_pb2.MarkingVerdict) -> "Marking":
        """The verdict in a message."""
        return cls(image_pb2.Marking.Name(verdict.marking).removeprefix("MARKING_"), tuple(verdict.step_ids))


@dataclass(frozen=True)
class ModelInfo:
    """One model of a service. `state` is NOT_PULLED, AVAILABLE, LOADING, READY or FAILED."""

    service: str
    model: ModelUse
    task: str
    state: str
    license: str
    origin: str
    description: str
    defaults: Mapping[str, str]
    detail: str

    @classmethod
    def from_message(cls, service: str, model: model_pb2.Model) -> "ModelInfo":
        """The model in a message of `service`."""
        state = model_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_")
        return cls(
            service,
            ModelUse.from_message(model.ref),
            model.task,
            state,
            model.license,
            model.origin,
            model.description,
            dict(model.defaults),
            model.detail,
        )


@dataclass(frozen=True)
class Pictures:
    """Results that hold pictures; the short forms speak of the first."""

    images: tuple[Picture, ...]

    @property
    def image(self) -> Picture:
        """The first picture. LookupError when there is none."""
        if not self.images:
            raise LookupError("the result holds no picture")
        return self.images[0]

    @property
    def bytes(self) -> bytes:
        """The first picture's encoded file."""
        return self.image.bytes

    def to_pil(self) -> "PilImage":
        """The first picture as a Pillow image."""
        return self.image.to_pil()

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """The paths written: `path` for one picture; `name-1.png`, `name-2.png`, ... for several."""
        return tuple(picture.save(to) for picture, to in zip(self.images, self.paths(path), strict=True))

    def paths(self, path: str | Path) -> tuple[Path, ...]:
        """Where `save` would write."""
        base, several = Path(path), len(self.images) > 1
        numbered = (base.with_name(f"{base.stem}-{i}{base.suffix}") for i in range(1, len(self.images) + 1))
        return tuple(numbered) if several else (base,) * len(self.images)


@dataclass(frozen=True)
class GenerateResult(Pictures):
    """Pictures of one prompt. `images[i].seed` repeats picture i; `dropped_prompt` is what the model did not read,
    `read_prompt` what it read in another language than the prompt's."""

    record: Record
    marking: Marking
    seed: int
    num_inference_steps: int
    guidance_scale: float
    dropped_prompt: str
    read_prompt: str

    @property
    def records(self) -> tuple[Record, ...]:
        """The one step's record, as in the other results."""
        return (self.record,)

    @classmethod
    def from_messages(
        cls,
        images: Iterable[generator_pb2.GeneratedImage],
        completed: generator_pb2.GenerationCompleted | generator_pb2.GenerateImageResponse,
    ) -> "GenerateResult":
        """The result of a finished call."""
        pictures = tuple(Picture.from_message(one.image, one.seed) for one in sorted(images, key=lambda one: one.index))
        resolved = completed.resolved
        return cls(
            pictures,
            Record.from_message(completed.record),
            Marking.from_message(completed.marking),
            resolved.seed,
            resolved.num_inference_steps,
            resolved.guidance_scale,
            resolved.dropped_prompt,
            resolved.read_prompt,
        )


@dataclass(frozen=True)
class FilmResult:
    """One film and what was done for it."""

    film: Film
    record: Record
    marking: Marking

    def save(self, path: str | Path) -> Path:
        """The path written."""
        return self.film.save(path)


@dataclass(frozen=True)
class EditResult(Pictures):
    """One edited picture, with one record for each operation."""

    records: tuple[Record, ...]
    marking: Marking


@dataclass(frozen=True)
class Outcome:
    """What became of one of the goal's pictures: its results, places in `images` and `films`, or why there is none."""

    goal_image: int
    failure: DiptychError | None
    images: tuple[int, ...]
    films: tuple[int, ...]

    @classmethod
    def from_message(cls, outcome: orchestrator_pb2.ImageOutcome) -> "Outcome":
        """The outcome in a message."""
        failure = from_status(outcome.failure) if outcome.HasField("failure") else None
        return cls(outcome.goal_image, failure, tuple(outcome.images), tuple(outcome.videos))


@dataclass(frozen=True)
class CreateResult(Pictures):
    """What came of a goal. `total_seconds` minus `compute_seconds` is the orchestrator's own time.

    `outcomes`: one for each picture when several were treated each on its own; a failure of one leaves the others.
    `findings`: what the steps that look found, by the id of the plan step.
    """

    films: tuple[Film, ...]
    records: tuple[Record, ...]
    marking: Marking
    plan: Plan
    total_seconds: float
    compute_seconds: float
    outcomes: tuple[Outcome, ...] = ()
    findings: Mapping[str, "AnalyzeResult"] = field(default_factory=dict)
