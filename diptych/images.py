"""Pictures as numpy arrays: `(H, W, 3|4) uint8`, sRGB, straight alpha, upright.

`decode` and `encode` turn bytes into arrays and back; `from_message` and `to_message` do it for `diptych.v1.Image`.
Limits are checked on the header, before a pixel is decoded.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from diptych._image_files import BadFile, Pixels, read, recognise
from diptych.errors import FieldViolation, InvalidRequest
from diptych.v1 import image_pb2

__all__ = [
    "DEFAULT_LIMITS",
    "ImageLimits",
    "Mask",
    "Pixels",
    "decode",
    "decode_mask",
    "encode",
    "flatten",
    "from_message",
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
}
_SERVED = "PNG, JPEG or WEBP"


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
    """(H, W, 3|4) uint8 sRGB with straight alpha, upright, first frame, from a PNG, JPEG or WEBP file.

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
    field: str = "format",
) -> bytes:
    """The file of (H, W, 3|4) or grey (H, W) uint8; unspecified means PNG, JPEG lays alpha on white.

    `quality` 1 to 100 for JPEG and lossy WEBP; `lossless` for WEBP. InvalidRequest names `field` for a picture that
    the format cannot hold, or a format that does not exist.
    """
    if format == _RAW:
        return np.ascontiguousarray(_colored(pixels)).tobytes()
    if format not in _KINDS and format != _UNSPECIFIED:
        raise InvalidRequest.single(field, f"has no value {format}; choose {_SERVED}, or RAW")
    file = io.BytesIO()
    kind = _KINDS.get(format, "PNG")
    if kind == "PNG":
        PillowImage.fromarray(np.ascontiguousarray(pixels)).save(file, kind, compress_level=_PNG_LEVEL)
    elif kind == "JPEG":
        opaque = PillowImage.fromarray(np.ascontiguousarray(flatten(pixels)))
        opaque.save(file, kind, quality=quality, subsampling=0 if quality >= _FULL_CHROMA_QUALITY else 2)
    else:
        height, width = pixels.shape[:2]
        if max(width, height) > _LARGEST_WEBP:
            raise InvalidRequest.single(
                field, f"WEBP holds at most {_LARGEST_WEBP} pixels a side, the picture is {width} x {height}; take PNG"
            )
        picture = PillowImage.fromarray(np.ascontiguousarray(_colored(pixels)))
        picture.save(file, kind, quality=quality, lossless=lossless, exact=lossless)
    return file.getvalue()


def to_message(
    pixels: Pixels,
    format: image_pb2.ImageFormat.ValueType = _UNSPECIFIED,
    *,
    quality: int = DEFAULT_QUALITY,
    lossless: bool = False,
    field: str = "format",
) -> image_pb2.Image:
    """A v1 Image of (H, W, 3|4) or grey (H, W) uint8, all its fields set; arguments and errors as `encode`."""
    height, width = pixels.shape[:2]
    return image_pb2.Image(
        content=encode(pixels, format, quality=quality, lossless=lossless, field=field),
        format=format or image_pb2.IMAGE_FORMAT_PNG,
        width=width,
        height=height,
    )


def from_message(image: image_pb2.Image, *, field: str, limits: ImageLimits = DEFAULT_LIMITS) -> Pixels:
    """(H, W, 3|4) uint8 sRGB from a v1 Image; InvalidRequest names the parts of `field` at fault."""
    if image.format not in image_pb2.ImageFormat.values():
        raise InvalidRequest.single(f"{field}.format", f"has no value {image.format}; choose {_SERVED}, or RAW")
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
