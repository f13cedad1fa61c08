"""Pictures as callers have them, made into messages: a path, encoded bytes, Pillow, numpy, or an earlier result."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from diptych.connection import MAX_MESSAGE_BYTES
from diptych.errors import InvalidRequest
from diptych.types import Picture, Pictures
from diptych.v1 import image_pb2

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PilImage

PictureInput: TypeAlias = Union[
    str, Path, bytes, "PilImage", "np.ndarray[Any, np.dtype[np.uint8]]", Picture, Pictures, image_pb2.Image
]


def read_picture(path: str | Path, field: str) -> bytes:
    """The content of a file, unlooked at: the service decides whether it is a picture. InvalidRequest says why not."""
    try:
        if Path(path).stat().st_size > MAX_MESSAGE_BYTES:
            raise InvalidRequest.single(field, f"{path} is over the limit of {MAX_MESSAGE_BYTES >> 20} MiB")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InvalidRequest.single(field, f"there is no file {path}", reason="FILE_NOT_FOUND") from None
    except IsADirectoryError:
        raise InvalidRequest.single(field, f"{path} is a directory; name a picture file") from None
    except (OSError, ValueError) as error:
        raise InvalidRequest.single(field, f"{path} cannot be read: {error}") from None


def to_message(source: PictureInput, field: str = "image") -> image_pb2.Image:
    """The message of a picture; `field` names it in an InvalidRequest."""
    if isinstance(source, image_pb2.Image):
        return source
    if isinstance(source, Pictures):
        source = source.image
    if isinstance(source, Picture):
        known = image_pb2.ImageFormat.Value(f"IMAGE_FORMAT_{source.format}")
        return image_pb2.Image(content=source.content, format=known, width=source.width, height=source.height)
    if isinstance(source, str | Path):
        return image_pb2.Image(content=read_picture(source, field))
    if isinstance(source, bytes | bytearray | memoryview):
        return image_pb2.Image(content=bytes(source))
    return image_pb2.Image(content=_png(source, field), format=image_pb2.IMAGE_FORMAT_PNG)


def _png(source: object, field: str) -> bytes:
    """The PNG of a Pillow image or an array of (H, W), (H, W, 3) or (H, W, 4) uint8."""
    import numpy as np
    import PIL.Image

    image: PIL.Image.Image
    if isinstance(source, np.ndarray):
        if (
            source.dtype != np.uint8
            or source.ndim not in (2, 3)
            or (source.ndim == 3 and source.shape[2] not in (3, 4))
        ):
            shape = f"{source.dtype} {source.shape}"
            raise InvalidRequest.single(field, f"an array must be uint8 of (H, W), (H, W, 3) or (H, W, 4), not {shape}")
        if source.size == 0:
            raise InvalidRequest.single(field, "the array is empty")
        image = PIL.Image.fromarray(source)
    elif isinstance(source, PIL.Image.Image):
        # PNG holds these modes as they are; the rest (CMYK, YCbCr, ...) has no PNG form.
        image = source if source.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else source.convert("RGB")
    else:
        raise InvalidRequest.single(
            field, f"give a path, encoded bytes, a Pillow image, an array or a result, not {type(source).__name__}"
        )
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=1)
    return target.getvalue()
