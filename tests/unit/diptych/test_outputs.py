"""Files within a number of bytes: the best quality that fits, the size kept, and what is said where none fits."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageDraw

from diptych.cli.options import max_bytes
from diptych.errors import FailedPrecondition, InvalidRequest
from diptych.images import Metadata, encode, output_faults
from diptych.outputs import Output, write
from diptych.v1 import image_pb2

PNG, JPEG, WEBP, AVIF = (
    image_pb2.ImageFormat.Value(f"IMAGE_FORMAT_{name}") for name in ("PNG", "JPEG", "WEBP", "AVIF")
)
ANY = image_pb2.IMAGE_FORMAT_UNSPECIFIED


def photo(alpha: bool = False) -> np.ndarray:
    """128 x 96: soft colours with grain, and a hole in the middle where there is alpha."""
    grid = np.mgrid[:96, :128].astype(np.float32)
    soft = np.stack([grid[0] * 2, grid[1] * 1.5, 128 + 90 * np.sin(grid.sum(0) / 9)], -1)
    pixels = np.clip(soft + np.random.default_rng(1).normal(0, 6, soft.shape), 0, 255).astype(np.uint8)
    if not alpha:
        return pixels
    away = np.hypot(grid[0] - 48, grid[1] - 64)
    return np.dstack([pixels, np.clip((away - 20) * 12, 0, 255).astype(np.uint8)])


def logo() -> np.ndarray:
    picture = PillowImage.new("RGBA", (1024, 1024))
    for number, color in enumerate(("red", "navy", "orange")):
        ImageDraw.Draw(picture).ellipse(
            (number * 200, number * 150, number * 200 + 600, number * 150 + 600), fill=color
        )
    return np.asarray(picture.resize((256, 256), PillowImage.Resampling.LANCZOS))


@pytest.mark.parametrize(
    ("pixels", "asked", "share", "kind", "chosen"),
    [
        (photo(), JPEG, 0.5, "JPEG", "output_quality"),
        (photo(), WEBP, 0.5, "WEBP", "output_quality"),
        (photo(), AVIF, 0.5, "AVIF", "output_quality"),
        (photo(), PNG, 0.5, "PNG", "output_colors"),
        (logo(), PNG, 0.5, "PNG", "output_colors"),
        (photo(), ANY, 1.0, "PNG", None),  # without loss, where that fits
        (photo(), ANY, 0.15, "JPEG", "output_quality"),
        (photo(alpha=True), ANY, 0.08, "WEBP", "output_quality"),
    ],
)
def test_the_best_that_fits_is_written(pixels: Any, asked: Any, share: float, kind: str, chosen: str | None) -> None:
    most = int(len(encode(pixels, asked)) * share)
    written = write(pixels, Output(asked, max_bytes=most))
    opened = PillowImage.open(io.BytesIO(written.image.content))
    assert (opened.format, opened.size) == (kind, pixels.shape[1::-1]) and len(written.image.content) <= most
    assert image_pb2.ImageFormat.Name(written.image.format).endswith(kind) and list(written.chosen) == [chosen] * bool(
        chosen
    )
    if chosen == "output_quality":
        better = encode(pixels, written.image.format, quality=int(written.chosen[chosen]) + 1)
        assert len(better) > most


def test_more_quality_than_asked_for_is_not_taken() -> None:
    written = write(photo(), Output(JPEG, quality=40, max_bytes=10**6))
    assert written.image.content == encode(photo(), JPEG, quality=40) and written.chosen == {"output_quality": "40"}


@pytest.mark.parametrize(
    ("pixels", "output", "way"),
    [
        (photo(), Output(JPEG, max_bytes=300), "ask for WEBP or make it smaller than 128 x 96"),
        (photo(), Output(AVIF, max_bytes=100), "make it smaller"),
        (photo(), Output(PNG, max_bytes=300), "ask for JPEG or WEBP"),
        (photo(alpha=True), Output(PNG, max_bytes=9000), "ask for WEBP"),  # a palette would show steps
        (photo(), Output(WEBP, lossless=True, max_bytes=3000), "leave lossless out"),
    ],
)
def test_what_cannot_fit_is_said_with_what_to_do(pixels: Any, output: Output, way: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        write(pixels, output, field="spec.output")
    assert caught.value.reason == "FILE_TOO_LARGE" and caught.value.message.startswith("spec.output.max_bytes: ")
    assert way in caught.value.message and int(caught.value.metadata["reached_bytes"]) > (output.max_bytes or 0)


@pytest.mark.parametrize("asked", [PNG, JPEG, WEBP, AVIF])
@pytest.mark.parametrize("camera", [False, True])
def test_the_file_says_its_dots_per_inch(asked: Any, camera: bool) -> None:
    exif = PillowImage.Exif()
    exif[282], exif[283], exif[296], exif[271] = 72.0, 72.0, 2, "Camera"
    metadata = Metadata(exif.tobytes().removeprefix(b"Exif\0\0")) if camera else Metadata()
    opened = PillowImage.open(io.BytesIO(write(photo(), Output(asked, dpi=300), metadata=metadata).image.content))
    said = opened.getexif()
    if asked in (PNG, JPEG):
        assert [round(one) for one in opened.info["dpi"]] == [300, 300]
    if camera or asked in (WEBP, AVIF):
        assert (said[282], said[283], said[296], said.get(271)) == (300, 300, 2, "Camera" if camera else None)


def test_limits_that_mean_nothing_are_faults() -> None:
    raw = image_pb2.OutputOptions(max_bytes=9, format=image_pb2.IMAGE_FORMAT_RAW)
    for options in (image_pb2.OutputOptions(max_bytes=0), raw):
        assert [one.field for one in output_faults(options)] == ["max_bytes"]
    for dpi in (0, 9601):
        assert [one.field for one in output_faults(image_pb2.OutputOptions(dpi=dpi))] == ["dpi"]


def test_the_command_reads_sizes() -> None:
    for text, count in (
        ("200KB", 200_000),
        ("1.5 MB", 1_500_000),
        ("64KiB", 65_536),
        ("5000", 5000),
        ("2m", 2_000_000),
    ):
        assert max_bytes(text) == count
    for text in ("", "KB", "-2KB", "200GB", "0", "99999MB"):
        with pytest.raises(InvalidRequest, match="max-size"):
            max_bytes(text)
