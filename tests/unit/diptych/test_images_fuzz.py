"""Whatever arrives: pixels, or InvalidRequest that names the field. Never anything else."""

import io
import random

import numpy as np
import pillow_heif
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageCms

from diptych.errors import InvalidRequest
from diptych.images import ImageLimits, decode, facts_of, from_message
from diptych.v1 import image_pb2

LIMITS = ImageLimits(max_bytes=100_000, max_pixels=100_000, max_side=2_000)


def _files() -> list[bytes]:
    noise = np.random.default_rng(4).integers(0, 256, (17, 13, 4), dtype=np.uint8)
    base = PillowImage.fromarray(noise)
    exif = PillowImage.Exif()
    exif[274] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = PillowImage.fromarray(noise[..., 0].astype(np.uint16) * 257)
    variants: list[tuple[PillowImage.Image, str, dict[str, object]]] = [
        (base, "PNG", {"exif": exif, "icc_profile": profile}),
        (base.convert("P"), "PNG", {"transparency": 3}),
        (base.convert("1"), "PNG", {}),
        (deep, "PNG", {"icc_profile": profile}),
        (base, "PNG", {"save_all": True, "append_images": [base.rotate(90)]}),
        (base.convert("RGB"), "JPEG", {"exif": exif, "icc_profile": profile}),
        (base.convert("RGB"), "JPEG", {"progressive": True, "optimize": True}),
        (base.convert("CMYK"), "JPEG", {}),
        (base.convert("L"), "JPEG", {"icc_profile": profile}),
        (base, "WEBP", {"exif": exif, "icc_profile": profile}),
        (base, "WEBP", {"lossless": True}),
        (base, "WEBP", {"save_all": True, "append_images": [base.rotate(90)]}),
        (base, "TIFF", {"exif": exif, "icc_profile": profile}),
        (base.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
        (deep, "TIFF", {"compression": "tiff_deflate"}),
        (base, "AVIF", {"exif": exif}),
        (base.convert("RGB"), "HEIF", {}),
    ]
    contents = []
    for image, kind, options in variants:
        file = io.BytesIO()
        if kind == "HEIF":
            pillow_heif.from_pillow(image).save(file)
        else:
            image.save(file, kind, **options)
        contents.append(file.getvalue())
    return contents


FILES = _files()


def survive(content: bytes) -> None:
    try:
        pixels = decode(content, field="spec.image.content", limits=LIMITS)
    except InvalidRequest as error:
        assert [violation.field for violation in error.violations] == ["spec.image.content"]
        assert error.violations[0].description
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] in (3, 4)
        assert pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels
        assert facts_of(image_pb2.Image(content=content)).frames >= 1


@pytest.mark.parametrize("content", FILES)
def test_the_files_themselves_are_fine(content: bytes) -> None:
    assert decode(content, field="x", limits=LIMITS).shape[2] in (3, 4)


@settings(deadline=None, max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FILES), st.integers(0, 4000))
def test_truncated_anywhere(content: bytes, length: int) -> None:
    survive(content[:length])


@settings(deadline=None, max_examples=600, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FILES), st.integers(0, 2**32), st.integers(1, 12), st.booleans())
def test_bytes_flipped_anywhere(content: bytes, seed: int, count: int, early: bool) -> None:
    damaged, chance = bytearray(content), random.Random(seed)
    for _ in range(count):
        damaged[chance.randrange(min(len(damaged), 200) if early else len(damaged))] = chance.randrange(256)
    survive(bytes(damaged))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"RIFF\x10\0\0\0WEBP",
            b"RIFFxxxxWEBPVP8X",
            b"II*\0",
            b"\0\0\0\x1cftypavif",
            b"\0\0\0\x18ftypheic",
        ]
    ),
    st.binary(),
)
@example(b"RIFFxxxxWEBPVP8L", b"\0\0\0\0/\0\0\0\0\0")
def test_rubbish_after_a_true_beginning(start: bytes, rest: bytes) -> None:
    survive(start + rest)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.binary(max_size=64), st.integers(0, 99), st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_any_message(content: bytes, kind: int, width: int, height: int) -> None:
    message = image_pb2.Image(content=content, width=width, height=height)
    message.format = kind  # type: ignore[assignment]
    try:
        pixels = from_message(message, field="spec.image", limits=LIMITS)
    except InvalidRequest as error:
        assert all(violation.field.startswith("spec.image") for violation in error.violations)
    else:
        assert pixels.shape[:2] == (height, width)
