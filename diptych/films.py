"""Films written frame by frame: H.264 in MP4, or animated WebP. What waits to be written is bytes, never frames.

    with FilmWriter(640, 480, frames_per_second=24, format=image_pb2.VIDEO_FORMAT_MP4) as film:
        for frame in frames:
            film.add(frame)
        video = film.finish()

MP4 needs PyAV, the extra `film`: its package holds x264, which is GPL (docs/adr/0011).
"""

import io
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from PIL import Image as PillowImage

from diptych.errors import FailedPrecondition, InvalidRequest
from diptych.images import Pixels, flatten
from diptych.v1 import image_pb2

Format: TypeAlias = image_pb2.VideoFormat.ValueType

_MP4, _WEBP = image_pb2.VIDEO_FORMAT_MP4, image_pb2.VIDEO_FORMAT_WEBP
# Visually clean: a still in motion shows every artefact twice.
_CRF = 18
_WEBP_QUALITY = 85
# Fixed, for x264's bytes depend on it; more threads also hold more frames.
_THREADS = 2
_LOOKAHEAD = 16


def resolve_format(format: int, field: str = "format") -> Format:
    """The format to write, MP4 when unspecified. InvalidRequest for an unknown one; FailedPrecondition without PyAV."""
    if format not in image_pb2.VideoFormat.values():
        raise InvalidRequest.single(field, f"has no value {format}; choose MP4 or WEBP")
    if format == _WEBP:
        return _WEBP
    try:
        import av  # noqa: F401
    except ImportError:
        raise FailedPrecondition(
            f"{field}: MP4 needs PyAV, which is not installed here; pip install 'diptych[film]' on the server, "
            "or ask for WEBP",
            reason="FILM_ENCODER_MISSING",
        ) from None
    return _MP4


def film_size(width: int, height: int, format: Format) -> tuple[int, int]:
    """Width and height as the format can hold them: 4:2:0 needs even ones, so MP4 loses an odd row or column."""
    return (width, height) if format == _WEBP else (max(2, width // 2 * 2), max(2, height // 2 * 2))


class FilmWriter:
    """A film being written. Leave its `with` block early, and all that was written is gone at once; while another
    thread writes, as soon as that is done."""

    def __init__(self, width: int, height: int, *, frames_per_second: float, format: Format) -> None:
        self._format = resolve_format(format)
        self._given = (height, width)
        self._size = film_size(width, height, self._format)
        self._fps = frames_per_second
        self._count = 0
        # An encoder that is closed under a frame takes the process with it.
        self._writing = threading.Lock()
        self._left = False
        self._file: _File = (_Webp if self._format == _WEBP else _Mp4)(self._size, frames_per_second)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._close_if_left()

    def add(self, frame: Pixels) -> None:
        """Encodes the next frame, (height, width, 3|4) uint8 sRGB; MP4 lays alpha on white."""
        if frame.shape[:2] != self._given or frame.shape[2] not in (3, 4):
            raise ValueError(f"a frame is {frame.shape}, the film {self._given}")
        width, height = self._size
        with self._written() as file:
            file.add(np.ascontiguousarray(frame[:height, :width]))
            self._count += 1

    @property
    def num_bytes(self) -> int:
        """What the film takes so far, about."""
        return self._file.num_bytes

    def finish(self) -> image_pb2.Video:
        """The film. ValueError when it has no frame."""
        if not self._count:
            raise ValueError("a film needs at least one frame")
        width, height = self._size
        with self._written() as file:
            content = file.finish()
        return image_pb2.Video(
            content=content,
            format=self._format,
            width=width,
            height=height,
            num_frames=self._count,
            frames_per_second=self._fps,
        )

    @contextmanager
    def _written(self) -> Iterator["_File"]:
        """The file, for one who writes at a time. ValueError after the `with` block."""
        try:
            with self._writing:
                if self._left:
                    raise ValueError("the film was left")
                yield self._file
        finally:
            self._close_if_left()

    def _close_if_left(self) -> None:
        # Who finds somebody writing leaves it to them: they look here when they are done.
        if self._left and self._writing.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._writing.release()


class _File(Protocol):
    num_bytes: int

    def add(self, frame: Pixels) -> None: ...
    def finish(self) -> bytes: ...
    def close(self) -> None: ...


class _Mp4:
    """H.264, 4:2:0, BT.709, its index before its pictures, so that it plays while it loads."""

    def __init__(self, size: tuple[int, int], fps: float) -> None:
        import av

        # A file: to move the index to the front, the muxer reads again what it wrote.
        self._folder = tempfile.TemporaryDirectory(prefix="diptych-film-", ignore_cleanup_errors=True)
        self._path = Path(self._folder.name, "film.mp4")
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        self._container: Any = av.open(str(self._path), "w", format="mp4", options=options)
        self._rate = _rate(fps)
        self._stream: Any = self._container.add_stream("libx264", rate=self._rate)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(_CRF), "preset": "faster", "rc-lookahead": str(_LOOKAHEAD)}
        codec = self._stream.codec_context
        codec.thread_count = _THREADS
        codec.color_range, codec.colorspace, codec.color_primaries = 1, 1, 1  # Limited range, BT.709.
        codec.color_trc = 13  # IEC 61966-2-1, sRGB's own.
        self._time = 0
        self.num_bytes = 0

    def add(self, frame: Pixels) -> None:
        import av
        from av.video.reformatter import ColorRange, Colorspace

        picture: Any = av.VideoFrame.from_ndarray(flatten(frame), format="rgb24")
        picture = picture.reformat(
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        picture.pts, picture.time_base = self._time, 1 / self._rate
        self._time += 1
        packets = self._stream.encode(picture)
        self.num_bytes += sum(packet.size for packet in packets)
        self._container.mux(packets)

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._path.read_bytes()

    def close(self) -> None:
        self._container.close()
        self._folder.cleanup()


class _Webp:
    """Animated WebP, endless (container: RFC 9649): Pillow writes each frame as a still, here they are threaded up."""

    def __init__(self, size: tuple[int, int], fps: float) -> None:
        self._size, self._fps = size, fps
        self._frames: list[bytes] = []
        self._alpha = False
        self.num_bytes = 0

    def add(self, frame: Pixels) -> None:
        still = io.BytesIO()
        PillowImage.fromarray(frame).save(still, "WEBP", quality=_WEBP_QUALITY, method=3)
        self._alpha |= frame.shape[2] == 4
        number = len(self._frames)
        lasts = round((number + 1) * 1000 / self._fps) - round(number * 1000 / self._fps)
        width, height = self._size
        place = b"".join(value.to_bytes(3, "little") for value in (0, 0, width - 1, height - 1, lasts))
        # 2: the frame replaces what is there, where its alpha says "see through" too.
        chunk = _chunk(b"ANMF", place + b"\2" + _bitstream(still.getvalue()))
        self._frames.append(chunk)
        self.num_bytes += len(chunk)

    def finish(self) -> bytes:
        width, height = self._size
        flags = 0x02 | (0x10 if self._alpha else 0)
        canvas = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = [_chunk(b"VP8X", canvas), _chunk(b"ANIM", b"\0" * 6), *self._frames]
        return _chunk(b"RIFF", b"WEBP" + b"".join(chunks))

    def close(self) -> None:
        self._frames.clear()


def _bitstream(still: bytes) -> bytes:
    """The chunks of a WebP still that are pixels."""
    at, kept = 12, b""
    while at + 8 <= len(still):
        (length,) = struct.unpack("<I", still[at + 4 : at + 8])
        end = at + 8 + length + length % 2
        if still[at : at + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
            kept += still[at:end]
        at = end
    return kept


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _rate(fps: float) -> Fraction:
    """Frames per second as encoders want it; 23.976 becomes 24000/1001."""
    return Fraction(fps).limit_denominator(1001)
