import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from diptych.v1 import image_pb2
from services.editor.cutting.reach import Reach, extended
from services.editor.filling.placing import Look, lay_over, over
from services.editor.operations.add_object import standing
from services.editor.operations.remove_object import without

pictures = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.sampled_from([3, 4])), elements=st.integers(0, 255)
)


@settings(deadline=None, max_examples=80)
@given(
    pictures,
    pictures,
    st.integers(-30, 30),
    st.integers(-30, 30),
    st.builds(Look, opacity=st.floats(0, 1), feather=st.floats(0, 5), harmonize=st.sampled_from([0.0, 1.0])),
)
def test_nothing_changes_but_where_the_overlay_lies(
    base: np.ndarray, overlay: np.ndarray, left: int, top: int, look: Look
) -> None:
    result = lay_over(base, overlay, left, top, look)
    assert result.shape == base.shape and result.dtype == np.uint8
    outside = np.ones(base.shape[:2], bool)
    outside[max(top, 0) : max(top + overlay.shape[0], 0), max(left, 0) : max(left + overlay.shape[1], 0)] = False
    assert np.array_equal(result[outside], base[outside])


@settings(deadline=None, max_examples=60)
@given(pictures, pictures, st.integers(-30, 30), st.integers(-30, 30), st.floats(0.01, 1))
def test_a_shadow_only_darkens_and_never_thins(
    base: np.ndarray, overlay: np.ndarray, left: int, top: int, shadow: float
) -> None:
    ghost = np.dstack([overlay[..., :3], np.full(overlay.shape[:2], 255, np.uint8)])
    plain = lay_over(base, ghost, left, top, Look())
    shaded = lay_over(base, ghost, left, top, Look(shadow=shadow))
    assert (shaded[..., :3].astype(int) <= plain[..., :3].astype(int) + 1).all()
    if base.shape[2] == 4:
        assert (shaded[..., 3] >= plain[..., 3]).all()


def test_laying_on_what_is_see_through() -> None:
    clear = np.zeros((1, 1, 4), np.uint8)
    red = np.full((1, 1, 3), (255, 0, 0), np.uint8)
    assert over(clear, red, np.full((1, 1), 0.5, np.float32)).tolist() == [[[255, 0, 0, 128]]]
    half = np.array([[[0, 0, 255, 128]]], np.uint8)
    mixed = over(half, red, np.full((1, 1), 0.5, np.float32))[0, 0]
    assert mixed[3] == 192 and abs(int(mixed[0]) - 170) <= 1 and abs(int(mixed[2]) - 85) <= 1


def test_feather_fades_inwards() -> None:
    base, white = np.zeros((21, 21, 3), np.uint8), np.full((21, 21, 3), 255, np.uint8)
    row = lay_over(base, white, 0, 0, Look(feather=5))[10, :, 0].astype(int)
    assert row[0] < 20 and row[10] == 255 and (np.diff(row[:11]) >= 0).all()


def test_things_stand_on_the_lower_edge_of_their_place() -> None:
    tall = np.zeros((40, 20, 3), np.uint8)
    assert standing(tall, image_pb2.Box(x=10, y=10, width=100, height=20)) == (55, 10, 10, 20)
    wide = np.zeros((20, 40, 3), np.uint8)
    assert standing(wide, image_pb2.Box(x=0, y=0, width=20, height=50)) == (0, 40, 20, 10)


def test_how_far_a_found_thing_reaches() -> None:
    mask = np.zeros((60, 80), np.float32)
    mask[20:30, 30:50] = 0.9
    mask[0, 0] = 0.05
    assert np.array_equal(extended(mask, Reach.THING), mask)
    rim = extended(mask, Reach.RIM)
    assert rim[18:32, 31:49].min() == 1 and rim[0, 0] == 0 and rim[10, 40] == 0
    box = extended(mask, Reach.BOX)
    assert box.sum() == 200 and box[20:30, 30:50].min() == 1
    assert not extended(np.zeros((5, 5), np.float32), Reach.RIM).any()


def test_alpha_carries_on_too() -> None:
    pixels = np.full((20, 20, 4), (10, 20, 30, 128), np.uint8)
    pixels[8:12, 8:12] = (200, 200, 200, 255)
    selection = np.zeros((20, 20), np.float32)
    selection[7:13, 7:13] = 1
    result = without(pixels, np.full((20, 20, 3), (10, 20, 30), np.uint8), selection)
    assert np.abs(result.astype(int) - (10, 20, 30, 128)).max() <= 1
