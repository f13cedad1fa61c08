"""Results as files: in the format that is asked for, and within the bytes that are.

`write` takes the best quality whose file is small enough, by bisection. It never changes the size in pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from diptych.errors import FailedPrecondition
from diptych.images import DEFAULT_QUALITY, Metadata, Pixels, decode, encode, flatten, to_rgba
from diptych.v1 import image_pb2

Format: TypeAlias = image_pb2.ImageFormat.ValueType

_PNG, _JPEG, _WEBP, _AVIF = (
    image_pb2.IMAGE_FORMAT_PNG,
    image_pb2.IMAGE_FORMAT_JPEG,
    image_pb2.IMAGE_FORMAT_WEBP,
    image_pb2.IMAGE_FORMAT_AVIF,
)
_UNSPECIFIED = image_pb2.IMAGE_FORMAT_UNSPECIFIED
# Below these, blocks and smears are seen before the picture is.
_LOWEST_QUALITY: Mapping[Format, int] = {_JPEG: 25, _WEBP: 15, _AVIF: 30}
_COLORS = (256, 128, 64)
# Soft edges and skin in a palette that cannot be dithered: from here on their steps are seen.
_MOST_OFF = 2.0
# Slow packing of a PNG takes off a third at most.
_MOST_SAVED, _SMALL_PNG = 1.5, 6
_NONE = Metadata()


@dataclass(frozen=True)
class Output:
    """How a result is written: the fields of `OutputOptions`, with their defaults."""

    format: Format = _UNSPECIFIED
    quality: int = DEFAULT_QUALITY
    lossless: bool = False
    metadata: image_pb2.MetadataPolicy.ValueType = image_pb2.METADATA_POLICY_UNSPECIFIED
    max_bytes: int | None = None
    dpi: int | None = None

    @classmethod
    def of(cls, options: image_pb2.OutputOptions) -> "Output":
        """Of options in which `output_faults` found none."""
        return cls(
            options.format,
            options.quality if options.HasField("quality") else DEFAULT_QUALITY,
            options.lossless,
            options.metadata,
            options.max_bytes if options.HasField("max_bytes") else None,
            options.dpi if options.HasField("dpi") else None,
        )


@dataclass(frozen=True)
class Written:
    """A result as a file, and what was chosen to make it small enough: `output_quality`, or `output_colors`."""

    image: image_pb2.Image
    chosen: Mapping[str, str] = field(default_factory=dict)


def write(pixels: Pixels, output: Output, *, metadata: Metadata = _NONE, field: str = "spec.output") -> Written:
    """The file of (H, W, 3|4) uint8, as it is asked for; `metadata` as it was fitted.

    InvalidRequest as `encode`, naming `field`.format; FailedPrecondition, reason FILE_TOO_LARGE, where no file worth
    looking at has so few bytes.
    """
    return _Writing(pixels, output, metadata, field).written()


@dataclass
class _Writing:
    """One picture on its way into a file; `least` is the size of the smallest file so far."""

    pixels: Pixels
    output: Output
    metadata: Metadata
    field: str
    least: int = 0

    def written(self) -> Written:
        output, most = self.output, self.output.max_bytes
        if most is None:
            content = self._encoded(output.format, quality=output.quality)
            return self._as_image(output.format or _PNG, content)
        if output.format in (_UNSPECIFIED, _PNG) and (packed := self._packed(most)) is not None:
            return self._as_image(_PNG, packed)
        if output.format == _PNG:
            return self._with_palette(most)
        if output.format == _WEBP and output.lossless:
            content = self._encoded(_WEBP, quality=output.quality)
            if len(content) > most:
                raise self._too_large(most, "WEBP without loss", "leave lossless out")
            return self._as_image(_WEBP, content)
        return self._with_quality(output.format or (_WEBP if self._is_seen_through() else _JPEG), most)

    def _encoded(self, format: Format, *, quality: int = DEFAULT_QUALITY, colors: int = 0, packing: int = 1) -> bytes:
        content = encode(
            self.pixels,
            format,
            quality=quality,
            lossless=self.output.lossless and format == _WEBP,
            colors=colors,
            packing=packing,
            dpi=self.output.dpi,
            metadata=self.metadata,
            field=f"{self.field}.format",
        )
        self.least = min(self.least or len(content), len(content))
        return content

    def _packed(self, most: int) -> bytes | None:
        """A PNG without loss that is small enough, if there is one."""
        content = self._encoded(_PNG)
        if most < len(content) <= most * _MOST_SAVED:
            content = self._encoded(_PNG, packing=_SMALL_PNG)
        return content if len(content) <= most else None

    def _with_palette(self, most: int) -> Written:
        lossless = self.least
        for colors in _COLORS:
            content = self._encoded(_PNG, colors=colors, packing=_SMALL_PNG)
            if self._is_seen_through() and self._off(content) > _MOST_OFF:
                self.least = lossless
                raise self._too_large(most, "PNG (in fewer colours its soft edges would show steps)", "ask for WEBP")
            if len(content) <= most:
                return self._as_image(_PNG, content, colors=colors)
        other = "WEBP" if self._is_seen_through() else "JPEG or WEBP"
        raise self._too_large(most, f"PNG of {_COLORS[-1]} colours", f"ask for {other}")

    def _with_quality(self, format: Format, most: int) -> Written:
        best = self.output.quality
        content = self._encoded(format, quality=best)
        if len(content) <= most:
            return self._as_image(format, content, quality=best)
        low = min(best, _LOWEST_QUALITY[format])
        content = self._encoded(format, quality=low)
        if len(content) > most:
            name = image_pb2.ImageFormat.Name(format).removeprefix("IMAGE_FORMAT_")
            other = {_JPEG: "ask for WEBP", _WEBP: "ask for AVIF"}.get(format, "")
            raise self._too_large(most, f"{name} of quality {low}", other)
        high = best
        while high - low > 1:
            middle = (low + high) // 2
            tried = self._encoded(format, quality=middle)
            if len(tried) <= most:
                low, content = middle, tried
            else:
                high = middle
        return self._as_image(format, content, quality=low)

    def _off(self, content: bytes) -> float:
        """By how much what is seen of the picture differs from it in a file, 0 to 255."""
        seen = [
            flatten(to_rgba(pixels)).astype(np.int16) for pixels in (self.pixels, decode(content, field=self.field))
        ]
        covered = max(float((self.pixels[..., 3] > 0).mean()), 1e-6)
        return float(np.abs(seen[0] - seen[1]).mean()) / covered

    def _is_seen_through(self) -> bool:
        return self.pixels.ndim == 3 and self.pixels.shape[2] == 4 and bool((self.pixels[..., 3] < 255).any())

    def _as_image(self, format: Format, content: bytes, **chosen: int) -> Written:
        height, width = self.pixels.shape[:2]
        image = image_pb2.Image(content=content, format=format, width=width, height=height)
        return Written(image, {f"output_{name}": str(value) for name, value in chosen.items()})

    def _too_large(self, most: int, tried: str, instead: str) -> FailedPrecondition:
        height, width = self.pixels.shape[:2]
        share = math.sqrt(most / self.least)
        smaller = f"make it smaller than {width} x {height}, about {max(1, round(width * share))} pixels wide"
        ways = " or ".join(way for way in (instead, smaller) if way)
        return FailedPrecondition(
            f"{self.field}.max_bytes: is {most}, but as {tried} the picture has {self.least} bytes; {ways}",
            reason="FILE_TOO_LARGE",
            metadata={"field": f"{self.field}.max_bytes", "reached_bytes": str(self.least)},
        )
