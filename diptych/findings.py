"""What `analyze` gives back: small frozen values. Units and meanings are those of `editor.proto`."""

from collections.abc import Mapping
from dataclasses import dataclass

from diptych.types import Picture, Record
from diptych.v1 import editor_pb2, image_pb2


@dataclass(frozen=True)
class Box:
    """Pixels, from the top left corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def from_message(cls, box: image_pb2.Box) -> "Box":
        """The box in a message."""
        return cls(box.x, box.y, box.width, box.height)


@dataclass(frozen=True)
class Lighting:
    """Light: luminance and clipping 0 to 1, exposure in stops from middle grey, temperature in kelvin, 0 for none."""

    mean_luminance: float
    exposure: float
    contrast: float
    clipped_shadows: float
    clipped_highlights: float
    color_temperature: float
    key: str

    @classmethod
    def from_message(cls, light: editor_pb2.Lighting) -> "Lighting":
        """The light in a message."""
        return cls(
            light.mean_luminance,
            light.exposure,
            light.contrast,
            light.clipped_shadows,
            light.clipped_highlights,
            light.color_temperature,
            light.key,
        )


@dataclass(frozen=True)
class Quality:
    """Fine detail and noise; a sharpness below about 100 looks soft."""

    sharpness: float
    noise: float


@dataclass(frozen=True)
class PaletteColor:
    """One main colour, "#rrggbb", its common name and its share of pixels."""

    color: str
    name: str
    fraction: float


@dataclass(frozen=True)
class Detection:
    """A thing found and how sure, 0 to 1. `landmarks` are (x, y)."""

    label: str
    score: float
    box: Box
    landmarks: tuple[tuple[int, int], ...]

    @classmethod
    def from_message(cls, found: editor_pb2.Detection) -> "Detection":
        """The thing in a message."""
        landmarks = tuple((point.x, point.y) for point in found.landmarks)
        return cls(found.label, found.score, Box.from_message(found.box), landmarks)


@dataclass(frozen=True)
class AnalyzeResult:
    """What was found. What nobody looked for is None or empty."""

    width: int
    height: int
    has_transparency: bool
    lighting: Lighting | None
    quality: Quality | None
    palette: tuple[PaletteColor, ...]
    faces: tuple[Detection, ...]
    objects: tuple[Detection, ...]
    text: tuple[Detection, ...]
    safety: Mapping[str, float]
    depth: Picture | None
    record: Record

    @classmethod
    def from_message(cls, found: editor_pb2.Analysis, record: image_pb2.StepRecord) -> "AnalyzeResult":
        """The findings in a message, with the record of the look."""
        quality = Quality(found.quality.sharpness, found.quality.noise) if found.HasField("quality") else None
        return cls(
            found.width,
            found.height,
            found.has_transparency,
            Lighting.from_message(found.lighting) if found.HasField("lighting") else None,
            quality,
            tuple(PaletteColor(one.color, one.name, one.fraction) for one in found.palette),
            tuple(Detection.from_message(one) for one in found.faces),
            tuple(Detection.from_message(one) for one in found.objects),
            tuple(Detection.from_message(one) for one in found.text),
            dict(found.safety),
            Picture.from_message(found.depth) if found.HasField("depth") else None,
            Record.from_message(record),
        )
