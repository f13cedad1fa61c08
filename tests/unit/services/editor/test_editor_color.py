"""Colour correction: each value does what its name says, neutral changes nothing, a selection binds."""

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from diptych.images import Pixels
from services.editor.cutting.selection import blend
from services.editor.operations.color_correct import Parameters, correct, decide
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, LUMINANCE, from_oklab, to_encoded, to_linear, to_oklab
from services.editor.toning.white_balance import neutral_gains

PIXELS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])))


def change(pixel: tuple[int, int, int], **values: object) -> np.ndarray:
    return correct(np.array([[pixel]], np.uint8), Parameters(**values))[0, 0].astype(int)  # type: ignore[arg-type]


def light(color: np.ndarray) -> float:
    return float(LINEAR_OF_BYTE[color] @ LUMINANCE)


def test_the_spaces_invert_one_another() -> None:
    colors = np.random.default_rng(2).random((50, 3)).astype(np.float32)
    assert to_linear(to_encoded(colors)) == pytest.approx(colors, abs=1e-5)
    assert from_oklab(to_oklab(colors)) == pytest.approx(colors, abs=1e-4)
    assert to_oklab(np.array([1, 1, 1], np.float32)) == pytest.approx([1, 0, 0], abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(PIXELS)
def test_neutral_is_bit_for_bit(pixels: np.ndarray) -> None:
    assert np.array_equal(correct(pixels, Parameters()), pixels)


def test_exposure_doubles_the_light() -> None:
    assert light(change((90, 60, 120), exposure=1.0)) == pytest.approx(2 * light(np.array([90, 60, 120])), rel=0.02)


def test_more_exposure_keeps_the_drawing_in_highlights() -> None:
    ramp = np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis].repeat(3, 2)
    for exposure in (0.2, 0.5, 1.0, 2.0):
        tones = correct(ramp, Parameters(exposure=exposure))[0, :, 0].astype(int)
        assert (np.diff(tones) >= 0).all() and tones[255] >= 253 - 8 * (exposure < 1)
    brighter = correct(ramp, Parameters(exposure=1.0))[0, :, 0].astype(int)
    assert brighter[205] < brighter[230] < brighter[250]


def test_temperature_and_tint_change_colour_and_keep_brightness() -> None:
    grey = light(np.array([128, 128, 128]))
    for values in ({"temperature": 0.7}, {"temperature": -0.7}, {"tint": 0.7}, {"tint": -0.7}):
        assert light(change((128, 128, 128), **values)) == pytest.approx(grey, rel=0.03)
    warm, cool = change((128, 128, 128), temperature=0.7), change((128, 128, 128), temperature=-0.7)
    assert warm[0] > 140 > 115 > warm[2] and cool[2] > 140 > 115 > cool[0]
    assert change((128, 128, 128), tint=0.8)[1] < 124 and change((128, 128, 128), tint=-0.8)[1] > 132


def test_contrast_spreads_and_flattens() -> None:
    assert change((70, 70, 70), contrast=0.6)[0] < 60 and change((190, 190, 190), contrast=0.6)[0] > 200
    assert change((70, 70, 70), contrast=-0.6)[0] > 90
    assert change((0, 128, 255), contrast=0.8).tolist() == pytest.approx([0, 128, 255], abs=1)


def test_shadows_and_highlights_keep_their_sides_and_the_order_of_tones() -> None:
    assert change((40, 40, 40), shadows=1.0)[0] > 60 and abs(change((220, 220, 220), shadows=1.0)[0] - 220) <= 3
    assert change((220, 220, 220), highlights=-1.0)[0] < 195 and abs(change((40, 40, 40), highlights=-1.0)[0] - 40) <= 3
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for values in ({"shadows": 1.0}, {"shadows": -1.0}, {"highlights": 1.0}, {"highlights": -1.0}, {"contrast": 1.0}):
        assert (np.diff(correct(ramp, Parameters(**values))[0, :, 0].astype(int)) >= 0).all()  # type: ignore[arg-type]


def test_saturation_vibrance_and_grayscale() -> None:
    grey = change((200, 80, 40), saturation=-1.0)
    assert grey.max() - grey.min() <= 1
    assert np.ptp(change((150, 120, 110), saturation=0.5)) > np.ptp([150, 120, 110])
    dull = np.ptp(change((120, 130, 160), vibrance=1.0)) / 40
    vivid = np.ptp(change((20, 40, 250), vibrance=1.0)) / 230
    assert dull > 1.5 > 1.15 > vivid
    plain = change((200, 80, 40), grayscale=True)
    assert np.ptp(plain) == 0 and light(plain) == pytest.approx(light(np.array([200, 80, 40])), rel=0.02)


def test_gamma_and_brightness() -> None:
    assert change((64, 64, 64), gamma=2.0)[0] == 128 and change((128, 128, 128), brightness=0.2)[0] == 154


def test_hue_turns_and_colour_tints_at_the_same_lightness() -> None:
    turned = change((200, 60, 50), hue=120.0)
    assert turned[1] == turned.max()
    back = correct(correct(np.array([[[150, 110, 120]]], np.uint8), Parameters(hue=90.0)), Parameters(hue=-90.0))
    assert back[0, 0].astype(int) == pytest.approx([150, 110, 120], abs=2)
    blue = change((200, 60, 50), color=(0, 0, 255))
    assert blue[2] == blue.max()
    before, after = (to_oklab(LINEAR_OF_BYTE[np.array(one)])[0] for one in ((200, 60, 50), blue))
    assert after == pytest.approx(before, abs=0.05)
    assert change((255, 255, 255), color=(255, 0, 0)).min() >= 253 and change((0, 0, 0), color=(255, 0, 0)).max() <= 2


def mended(photo: Pixels) -> Pixels:
    return correct(photo, Parameters(auto=True), decide(photo))


def distance(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_auto_takes_a_cast_darkness_and_a_veil_off() -> None:
    photo = np.ascontiguousarray(skimage.data.astronaut()[::3, ::3])
    for worse, left in (
        (correct(photo, Parameters(temperature=0.4)), 0.7),
        (correct(photo, Parameters(exposure=-1.5)), 0.3),
        ((70 + photo * 0.6).astype(np.uint8), 0.75),
    ):
        assert distance(mended(worse), photo) < left * distance(worse, photo)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket"])
def test_auto_leaves_a_good_photograph_nearly_alone(name: str) -> None:
    photo = np.ascontiguousarray(getattr(skimage.data, name)()[::3, ::3])
    assert distance(mended(photo), photo) < 2.5


def test_one_coloured_thing_is_no_light() -> None:
    # Grey in the dark and in the middle, and a pale blue sky.
    tones = np.repeat(np.linspace(50, 240, 60)[np.newaxis], 60, axis=0)
    photo = np.repeat(tones[..., np.newaxis], 3, axis=2)
    photo[:, 40:] *= (0.94, 1, 1.06)
    assert neutral_gains(photo.clip(0, 247).astype(np.uint8).reshape(-1, 3)) == pytest.approx(1, abs=0.01)
    warm = (tones[..., np.newaxis] * np.array([1.05, 1, 0.9])).clip(0, 247).astype(np.uint8)
    gains = neutral_gains(warm.reshape(-1, 3))
    assert gains[2] > 1.05 and gains[0] < 0.98


@settings(deadline=None, max_examples=80)
@given(st.data(), PIXELS, st.floats(-5, 5), st.floats(-1, 1), st.floats(-180, 180))
def test_outside_a_selection_every_bit_stays(
    data: st.DataObject, pixels: np.ndarray, exposure: float, saturation: float, hue: float
) -> None:
    levels = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0])
    mask = data.draw(arrays.arrays(np.float32, pixels.shape[:2], elements=levels))
    parameters = Parameters(exposure=exposure, saturation=saturation, hue=hue)
    bound, free = correct(pixels, parameters, selection=mask), correct(pixels, parameters)
    assert np.array_equal(bound[mask == 0], pixels[mask == 0])
    assert np.array_equal(bound[mask == 1], free[mask == 1])
    if pixels.shape[2] == 4:
        assert np.array_equal(bound[..., 3], pixels[..., 3])


def test_a_half_selected_pixel_is_half_way() -> None:
    before, after = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 200, np.uint8)
    assert blend(before, after, np.full((1, 1), 0.5, np.float32))[0, 0].tolist() == [100, 100, 100]
