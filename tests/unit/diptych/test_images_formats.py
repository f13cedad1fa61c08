"""TIFF, AVIF and HEIC come in as they look, AVIF goes out."""

import io
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from diptych.errors import InvalidRequest
from diptych.images import ImageLimits, decode, encode, facts_of, output_faults, to_message
from diptych.v1 import image_pb2

AVIF, TIFF, HEIC = image_pb2.IMAGE_FORMAT_AVIF, image_pb2.IMAGE_FORMAT_TIFF, image_pb2.IMAGE_FORMAT_HEIC


def saved(image: PillowImage.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(file, quality=95, **options)
    else:
        image.save(file, kind, **options)
    return file.getvalue()


def quarters(mode: str = "RGB") -> PillowImage.Image:
    """64 x 32: red, green, blue, white from left to right; a black bar on top."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    for number, color in enumerate([(220, 30, 30), (30, 200, 60), (40, 50, 210), (255, 255, 255)]):
        pixels[8:, number * 16 : number * 16 + 16] = color
    return PillowImage.fromarray(pixels).convert(mode)


def near(pixels: np.ndarray, image: PillowImage.Image, most: float = 12) -> bool:
    return pixels.shape[1::-1] == image.size and np.abs(pixels[..., :3].astype(int) - np.asarray(image)).mean() < most


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_tiff_is_read_whatever_packs_it(compression: str | None) -> None:
    content = saved(quarters(), "TIFF", compression=compression)
    assert near(decode(content, field="x", format_hint=TIFF), quarters(), 4)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "LAB", "YCbCr"])
def test_tiff_colours_come_out_as_they_look(mode: str) -> None:
    image = quarters()
    if mode == "LAB":
        srgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        image = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    else:
        image = image.quantize(8) if mode == "P" else image.convert(mode)
    expected = quarters() if mode not in ("1", "L") else quarters(mode).convert("RGB")
    assert near(decode(saved(image, "TIFF"), field="x"), expected, 6)


def test_deep_tiffs_keep_their_range() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(1, 64).repeat(4, 0)
    grey = decode(saved(PillowImage.fromarray(ramp), "TIFF"), field="x")
    floats = decode(saved(PillowImage.fromarray((ramp / 65535).astype(np.float32)), "TIFF"), field="x")
    for pixels in (grey, floats):
        assert (pixels[0, 0, 0], pixels[0, -1, 0]) == (0, 255)
        assert np.abs(pixels[0, :, 1] - ramp[0] / 257.0).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF"])
def test_every_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    exif = PillowImage.Exif()
    exif[274] = orientation
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = quarters()
    if orientation > 1:
        stored = stored.transpose(PillowImage.Transpose(back[orientation]))
    content = saved(stored, kind, exif=exif if kind != "HEIF" else exif.tobytes())
    assert near(decode(content, field="x"), quarters())


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_modern_files_keep_alpha(kind: str) -> None:
    image = quarters("RGBA")
    image.putalpha(PillowImage.linear_gradient("L").resize(image.size))
    pixels = decode(saved(image, kind), field="x")
    assert pixels.shape == (32, 64, 4)
    assert np.abs(pixels[..., 3].astype(int) - np.asarray(image)[..., 3]).max() <= 6


def test_a_profile_is_obeyed_in_every_kind_of_file() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The same profile with red and blue exchanged: an obedient reader shows blue for red.
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    swapped = bytearray(profile)
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    swapped = swapped.replace(b"s\0R\0G\0B", b"x\0R\0G\0B").replace(b"sRGB", b"xRGB")
    expected = PillowImage.fromarray(np.ascontiguousarray(np.asarray(quarters())[..., ::-1]))
    for kind in ("TIFF", "AVIF", "HEIF", "PNG", "JPEG", "WEBP"):
        image = quarters()
        image.info["icc_profile"] = bytes(swapped)
        content = saved(image, kind, **({} if kind == "HEIF" else {"icc_profile": bytes(swapped)}))
        assert near(decode(content, field="x"), expected, 16), kind


@pytest.mark.parametrize("alpha", [False, True])
def test_avif_goes_out_and_comes_back(alpha: bool) -> None:
    pixels = np.asarray(quarters("RGBA" if alpha else "RGB")).copy()
    if alpha:
        pixels[:, :16, 3] = 100
    message = to_message(pixels, AVIF)
    assert (message.format, message.width, message.height) == (AVIF, 64, 32)
    back = decode(message.content, field="x", format_hint=AVIF)
    assert back.shape == pixels.shape
    assert np.abs(back.astype(int) - pixels).mean() < 2
    assert encode(pixels, AVIF) == message.content
    assert len(encode(pixels, AVIF, quality=20)) < len(message.content)


def test_what_is_only_read_is_not_written() -> None:
    for format in (TIFF, HEIC):
        with pytest.raises(InvalidRequest, match="read, not written"):
            encode(np.zeros((2, 2, 3), np.uint8), format)
    options = image_pb2.OutputOptions(format=TIFF, quality=0, metadata=9, lossless=True)
    assert [fault.field for fault in output_faults(options)] == ["format", "metadata", "quality"]
    options = image_pb2.OutputOptions(format=AVIF, lossless=True)
    assert [fault.field for fault in output_faults(options)] == ["lossless"]


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF"])
def test_limits_hold_before_pixels_are_decoded(kind: str) -> None:
    bomb = saved(
        PillowImage.new("RGB", (2048, 1024)), kind, **({"compression": "tiff_deflate"} if kind == "TIFF" else {})
    )
    with pytest.raises(InvalidRequest, match="2048 x 1024"):
        decode(bomb, field="x", limits=ImageLimits(max_pixels=1_000_000))


def test_a_heic_without_its_decoder_says_what_to_do(monkeypatch) -> None:
    content = saved(quarters(), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InvalidRequest, match=r"diptych\[heif\]"):
        decode(content, field="x")


def test_a_raw_files_thumbnail_is_not_taken_for_the_picture() -> None:
    content = saved(quarters(), "TIFF", tiffinfo={254: 1})
    with pytest.raises(InvalidRequest, match="raw file"):
        decode(content, field="x")


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP", "AVIF"])
def test_the_first_of_several_frames_is_taken_and_they_are_counted(kind: str) -> None:
    others = [PillowImage.new("RGB", (64, 32), color) for color in ("#000000", "#777777")]
    content = saved(quarters(), kind, save_all=True, append_images=others)
    assert near(decode(content, field="x"), quarters())
    assert facts_of(image_pb2.Image(content=content)).frames == 3
    assert facts_of(image_pb2.Image(content=saved(quarters(), kind))).frames == 1
