"""The camera moves softly, never shows an edge, and layers are sampled at fractions of a pixel."""

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from services.editor.moving.camera import ORBIT, PAN, ZOOM_IN, ZOOM_OUT, View, camera_path
from services.editor.moving.layers import Layers, Scene, behind, flat, mirrored, parted

MOTIONS = [PAN, ZOOM_IN, ZOOM_OUT, ORBIT]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(MOTIONS), st.floats(0, 1), st.floats(0.2, 5), st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.none() | st.floats(-360, 360), st.booleans(), st.floats(0, 1),
)  # fmt: skip
def test_no_view_leaves_the_picture(
    motion: int, amount: float, aspect: float, focus: tuple[float, float], direction: float, parallax: bool, time: float
) -> None:
    for view in camera_path(motion, amount, aspect, focus, direction, parallax).views(time):
        assert view.zoom >= 1
        for centre in (view.x, view.y):
            assert 0.5 / view.zoom - 1e-9 <= centre <= 1 - 0.5 / view.zoom + 1e-9


@pytest.mark.parametrize("parallax", [False, True])
@pytest.mark.parametrize("motion", MOTIONS)
def test_a_motion_starts_and_stops_softly_or_closes(motion: int, parallax: bool) -> None:
    path = camera_path(motion, 0.5, 1.5, (0.4, 0.6), None, parallax)
    times = np.linspace(0, 1, 97)
    for layer in (0, 1):
        places = np.array([[view.x, view.y, np.log(view.zoom)] for view in (path.views(t)[layer] for t in times)])
        speed = np.linalg.norm(np.diff(places, axis=0), axis=1)
        assert speed.max() > 0
        if path.closed:
            assert np.allclose(places[0], places[-1])
            # As fast over the end as anywhere: nobody sees where the loop closes.
            assert np.linalg.norm(places[1] - places[-2]) == pytest.approx(2 * speed[0], rel=0.05)
        else:
            assert max(speed[0], speed[-1]) < speed.max() / 100
            assert np.abs(np.diff(speed)).max() < speed.max() / 8
    assert path.closed == (motion == ORBIT)


def test_the_subject_moves_before_its_background() -> None:
    far, near = camera_path(ZOOM_IN, 0.3, 1, (0.5, 0.5), None, True).views(1)
    assert near.zoom > far.zoom > 1
    far, near = camera_path(PAN, 0.3, 1, (0.5, 0.5), 0, True).views(1)
    assert near.x > far.x > 0.5 and near.y == far.y == 0.5
    far, near = camera_path(ORBIT, 0.3, 1, (0.5, 0.5), None, True).views(0)
    assert far.x > 0.5 > near.x
    assert camera_path(PAN, 0.3, 2, (0.5, 0.5), None, False).views(1)[0].x > 0.5
    assert camera_path(PAN, 0.3, 0.5, (0.5, 0.5), None, False).views(1)[0].y > 0.5


def test_a_layer_is_sampled_at_fractions_of_a_pixel() -> None:
    x = np.arange(240)
    wave = np.repeat((127 + 100 * np.sin(x / 9)).round().astype(np.uint8)[None, :, None], 3, 2).repeat(64, 0)
    scene = Scene.of(flat(wave), (120, 32), 2)
    for moved in np.linspace(0, 2, 21):
        frame = scene.frame(view := View(0.5 + moved / 240, 0.5, 2), view)
        expected = 127 + 100 * np.sin((60 + moved + np.arange(120)) / 9)
        assert np.abs(frame[16, 8:-8, 0] - expected[8:-8]).max() < 1.5


def test_a_view_of_everything_is_the_picture() -> None:
    photo = skimage.data.chelsea()
    whole = View(0.5, 0.5, 1)
    assert np.array_equal(Scene.of(flat(photo), photo.shape[1::-1], 1).frame(whole, whole), photo)


def test_slow_motion_does_not_shimmer() -> None:
    """Fine stripes, zoomed by a little from frame to frame: their contrast must not come and go."""
    stripes = np.zeros((200, 300, 3), np.uint8)
    stripes[:, ::2] = 255
    scene = Scene.of(flat(stripes), (150, 100), 2)
    contrast = [
        scene.frame(view := View(0.5, 0.5, zoom), view)[50].astype(float).std() for zoom in np.linspace(1, 1.15, 60)
    ]
    assert np.abs(np.diff(contrast)).max() < 6


def test_parted_layers_put_together_are_the_picture() -> None:
    photo = skimage.data.astronaut()
    y, x = np.mgrid[:512, :512]
    matte = (1 - (np.hypot(x - 250, y - 250) - 120) / 6).clip(0, 1).astype(np.float32)
    back = np.where(behind(matte)[..., np.newaxis], np.uint8(90), photo)
    layers = parted(photo, matte, back)
    whole = View(0.5, 0.5, 1)
    frame = Scene.of(layers, (512, 512), 1).frame(whole, whole).astype(int)
    assert np.abs(frame - photo)[matte == 1].max() <= 1
    assert np.abs(frame - photo)[np.hypot(x - 250, y - 250) > 145].max() == 0
    assert np.abs(frame - photo).mean() < 3


def test_a_cut_out_stays_one_and_keeps_its_colours() -> None:
    cut = np.zeros((60, 60, 4), np.uint8)
    cut[20:40, 20:40] = (200, 100, 50, 255)
    layers = flat(cut)
    assert isinstance(layers, Layers) and layers.back is None
    frame = Scene.of(layers, (60, 60), 1.5).frame(view := View(0.51, 0.5, 1.3), view)
    assert frame.shape == (60, 60, 4) and frame[0, 0].tolist() == [0, 0, 0, 0]
    seen = frame[frame[..., 3] > 40]
    off = np.abs(seen[:, :3].astype(int) - (200, 100, 50))
    assert off.max() <= 40 and off.mean() <= 3


def test_what_comes_out_from_behind_a_subject_is_what_is_beside_it() -> None:
    photo = np.full((120, 160, 3), (20, 20, 20), np.uint8)
    photo[:, 80:] = (200, 180, 160)
    y, x = np.mgrid[:120, :160]
    matte = (((y - 60) ** 2 + (x - 80) ** 2) < 30**2).astype(np.float32)
    photo[matte > 0] = (250, 0, 0)
    hole = behind(matte)
    ground = mirrored(photo, hole)
    assert np.array_equal(ground[~hole], photo[~hole])
    assert ground[60, 54:60].max() < 40 and ground[60, 101:107].min() > 140
    # Nothing of the subject is left, and the border between the two goes on.
    assert (ground[..., 0].astype(int) - ground[..., 2]).max() < 60
    assert np.abs(np.diff(ground[34, 76:84, 0].astype(int))).max() > 40


def test_a_subject_without_surroundings_is_its_own_ground() -> None:
    photo = skimage.data.astronaut()[:40, :40]
    assert np.array_equal(mirrored(photo, np.ones((40, 40), bool)), photo)
    assert np.array_equal(mirrored(photo, np.zeros((40, 40), bool)), photo)
