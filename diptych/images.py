"""Pictures as numpy arrays: `(H, W, 3|4) uint8`, sRGB, straight alpha, upright.

`decode` and `encode` turn bytes into arrays and back; `from_message` and `to_message` do it for `diptych.v1.Image`.
Limits are checked on the header, before a pixel is decoded.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from diptych._image_files import BadFile, FileFacts, Pixels, facts, read, recognise
from diptych._metadata import Metadata, Policy, fitted, photoshop_segment, with_resolution
from diptych.errors import FieldViolation, InvalidRequest
from diptych.v1 import image_pb2

__all__ = [
    "DEFAULT_LIMITS",
    "FileFacts",
    "ImageLimits",
    "Mask",
    "Metadata",
    "Pixels",
    "decode",
    "decode_mask",
    "encode",
    "facts_of",
    "fitted_metadata",
    "flatten",
    "from_message",
    "output_faults",
    "to_message",
    "to_rgba",
]

Mask = NDArray[np.float32]

DEFAULT_QUALITY = 90
# Level 1 writes a photograph four times faster than zlib's default and about as small.
_PNG_LEVEL = 1
_LARGEST_WEBP = 16_383
# From here on chroma keeps its full size: halving it shows on icons and red edges.
_FULL_CHROMA_QUALITY = 90

_UNSPECIFIED = image_pb2.IMAGE_FORMAT_UNSPECIFIED
_RAW = image_pb2.IMAGE_FORMAT_RAW
_KINDS = {
    image_pb2.IMAGE_FORMAT_PNG: "PNG",
    image_pb2.IMAGE_FORMAT_JPEG: "JPEG",
    image_pb2.IMAGE_FORMAT_WEBP: "WEBP",
    image_pb2.IMAGE_FORMAT_AVIF: "AVIF",
    image_pb2.IMAGE_FORMAT_TIFF: "TIFF",
    image_pb2.IMAGE_FORMAT_HEIC: "HEIC",
}
_READ_ONLY = ("TIFF", "HEIC")
_SERVED = "PNG, JPEG, WEBP, AVIF, TIFF or HEIC"
_WRITTEN = "PNG, JPEG, WEBP or AVIF"
# Slower settings take ten times as long for a tenth fewer bytes. Threads are fixed: they decide how the picture is cut
# up, and so its bytes.
_AVIF_SPEED, _AVIF_THREADS = 9, 2
_MOST_IN_JPEG = 65_503
_MOST_DPI = 9600
_NONE = Metadata()


@dataclass(frozen=True)
class ImageLimits:
    """The largest input taken: file size in bytes, area and side in pixels."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_side: int = 16_384


DEFAULT_LIMITS = ImageLimits()


def decode(
    content: bytes,
    *,
    field: str,
    limits: ImageLimits = DEFAULT_LIMITS,
    format_hint: image_pb2.ImageFormat.ValueType = _UNSPECIFIED,
) -> Pixels:
    """(H, W, 3|4) uint8 sRGB with straight alpha, upright, first frame, from the bytes of a file.

    `format_hint` is what the sender says it is; it must agree with the content. Raises InvalidRequest naming `field`.
    """
    _check_bytes(content, field, limits)
    kind = recognise(content)
    if kind is None:
        raise InvalidRequest.single(field, f"is no picture that is read here; send {_SERVED}")
    if format_hint != _UNSPECIFIED and _KINDS.get(format_hint) != kind:
        said = image_pb2.ImageFormat.Name(format_hint) if format_hint in image_pb2.ImageFormat.values() else format_hint
        raise InvalidRequest.single(field, f"is a {kind} file, but its format says {said}; leave format out or mend it")
    try:
        return read(content, kind, lambda width, height: _check_size(width, height, field, limits))
    except BadFile as error:
        raise InvalidRequest.single(field, str(error)) from error


def encode(
    pixels: Pixels,
    format: image_pb2.ImageFormat.ValueType = _UNSPECIFIED,
    *,
    quality: int = DEFAULT_QUALITY,
    lossless: bool = False,
    colors: int = 0,
    packing: int = _PNG_LEVEL,
    dpi: int | None = None,
    metadata: Metadata = _NONE,
    field: str = "format",
) -> bytes:
    """The file of (H, W, 3|4) or grey (H, W) uint8; unspecified means PNG, JPEG lays alpha on white.

    A PNG of nothing but greys is a grey file, a third as large.

    `quality` 1 to 100 for JPEG, AVIF and lossy WEBP; `lossless` for WEBP; for PNG a palette of so many `colors`, 2 to
    256, and `packing`, 1 fast to 9 small; `dpi` to print it with; `metadata` as it was fitted. InvalidRequest names
    `field` for a picture or metadata that the format cannot hold, or a format that is not written.
    """
    if format == _RAW:
        return np.ascontiguousarray(_colored(pixels)).tobytes()
    kind = _KINDS.get(format, "PNG")
    if kind in _READ_ONLY or (format not in _KINDS and format != _UNSPECIFIED):
        raise InvalidRequest.single(field, _no_output(format))
    file = io.BytesIO()
    density = {}
    if dpi is not None:
        density = {"dpi": (dpi, dpi)}
        # PNG and JPEG have a place of their own for it; what EXIF says must not differ.
        if metadata.exif or kind not in ("PNG", "JPEG"):
            metadata = with_resolution(metadata, dpi)
    # The prefix is JPEG's; every writer knows it.
    exif = b"Exif\0\0" + metadata.exif if metadata.exif else b""
    if kind == "PNG":
        texts = PngInfo()
        if metadata.xmp:
            texts.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
        picture = PillowImage.fromarray(np.ascontiguousarray(pixels[..., 0] if _is_grey(pixels) else pixels))
        picture = _with_palette(picture, colors) if colors else picture
        picture.save(file, kind, compress_level=packing, exif=exif, pnginfo=texts, **density)
    elif kind == "JPEG":
        if max(len(exif), len(metadata.xmp)) > _MOST_IN_JPEG:
            raise InvalidRequest.single(
                field, "JPEG holds at most 64 KiB of each kind of metadata, the picture has more; take PNG or AVIF"
            )
        opaque = PillowImage.fromarray(np.ascontiguousarray(flatten(pixels)))
        subsampling = 0 if quality >= _FULL_CHROMA_QUALITY else 2
        segment = photoshop_segment(metadata.iptc)
        opaque.save(file, kind, quality=quality, subsampling=subsampling, exif=exif, xmp=metadata.xmp, extra=segment,
                    **density)  # fmt: skip
    else:
        _save_modern(file, kind, pixels, quality, lossless, exif, metadata.xmp, field)
    return file.getvalue()


def _with_palette(picture: PillowImage.Image, colors: int) -> PillowImage.Image:
    """The picture in so many colours of its own; what lies between them is dithered where it has no alpha."""
    if picture.mode == "RGBA":
        return picture.quantize(colors, PillowImage.Quantize.FASTOCTREE)
    palette = picture.convert("RGB").quantize(colors, PillowImage.Quantize.MEDIANCUT)
    return picture.convert("RGB").quantize(palette=palette, dither=PillowImage.Dither.FLOYDSTEINBERG)


def _save_modern(
    file: io.BytesIO, kind: str, pixels: Pixels, quality: int, lossless: bool, exif: bytes, xmp: bytes, field: str
) -> None:
    """Writes WEBP or AVIF."""
    picture = PillowImage.fromarray(np.ascontiguousarray(_colored(pixels)))
    if kind == "AVIF":
        if lossless:
            raise InvalidRequest.single(field, "AVIF is not written without loss here; take PNG or WEBP")
        subsampling = "4:4:4" if quality >= _FULL_CHROMA_QUALITY else "4:2:0"
        picture.save(file, kind, quality=quality, subsampling=subsampling, speed=_AVIF_SPEED,
                     max_threads=_AVIF_THREADS, exif=exif, xmp=xmp)  # fmt: skip
        return
    if max(picture.size) > _LARGEST_WEBP:
        width, height = picture.size
        raise InvalidRequest.single(
            field, f"WEBP holds at most {_LARGEST_WEBP} pixels a side, the picture is {width} x {height}; take PNG"
        )
    picture.save(file, kind, quality=quality, lossless=lossless, exact=lossless, exif=exif, xmp=xmp)


def output_faults(options: image_pb2.OutputOptions) -> Iterator[FieldViolation]:
    """Everything in output options that cannot be served, by the fields' own names."""
    known, given = image_pb2.ImageFormat.values(), options.format
    if given not in known or _KINDS.get(given) in _READ_ONLY:
        yield FieldViolation("format", _no_output(given))
    if options.metadata not in image_pb2.MetadataPolicy.values():
        yield FieldViolation("metadata", f"has no value {options.metadata}; use one that the contract names")
    if options.HasField("quality") and not 1 <= options.quality <= 100:
        yield FieldViolation("quality", f"is {options.quality}; give 1 to 100")
    if options.lossless and given == image_pb2.IMAGE_FORMAT_AVIF:
        yield FieldViolation("lossless", "is for WEBP; AVIF is not written without loss here")
    if options.HasField("max_bytes") and options.max_bytes == 0:
        yield FieldViolation("max_bytes", "is 0; give the bytes that the file may have")
    if options.HasField("max_bytes") and given == _RAW:
        yield FieldViolation("max_bytes", "is for files; RAW always has its rows' size")
    if options.HasField("dpi") and not 1 <= options.dpi <= _MOST_DPI:
        yield FieldViolation("dpi", f"is {options.dpi}; give 1 to {_MOST_DPI} dots per inch")
    if options.HasField("dpi") and given == _RAW:
        yield FieldViolation("dpi", "is for files; RAW has no place for it")


def _no_output(format: int) -> str:
    kind = _KINDS.get(image_pb2.ImageFormat.ValueType(format))
    return f"{f'{kind} is read, not written' if kind else f'has no value {format}'}; choose {_WRITTEN}, or RAW"


def to_message(
    pixels: Pixels,
    format: image_pb2.ImageFormat.ValueType = _UNSPECIFIED,
    *,
    quality: int = DEFAULT_QUALITY,
    lossless: bool = False,
    metadata: Metadata = _NONE,
    field: str = "format",
) -> image_pb2.Image:
    """A v1 Image of (H, W, 3|4) or grey (H, W) uint8, all its fields set; arguments and errors as `encode`."""
    height, width = pixels.shape[:2]
    return image_pb2.Image(
        content=encode(pixels, format, quality=quality, lossless=lossless, metadata=metadata, field=field),
        format=format or image_pb2.IMAGE_FORMAT_PNG,
        width=width,
        height=height,
    )


def from_message(image: image_pb2.Image, *, field: str, limits: ImageLimits = DEFAULT_LIMITS) -> Pixels:
    """(H, W, 3|4) uint8 sRGB from a v1 Image; InvalidRequest names the parts of `field` at fault."""
    if image.format not in image_pb2.ImageFormat.values():
        raise InvalidRequest.single(f"{field}.format", f"has no value {image.format}; send {_SERVED}, or RAW")
    if image.format != _RAW:
        return decode(image.content, field=f"{field}.content", limits=limits, format_hint=image.format)
    _check_bytes(image.content, f"{field}.content", limits)
    faults = [
        FieldViolation(f"{field}.{side}", f"is 0; RAW needs the size in pixels, 1 to {limits.max_side}")
        for side in ("width", "height")
        if getattr(image, side) == 0
    ]
    if faults:
        raise InvalidRequest(faults)
    _check_size(image.width, image.height, field, limits)
    area = image.width * image.height
    if len(image.content) not in (area * 3, area * 4):
        raise InvalidRequest.single(
            f"{field}.content",
            f"has {len(image.content)} bytes; {image.width} x {image.height} RAW needs {area * 3} (RGB) or "
            f"{area * 4} (RGBA)",
        )
    return np.frombuffer(image.content, np.uint8).reshape(image.height, image.width, -1).copy()


def facts_of(image: image_pb2.Image) -> FileFacts:
    """How many pictures the file of a v1 Image holds, and its metadata; to be asked of what `from_message` has read."""
    kind = None if image.format == _RAW else recognise(image.content)
    return FileFacts() if kind is None else facts(image.content, kind)


def fitted_metadata(metadata: Metadata, policy: Policy, size: tuple[int, int]) -> Metadata:
    """What a policy lets through to an upright sRGB result of `size` (width, height)."""
    return fitted(metadata, policy, *size)


def decode_mask(
    image: image_pb2.Image, size: tuple[int, int], *, field: str, limits: ImageLimits = DEFAULT_LIMITS
) -> Mask:
    """(H, W) float32 0..1, white is 1 and transparent is 0, from a v1 Image of `size` (width, height).

    InvalidRequest names `field` when the size is another.
    """
    pixels = from_message(image, field=field, limits=limits)
    height, width = pixels.shape[:2]
    if (width, height) != size:
        raise InvalidRequest.single(
            field, f"is {width} x {height} pixels, the picture is {size[0]} x {size[1]}; make them the same size"
        )
    # Rec. 709 luma, in integers so that white is exactly 1.
    luma = (pixels[..., :3].astype(np.int32) @ np.array([2126, 7152, 722], np.int32)).astype(np.float32) / 2_550_000
    if pixels.shape[2] == 4:
        luma *= pixels[..., 3] / np.float32(255)
    return np.minimum(luma, 1, dtype=np.float32)


def flatten(pixels: Pixels, background: tuple[int, int, int] = (255, 255, 255)) -> Pixels:
    """(H, W, 3) or (H, W) uint8: the picture laid on one colour; the same array when it has no alpha."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.uint32)
    ground = np.array(background, np.uint32)
    return ((pixels[..., :3] * alpha + ground * (255 - alpha) + 127) // 255).astype(np.uint8)


def to_rgba(pixels: Pixels) -> Pixels:
    """(H, W, 4) uint8: opaque where the picture had no alpha."""
    colored = _colored(pixels)
    if colored.shape[2] == 4:
        return colored
    return np.dstack([colored, np.full(colored.shape[:2], 255, np.uint8)])


def _is_grey(pixels: Pixels) -> bool:
    if pixels.ndim == 2 or pixels.shape[2] == 4:
        return False
    for part in (pixels[: 1 + len(pixels) // 64], pixels):  # Most pictures show their colour in the first rows.
        if not (np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 0], part[..., 2])):
            return False
    return True


def _colored(pixels: Pixels) -> Pixels:
    return np.repeat(pixels[..., np.newaxis], 3, axis=2) if pixels.ndim == 2 else pixels


def _check_bytes(content: bytes, field: str, limits: ImageLimits) -> None:
    if not content:
        raise InvalidRequest.single(field, "is empty; send the bytes of a picture")
    if len(content) > limits.max_bytes:
        raise InvalidRequest.single(field, f"has {len(content)} bytes; send at most {limits.max_bytes}")


def _check_size(width: int, height: int, field: str, limits: ImageLimits) -> None:
    if min(width, height) < 1:
        raise InvalidRequest.single(field, f"says {width} x {height} pixels; send a picture with at least one")
    if max(width, height) > limits.max_side:
        raise InvalidRequest.single(
            field, f"is {width} x {height} pixels; send one of at most {limits.max_side} pixels a side"
        )
    if width * height > limits.max_pixels:
        raise InvalidRequest.single(
            field, f"is {width} x {height} = {width * height} pixels; send at most {limits.max_pixels}"
        )
