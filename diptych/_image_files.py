"""Image files as pixels: recognised by content, measured before they are decoded, brought to upright 8-bit sRGB.

Private to `diptych.images`. Every fault is a `BadFile` whose text says what to do.
"""

import functools
import io
import logging
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageCms, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from diptych._metadata import Metadata, gather

_LOG = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
SizeCheck = Callable[[int, int], None]

# What Pillow's readers raise on damaged files; Warning for processes that turn warnings into errors.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
    PillowImage.DecompressionBombError,
    Warning,
)
_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_REDUCED = 1
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


class BadFile(Exception):
    """The bytes are no usable image; the message says why and what to do."""


def recognise(content: bytes) -> str | None:
    """`PNG`, `JPEG`, `WEBP`, `AVIF`, `TIFF` or `HEIC` by the first bytes, None for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if content[4:8] == b"ftyp":
        length = int.from_bytes(content[:4], "big")
        brands = {content[at : at + 4] for at in (8, *range(16, min(length, 256), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & _HEVC_BRANDS:
            return "HEIC"
    return None


@dataclass(frozen=True)
class FileFacts:
    """What a file holds besides its first picture: how many pictures there are, and its metadata."""

    frames: int = 1
    metadata: Metadata = field(default_factory=Metadata)


def facts(content: bytes, kind: str) -> FileFacts:
    """What a file that `read` has read says of itself; nothing is decoded."""
    try:
        image = _open(content, kind)
        # A HEIC holds further pictures, such as a live photo's, that nobody takes for the picture.
        frames = 1 if kind == "HEIC" else getattr(image, "n_frames", 1)
        return FileFacts(frames, gather(image))
    except _DAMAGED as error:
        _LOG.warning("the metadata of a %s was ignored: %s", kind, error)
        return FileFacts()


def read(content: bytes, kind: str, check_size: SizeCheck) -> Pixels:
    """(H, W, 3|4) uint8 sRGB, upright, first frame, straight alpha.

    `check_size(width, height)` is called with what the header says before any pixel is decoded. Raises BadFile, and
    what `check_size` raises.
    """
    try:
        if kind == "WEBP":  # Its reader reserves the canvas on opening.
            check_size(*_webp_size(content))
        image = _open(content, kind)
        check_size(*image.size)
        if kind == "JPEG":
            _check_jpeg_length(content, *image.size)
        image.load()
        if kind == "PNG" and _maybe_short(image):
            _check_png_length(content, *image.size)
        pixels = _to_srgb(image)
        # Pillow turns a TIFF while it loads.
        orientation = 1 if kind == "TIFF" else _orientation(image.info.get("exif"))
        return np.ascontiguousarray(_upright(pixels, orientation))
    except _DAMAGED as error:
        _LOG.debug("%s not decoded: %s", kind, error)
        raise BadFile(f"is a damaged or truncated {kind} file; send the whole file, unchanged") from error


def _open(content: bytes, kind: str) -> ImageFile.ImageFile:
    """The file behind its reader, undecoded. The readers are used directly: `PIL.Image.open` adds a limit of its own.

    BadFile for what is recognised and not read.
    """
    file = io.BytesIO(content)
    match kind:
        case "PNG":
            return PngImageFile(file)
        case "JPEG":
            return JpegImageFile(file)
        case "WEBP":
            return WebPImageFile(file)
        case "AVIF":
            return AvifImageFile(file)
        case "TIFF":
            image = TiffImageFile(file)
            if image.tag_v2.get(254, 0) & _REDUCED:
                raise BadFile("is a camera's raw file or begins with a thumbnail; send the developed picture")
            return image
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise BadFile(
            "is a HEIC file, and no decoder for it is installed here; send JPEG, or pip install 'diptych[heif]' on "
            "the server"
        ) from None
    heic: ImageFile.ImageFile = HeifImageFile(file)  # type: ignore[no-untyped-call]
    return heic


def _webp_size(content: bytes) -> tuple[int, int]:
    chunk, body = content[12:16], content[20:30]
    if chunk == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and len(body) == 10:
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise BadFile("is a damaged or truncated WEBP file; send the whole file, unchanged")


def _check_jpeg_length(content: bytes, width: int, height: int) -> None:
    """Refuses a header that promises more blocks than the file has bits: each 8x8 block takes at least one."""
    blocks = -(-width // 8) * -(-height // 8)
    arithmetic = any(marker in content for marker in (b"\xff\xc9", b"\xff\xca"))
    if not arithmetic and len(content) * 8 < blocks:
        raise BadFile(f"says {width} x {height} pixels, but {len(content)} bytes cannot hold them; send the whole file")


def _maybe_short(image: PillowImage.Image) -> bool:
    """Whether pixel data may have ended early: Pillow then leaves the rest of the rows at zero and says nothing."""
    if image.info.get("interlace"):
        return True
    last = image.crop((0, image.height - 1, image.width, image.height))
    return not np.asarray(last).any()


def _check_png_length(content: bytes, width: int, height: int) -> None:
    """Refuses a PNG whose compressed stream holds fewer bytes than its header promises."""
    bits, color, interlaced = content[24], content[25], content[28]
    depth = bits * _PNG_CHANNELS[color]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    promised = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        promised += rows * (1 + -(-columns * depth // 8)) if columns > 0 and rows > 0 else 0
    inflate, held, at = zlib.decompressobj(), 0, 8
    while at + 8 <= len(content) and held < promised:
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            data = content[at + 8 : at + 8 + length]
            while data and held < promised:
                held += len(inflate.decompress(data, 1 << 20))
                data = inflate.unconsumed_tail
        at += length + 12
    held += len(inflate.flush())
    if held < promised:
        raise BadFile(f"says {width} x {height} pixels, but holds fewer; send the whole file, unchanged")


def _to_srgb(image: PillowImage.Image) -> Pixels:
    """(H, W, 3|4) uint8: depth, palette, ink and profile resolved."""
    if image.mode == "F":  # White is 1 in a TIFF of floats.
        light = np.nan_to_num(np.asarray(image)).clip(0, 1)
        return np.repeat(np.rint(light * 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_deep_grey(image)
    transparency = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(transparency, tuple) and max(transparency) > 255:
        # Sixteen-bit RGB is read as its high bytes, the transparent colour is not.
        image.info["transparency"] = tuple(value >> 8 for value in transparency)
    has_alpha = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    alpha = np.asarray(image.convert("RGBA").getchannel("A")) if has_alpha else None
    color = np.asarray(_in_srgb(image))
    return color if alpha is None else np.dstack([color, alpha])


def _from_deep_grey(image: PillowImage.Image) -> Pixels:
    """Grey of 16 bits scaled to 8: 65535 becomes 255."""
    deep = np.asarray(image).astype(np.int64).clip(0, 65535)
    small = ((deep * 255 + 32767) // 65535).astype(np.uint8)
    grey = PillowImage.fromarray(small)
    grey.info = {key: value for key, value in image.info.items() if key == "icc_profile"}
    color = np.asarray(_in_srgb(grey))
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return color
    return np.dstack([color, np.where(deep == key, 0, 255).astype(np.uint8)])


def _in_srgb(image: PillowImage.Image) -> PillowImage.Image:
    """The picture's colour as RGB mode in sRGB, through its profile if it has one."""
    base = image
    if image.mode in ("RGBA", "RGBa", "P", "PA"):
        base = image.convert("RGBA" if image.mode != "P" or "transparency" in image.info else "RGB").convert("RGB")
    elif image.mode in ("LA", "La", "1"):
        base = image.convert("L")
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _converted(base, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if not profile:
        return base if base.mode == "RGB" else base.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source) and base.mode != "CMYK":
            return base.convert("RGB")
        return _converted(base, source)
    except (ImageCms.PyCMSError, *_DAMAGED) as error:
        # A profile that does not fit its picture is common; every viewer then shows the numbers as they are.
        _LOG.warning("a colour profile was ignored: %s", error)
        return base.convert("RGB")


def _converted(image: PillowImage.Image, source: ImageCms.ImageCmsProfile) -> PillowImage.Image:
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    converted = ImageCms.profileToProfile(image, source, _srgb(), intent, outputMode="RGB")
    return image.convert("RGB") if converted is None else converted


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _orientation(exif: object) -> int:
    """Orientation 1 to 8 from an EXIF block, 1 when there is none or it makes no sense (EXIF 2.32, tag 274)."""
    if not isinstance(exif, bytes):
        return 1
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack(order + "I", tiff[4:8])
    (count,) = struct.unpack(order + "H", tiff[start : start + 2].ljust(2, b"\0"))
    for at in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack(order + "HHIH", tiff[at : at + 10])
        if tag == 274:
            return int(value) if kind == 3 and 1 <= value <= 8 else 1
    return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """The picture turned as its EXIF orientation asks."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
