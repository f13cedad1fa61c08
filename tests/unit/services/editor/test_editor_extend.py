"""More canvas: the picture stays as it was, and where it ends cannot be seen."""

import numpy as np
import pytest
import skimage.data

from diptych.errors import InvalidRequest
from diptych.v1 import editor_pb2
from services.editor.faults import Faults
from services.editor.operations import crop, extend

MIRROR, BLUR, COLOR = (editor_pb2.ExtendMode.Value(f"EXTEND_MODE_{name}") for name in ("MIRROR", "BLUR", "COLOR"))


def extended(picture: np.ndarray, **fields: object) -> tuple[np.ndarray, slice, slice]:
    """The result, and where the picture lies in it."""
    faults = Faults("extend")
    parameters = extend.read(editor_pb2.Extend(**fields), faults)  # type: ignore[arg-type]
    faults.raise_any()
    height, width = picture.shape[:2]
    left, top, right, bottom = extend._added(width, height, parameters)
    if parameters.mode == COLOR:
        result = extend._filled(picture, left, top, right, bottom, parameters.color)
    else:
        result = extend._mirrored(picture, left, top, right, bottom)
        if parameters.mode == BLUR:
            extend._soften(result, left, top, width, height)
    return result, slice(top, top + height), slice(left, left + width)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("mode", [MIRROR, BLUR, COLOR])
def test_the_picture_itself_is_untouched(mode: int, alpha: bool) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (31, 45, 4 if alpha else 3), dtype=np.uint8)
    result, rows, columns = extended(picture, left=70, top=3, right=0, bottom=50, mode=mode)
    assert result.shape == (31 + 53, 45 + 70, picture.shape[2])
    assert np.array_equal(result[rows, columns], picture)
    assert np.array_equal(result, extended(picture, left=70, top=3, right=0, bottom=50, mode=mode)[0])


@pytest.mark.parametrize("mode", [MIRROR, BLUR])
@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_there_is_no_seam(name: str, mode: int) -> None:
    photo = getattr(skimage.data, name)()
    result, rows, columns = extended(photo, left=80, top=60, right=80, bottom=60, mode=mode)
    light = result.astype(float)
    across = np.abs(np.diff(light[rows], axis=1)).mean(axis=(0, 2))
    down = np.abs(np.diff(light[:, columns], axis=0)).mean(axis=(1, 2))
    for steps, first, last in ((across, columns.start, columns.stop), (down, rows.start, rows.stop)):
        # The step over the edge is one of those that are there anyway, just inside.
        assert steps[first - 1] <= steps[first : first + 8].max() * 1.2 + 0.5
        assert steps[last - 1] <= steps[last - 9 : last - 1].max() * 1.2 + 0.5


def test_far_out_there_is_no_detail_left() -> None:
    result, rows, columns = extended(skimage.data.chelsea(), left=200, mode=BLUR)
    far = result[rows, : columns.start - 100].astype(float)
    assert np.abs(np.diff(far, axis=1)).mean() < 0.6


def test_transparent_pixels_leave_no_colour_in_the_blur() -> None:
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[:, :20] = (200, 100, 50, 255)
    picture[:, 20:] = (0, 255, 0, 0)
    result, _, _ = extended(picture, right=60, top=30, mode=BLUR)
    seen = result[result[..., 3] > 20]
    assert np.abs(seen[:, :3].astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize("aspect, size", [("1:1", (60, 60)), ("2:1", (80, 40)), ("3:2", (60, 40)), ("1:2", (60, 120))])
def test_an_aspect_is_reached_and_shared(aspect: str, size: tuple[int, int]) -> None:
    picture = np.full((40, 60, 3), 9, np.uint8)
    result, rows, columns = extended(picture, aspect=aspect, mode=COLOR, color="#102030")
    assert result.shape[1::-1] == size
    assert abs(columns.start - (size[0] - 60 - columns.start)) <= 1
    assert abs(rows.start - (size[1] - 40 - rows.start)) <= 1
    outside = np.ones(result.shape[:2], bool)
    outside[rows, columns] = False
    assert (result[outside] == (16, 32, 48)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 2)])
@pytest.mark.parametrize("mode", [MIRROR, BLUR])
def test_the_smallest_pictures_can_be_extended(shape: tuple[int, int], mode: int) -> None:
    result, _, _ = extended(np.full((*shape, 3), 77, np.uint8), left=20, bottom=30, mode=mode)
    assert (result == 77).all()


@pytest.mark.parametrize(
    "fields, named",
    [
        ({}, "extend"),
        ({"left": 8193}, "extend.left"),
        ({"left": 3, "aspect": "1:1"}, "extend.aspect"),
        ({"aspect": "wide"}, "extend.aspect"),
        ({"left": 3, "color": "#000000"}, "extend.color"),
        ({"left": 3, "mode": COLOR, "color": "red"}, "extend.color"),
        ({"left": 3, "mode": 9}, "extend.mode"),
    ],
)
def test_what_cannot_be_meant_is_said(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        extended(np.zeros((4, 4, 3), np.uint8), **fields)
    assert [violation.field for violation in caught.value.violations] == [named]


@pytest.mark.parametrize("aspect", [0.5, 1.0, 16 / 9, 4.0])
@pytest.mark.parametrize("subject", [(10, 10, 30, 50), (0, 0, 200, 5), (180, 90, 200, 100), (90, 20, 110, 90)])
def test_a_crop_of_an_aspect_holds_its_subject(subject: tuple[int, int, int, int], aspect: float) -> None:
    parameters = crop.Parameters(None, None, 0.05, aspect)
    left, top, right, bottom = crop.around(subject, 200, 100, parameters)
    assert 0 <= left < right <= 200 and 0 <= top < bottom <= 100
    assert abs((right - left) - (bottom - top) * aspect) <= max(1, aspect)
    whole = crop.largest(200, 100, aspect)
    if subject[2] - subject[0] <= whole[0] and subject[3] - subject[1] <= whole[1]:
        assert left <= subject[0] and top <= subject[1] and right >= subject[2] and bottom >= subject[3]
