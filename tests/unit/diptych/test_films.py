"""Films are what they say, read back by another program's reader."""

import io
import threading

import av
import numpy as np
import pytest
from PIL import Image

from diptych.errors import FailedPrecondition, InvalidRequest
from diptych.films import FilmWriter, film_size, resolve_format
from diptych.v1 import image_pb2

MP4, WEBP = image_pb2.VIDEO_FORMAT_MP4, image_pb2.VIDEO_FORMAT_WEBP
COLORS = [(200, 30, 40), (30, 180, 60), (40, 60, 220), (128, 128, 128), (255, 255, 255), (0, 0, 0)]


def _flat(color: tuple[int, ...], width: int = 48, height: int = 32) -> np.ndarray:
    return np.full((height, width, len(color)), color, np.uint8)


def _film(frames: list[np.ndarray], format: int, fps: float = 24) -> image_pb2.Video:
    height, width = frames[0].shape[:2]
    with FilmWriter(width, height, frames_per_second=fps, format=format) as film:
        for frame in frames:
            film.add(frame)
        return film.finish()


@pytest.mark.parametrize("fps", [24, 30, 23.976])
def test_an_mp4_has_its_frames_rate_and_colours(fps: float) -> None:
    film = _film([_flat(color) for color in COLORS], MP4, fps)
    with av.open(io.BytesIO(film.content)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == pytest.approx(fps, abs=0.001)
        frames = list(container.decode(stream))
    assert [float(frame.time * fps) for frame in frames] == pytest.approx(range(len(COLORS)), abs=0.01)
    for frame, color in zip(frames, COLORS, strict=True):
        shown = frame.to_ndarray(format="rgb24").astype(int)
        assert np.abs(shown - color).max() <= 3
    assert (film.width, film.height, film.num_frames) == (48, 32, len(COLORS))


def test_an_mp4_plays_while_it_loads() -> None:
    content = _film([_flat((10, 200, 90))] * 3, MP4).content
    assert 0 < content.find(b"moov") < content.find(b"mdat")


def test_an_mp4_loses_an_odd_row_and_column() -> None:
    film = _film([_flat((90, 90, 200), 47, 31)] * 2, MP4)
    with av.open(io.BytesIO(film.content)) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (film.width, film.height) == film_size(47, 31, MP4) == (46, 30)


def test_an_mp4_lays_alpha_on_white() -> None:
    film = _film([_flat((0, 0, 0, 0))], MP4)
    with av.open(io.BytesIO(film.content)) as container:
        assert next(container.decode(video=0)).to_ndarray(format="rgb24").min() >= 253


@pytest.mark.parametrize("fps", [24, 30, 7])
def test_a_webp_has_its_frames_times_and_colours(fps: float) -> None:
    film = _film([_flat(color, 33, 21) for color in COLORS], WEBP, fps)
    image = Image.open(io.BytesIO(film.content))
    assert (image.size, image.n_frames, image.info["loop"]) == ((33, 21), len(COLORS), 0)
    end = 0
    for number, color in enumerate(COLORS):
        image.seek(number)
        shown = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(shown - color).max() <= 4
        end += image.info["duration"]
        # Rounding a frame's milliseconds must not add up.
        assert end == round((number + 1) * 1000 / fps)


def test_a_webp_keeps_alpha_and_forgets_the_frame_before() -> None:
    first, second = _flat((200, 0, 0, 255)), _flat((0, 0, 200, 255))
    second[:, :24] = 0
    film = _film([first, second], WEBP)
    image = Image.open(io.BytesIO(film.content))
    image.seek(1)
    shown = np.asarray(image.convert("RGBA"))
    assert shown[:, :20, 3].max() == 0
    assert shown[:, 28:, 3].min() == 255
    assert shown[:, 28:, 2].min() > 180


@pytest.mark.parametrize("format", [MP4, WEBP])
def test_the_same_frames_give_the_same_bytes(format: int) -> None:
    y, x = np.mgrid[:64, :96]
    frames = [np.stack([x + 5 * n, y * 2, x ^ y], axis=2).astype(np.uint8) for n in range(30)]
    assert _film(frames, format).content == _film(frames, format).content


@pytest.mark.parametrize("format", [MP4, WEBP])
def test_a_film_left_early_leaves_nothing(format: int, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with FilmWriter(48, 32, frames_per_second=24, format=format) as film:
        film.add(_flat((1, 2, 3)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", [MP4, WEBP])
def test_a_film_left_while_a_frame_is_written_ends_after_it(format: int, tmp_path, monkeypatch) -> None:
    """An encoder closed under a frame takes the process with it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    begun, go, closed = threading.Event(), threading.Event(), []
    with FilmWriter(48, 32, frames_per_second=24, format=format) as film:
        add, close = film._file.add, film._file.close

        def slow(frame: np.ndarray) -> None:
            begun.set()
            assert go.wait(20)
            assert not closed
            add(frame)

        monkeypatch.setattr(film._file, "add", slow)
        monkeypatch.setattr(film._file, "close", lambda: (closed.append(True), close()))
        writer = threading.Thread(target=film.add, args=(_flat((1, 2, 3)),))
        writer.start()
        assert begun.wait(20)
    assert not closed
    go.set()
    writer.join(20)
    assert closed
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="left"):
        film.add(_flat((1, 2, 3)))


def test_a_frame_of_another_size_is_a_mistake() -> None:
    with FilmWriter(48, 32, frames_per_second=24, format=WEBP) as film:
        with pytest.raises(ValueError, match="48"):
            film.add(_flat((1, 2, 3), 40, 32))
        with pytest.raises(ValueError, match="at least one"):
            film.finish()


def test_without_pyav_mp4_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(FailedPrecondition, match=r"diptych\[film\]"):
        resolve_format(image_pb2.VIDEO_FORMAT_UNSPECIFIED)
    assert resolve_format(WEBP) == WEBP
    with pytest.raises(InvalidRequest, match="no value 9"):
        resolve_format(9)
