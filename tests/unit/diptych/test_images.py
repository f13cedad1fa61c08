"""Bytes to pixels and back: every kind of file, every limit, every lie."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from diptych.errors import InvalidRequest
from diptych.images import ImageLimits, decode, decode_mask, encode, flatten, from_message, to_message, to_rgba
from diptych.v1 import image_pb2

PNG = image_pb2.IMAGE_FORMAT_PNG
JPEG = image_pb2.IMAGE_FORMAT_JPEG
WEBP = image_pb2.IMAGE_FORMAT_WEBP
RAW = image_pb2.IMAGE_FORMAT_RAW


def saved(image: PillowImage.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, color: int, rows: bytes, extra: bytes = b"", interlace: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def fault(content: bytes, **options: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode(content, field="spec.image.content", **options)  # type: ignore[arg-type]
    (violation,) = caught.value.violations
    assert violation.field == "spec.image.content"
    return violation.description


@pytest.fixture
def colors() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (7, 5, 4), dtype=np.uint8)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", [PNG, WEBP, RAW])
def test_lossless_formats_give_back_what_they_got(colors: np.ndarray, channels: int, kind: int) -> None:
    pixels = colors[..., :channels]
    message = to_message(pixels, kind, lossless=True)
    assert (message.width, message.height, message.format) == (5, 7, kind)
    assert np.array_equal(from_message(message, field="image"), pixels)


def test_unspecified_is_png_on_the_way_out_and_whatever_it_is_on_the_way_in(colors: np.ndarray) -> None:
    message = to_message(colors)
    assert message.format == PNG
    message.format = image_pb2.IMAGE_FORMAT_UNSPECIFIED
    assert np.array_equal(from_message(message, field="image"), colors)


def test_encoding_is_deterministic(colors: np.ndarray) -> None:
    for kind in (PNG, JPEG, WEBP):
        assert encode(colors, kind) == encode(colors.copy(), kind)


def test_jpeg_lays_alpha_on_white() -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, 8:, 3] = 255
    read = decode(encode(pixels, JPEG, quality=95), field="x")
    assert read.shape == (16, 16, 3)
    assert read[:, :7].min() > 240 and read[:, 9:].max() < 15


def test_flatten_blends_and_to_rgba_adds_opacity() -> None:
    pixels = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [100, 0, 200, 128]]], np.uint8)
    assert flatten(pixels).tolist() == [[[255, 255, 255], [0, 0, 0], [177, 127, 227]]]
    assert to_rgba(flatten(pixels))[..., 3].tolist() == [[255, 255, 255]]


def test_grey_is_written_as_one_channel_and_read_as_three() -> None:
    mask = np.array([[0, 128, 255]], np.uint8)
    content = encode(mask)
    assert PillowImage.open(io.BytesIO(content)).mode == "L"
    assert decode(content, field="x").tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    read = decode(saved(PillowImage.fromarray(ramp), "PNG"), field="x")
    assert read[..., 0].ravel().tolist() == list(range(256))


def test_sixteen_bit_colour_is_scaled_and_its_transparent_colour_found() -> None:
    row = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0xFFFF, 0x8000, 0)
    opaque = decode(png(2, 1, 16, 2, row), field="x")
    assert opaque.tolist() == [[[0x12, 0x56, 0x9A], [255, 128, 0]]]
    keyed = png(2, 1, 16, 2, row, chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)))
    assert decode(keyed, field="x")[0, :, 3].tolist() == [0, 255]


def test_sixteen_bit_grey_with_a_transparent_value() -> None:
    row = b"\0" + struct.pack(">2H", 0x1234, 0x1235)
    read = decode(png(2, 1, 16, 0, row, chunk(b"tRNS", struct.pack(">H", 0x1234))), field="x")
    assert read[0, :, 3].tolist() == [0, 255]


def test_palette_one_bit_and_grey_alpha() -> None:
    palette = PillowImage.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    assert decode(saved(palette, "PNG"), field="x").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    keyed = decode(saved(palette, "PNG", transparency=bytes([64, 255])), field="x")
    assert keyed.tolist() == [[[10, 20, 30, 64], [200, 100, 50, 255]]]
    one_bit = PillowImage.new("1", (2, 1))
    one_bit.putpixel((1, 0), 1)
    assert decode(saved(one_bit, "PNG"), field="x").tolist() == [[[0] * 3, [255] * 3]]
    grey_alpha = PillowImage.new("LA", (1, 1), (77, 5))
    assert decode(saved(grey_alpha, "PNG"), field="x").tolist() == [[[77, 77, 77, 5]]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    red = PillowImage.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixel = decode(saved(red, "JPEG", quality=95), field="x")[8, 8]
    assert pixel[0] > 230 and pixel[1] < 25 and pixel[2] < 25


def test_a_wide_profile_is_brought_to_srgb() -> None:
    # A profile whose red and blue are exchanged against sRGB proves that it is really applied.
    lab = ImageCms.createProfile("LAB")
    grey = PillowImage.new("RGB", (4, 4), (200, 30, 60))
    plain = decode(saved(grey, "PNG"), field="x")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(saved(grey, "PNG", icc_profile=srgb), field="x"), plain)
    swapped = decode(saved(grey, "PNG", icc_profile=_swapped_primaries(srgb)), field="x")[0, 0]
    assert swapped.tolist() == pytest.approx([60, 30, 200], abs=3)
    # A profile for another kind of pixels cannot be applied: the numbers stay as they are.
    unfit = ImageCms.ImageCmsProfile(lab).tobytes()
    assert np.array_equal(decode(saved(grey, "PNG", icc_profile=unfit), field="x"), plain)


def _swapped_primaries(profile: bytes) -> bytes:
    """The sRGB profile with its rXYZ and bXYZ tags exchanged, and another name."""
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ").replace(
        "sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(kind: str, orientation: int) -> None:
    picture = PillowImage.fromarray(np.random.default_rng(2).integers(0, 256, (3, 2, 3), dtype=np.uint8))
    picture = picture.resize((32, 48), PillowImage.Resampling.NEAREST)
    exif = PillowImage.Exif()
    exif[274] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    content = saved(picture, kind, exif=exif, **options)
    moves = {
        2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
        3: PillowImage.Transpose.ROTATE_180,
        4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
        5: PillowImage.Transpose.TRANSPOSE,
        6: PillowImage.Transpose.ROTATE_270,
        7: PillowImage.Transpose.TRANSVERSE,
        8: PillowImage.Transpose.ROTATE_90,
    }
    expected = picture.transpose(moves[orientation]) if orientation > 1 else picture
    read = decode(content, field="x")
    assert read.shape[:2] == ((32, 48) if orientation >= 5 else (48, 32))
    assert np.abs(read.astype(int) - np.asarray(expected).astype(int)).mean() < 3


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [PillowImage.new("RGBA", (8, 8), color) for color in ("red", "blue")]
    for kind in ("PNG", "WEBP"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert decode(content, field="x")[0, 0, :3].tolist() == [255, 0, 0]


def test_what_is_no_picture_is_refused() -> None:
    assert "empty" in fault(b"")
    assert "PNG, JPEG, WEBP, AVIF, TIFF or HEIC" in fault(b"hello, I am a text file")
    assert "PNG, JPEG, WEBP, AVIF, TIFF or HEIC" in fault(saved(PillowImage.new("RGB", (4, 4)), "GIF"))
    for stub in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"):
        assert "damaged" in fault(stub)


def test_limits_hold_before_decoding() -> None:
    bomb = png(50_000, 50_000, 8, 2, b"")
    assert "at most 16384 pixels a side" in fault(bomb)
    assert "at most 100 pixels a side" in fault(png(101, 1, 8, 0, b""), limits=ImageLimits(max_side=100))
    assert "send at most 99" in fault(png(10, 10, 8, 0, b""), limits=ImageLimits(max_pixels=99))
    assert "send at most 10" in fault(png(1, 1, 8, 0, b"\0\0"), limits=ImageLimits(max_bytes=10))
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff" * 2
    assert "16777216" in fault(webp)


def test_a_limit_above_pillows_own_is_honoured() -> None:
    side = 10_000
    content = png(side, side, 1, 0, (b"\0" + b"\xff" * (side // 8)) * side)
    assert decode(content, field="x", limits=ImageLimits(max_pixels=side * side)).shape == (side, side, 3)


def test_a_declared_format_must_be_true() -> None:
    content = encode(np.zeros((4, 4, 3), np.uint8), PNG)
    assert decode(content, field="x", format_hint=PNG).shape == (4, 4, 3)
    assert "is a PNG file" in fault(content, format_hint=JPEG)


def test_a_png_that_promises_more_rows_than_it_holds() -> None:
    assert "holds fewer" in fault(png(10, 10, 8, 2, (b"\0" + b"\xff" * 30) * 3))
    # Seven passes of (columns, rows); each row begins with its filter byte.
    whole = sum(rows * (1 + 3 * columns) for columns, rows in ((2, 2), (1, 2), (3, 1), (2, 3), (5, 2), (5, 5), (10, 5)))
    assert decode(png(10, 10, 8, 2, bytes(whole), interlace=1), field="x").shape == (10, 10, 3)
    for missing in (1, 31, 62, 200):
        assert "send the whole file" in fault(png(10, 10, 8, 2, bytes(whole - missing), interlace=1))


def test_a_black_png_is_whole() -> None:
    assert not decode(png(3, 3, 1, 0, b"\0\0" * 3), field="x").any()
    assert not decode(png(3, 3, 8, 6, (b"\0" + bytes(12)) * 3), field="x").any()


def test_a_jpeg_that_promises_more_than_its_bytes_can_hold() -> None:
    content = bytearray(saved(PillowImage.new("RGB", (16, 16), "red"), "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 5000, 5000)
    assert "5000 x 5000" in fault(bytes(content))


@pytest.mark.parametrize("kind", [PNG, JPEG, WEBP])
def test_half_a_file_is_refused(kind: int) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encode(noise, kind)
    assert "damaged or truncated" in fault(content[: len(content) // 2])


def test_raw_needs_its_size_and_exactly_its_bytes() -> None:
    def faults(**fields: object) -> list[tuple[str, str]]:
        with pytest.raises(InvalidRequest) as caught:
            from_message(image_pb2.Image(format=RAW, **fields), field="spec.image")  # type: ignore[arg-type]
        return [(violation.field, violation.description) for violation in caught.value.violations]

    assert [name for name, _ in faults(content=b"123")] == ["spec.image.width", "spec.image.height"]
    assert faults(content=b"1234567", width=2, height=1) == [
        ("spec.image.content", "has 7 bytes; 2 x 1 RAW needs 6 (RGB) or 8 (RGBA)")
    ]
    assert faults(content=b"1", width=20_000, height=1)[0][0] == "spec.image"
    assert faults(width=1, height=1)[0][0] == "spec.image.content"


def test_an_unknown_format_number_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"spec\.image\.format"):
        from_message(image_pb2.Image(content=b"x", format=99), field="spec.image")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=r"spec\.output\.format"):
        encode(np.zeros((1, 1, 3), np.uint8), 99, field="spec.output.format")  # type: ignore[arg-type]


def test_webp_has_a_largest_side() -> None:
    with pytest.raises(InvalidRequest, match="16383"):
        encode(np.zeros((1, 16_384, 3), np.uint8), WEBP)


def test_a_mask_is_white_where_selected() -> None:
    mask = to_message(np.array([[0, 255], [128, 255]], np.uint8))
    read = decode_mask(mask, (2, 2), field="mask")
    assert read.dtype == np.float32
    assert read.ravel().tolist() == pytest.approx([0, 1, 128 / 255, 1])
    assert read[0, 1] == 1
    half = to_message(np.full((1, 1, 4), 255, np.uint8) - np.array([0, 0, 0, 155], np.uint8))
    assert decode_mask(half, (1, 1), field="mask")[0, 0] == pytest.approx(100 / 255)
    with pytest.raises(InvalidRequest, match="mask: is 2 x 2 pixels, the picture is 3 x 2"):
        decode_mask(mask, (3, 2), field="mask")
