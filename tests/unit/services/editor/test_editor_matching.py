"""Matching a picture's colours to another's: near in the end, smooth on the way, and nothing for one's own."""

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, to_oklab
from services.editor.toning.color_matching import find_match, recolor

PIXELS = arrays.arrays(np.uint8, st.tuples(st.integers(4, 9), st.integers(4, 9), st.sampled_from([3, 4])))


def speckled(color: tuple[int, int, int], spread: float, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, spread, (60, 60, 3))
    return np.rint(np.array(color) + noise).clip(0, 255).astype(np.uint8)


def mean_of(pixels: np.ndarray) -> np.ndarray:
    return to_oklab(LINEAR_OF_BYTE[pixels[..., :3]]).reshape(-1, 3).mean(axis=0)


def matched(image: np.ndarray, reference: np.ndarray, strength: float = 1.0) -> np.ndarray:
    match = find_match(image, reference)
    assert match is not None
    return recolor(image, match, strength)


def test_tone_and_palette_come_near() -> None:
    image, reference = speckled((150, 120, 90), 25), speckled((80, 110, 140), 15, 2)
    assert mean_of(matched(image, reference)) == pytest.approx(mean_of(reference), abs=0.02)


def test_its_own_colours_change_nothing() -> None:
    image = speckled((150, 120, 90), 25)
    assert np.abs(matched(image, image).astype(int) - image).max() <= 4


def test_strength_is_the_share_of_the_way_also_for_greys() -> None:
    image, reference = speckled((128, 128, 128), 20), speckled((90, 120, 170), 20, 2)
    moved = [np.hypot(*mean_of(matched(image, reference, share))[1:]) for share in (0.0, 0.25, 0.5, 1.0)]
    assert moved[0] < 0.002
    assert moved[1:] == pytest.approx([moved[3] / 4, moved[3] / 2, moved[3]], rel=0.15)


def test_a_smooth_ramp_stays_smooth_and_in_order() -> None:
    ramp = np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis].repeat(64, 0).repeat(3, 2)
    hard = np.where(np.indices((64, 64)).sum(0)[..., np.newaxis] % 2, 240, 15).astype(np.uint8).repeat(3, 2)
    steps = np.diff(matched(ramp, hard)[0, :, 0].astype(int))
    assert steps.min() >= 0 and steps.max() <= 6


def test_a_picture_without_colour_takes_colour_away() -> None:
    grey = speckled((120, 120, 120), 30)[..., :1].repeat(3, 2)
    lab = to_oklab(LINEAR_OF_BYTE[matched(speckled((190, 90, 60), 25), grey)])
    assert np.hypot(lab[..., 1], lab[..., 2]).mean() < 0.03


def test_what_cannot_be_seen_cannot_be_matched() -> None:
    clear = np.zeros((9, 9, 4), np.uint8)
    assert find_match(clear, speckled((1, 2, 3), 1)) is None and find_match(speckled((1, 2, 3), 1), clear) is None


@settings(deadline=None, max_examples=40)
@given(st.data(), PIXELS, st.floats(0, 1))
def test_outside_a_selection_every_bit_stays(data: st.DataObject, pixels: np.ndarray, strength: float) -> None:
    match = find_match(speckled((150, 120, 90), 25), speckled((80, 110, 140), 15, 2))
    assert match is not None
    mask = data.draw(arrays.arrays(np.float32, pixels.shape[:2], elements=st.sampled_from([0.0, 0.5, 1.0])))
    bound, free = recolor(pixels, match, strength, mask), recolor(pixels, match, strength)
    assert np.array_equal(bound[mask == 0], pixels[mask == 0])
    assert np.array_equal(bound[mask == 1], free[mask == 1])
    assert np.array_equal(bound[..., 3:], pixels[..., 3:])


@pytest.mark.parametrize("share", [0.1, 0.03])
def test_a_nearly_black_reference_leaves_the_picture_legible(share: float) -> None:
    photo = np.ascontiguousarray(skimage.data.astronaut()[::3, ::3])
    dark = (skimage.data.coffee() * share).astype(np.uint8)
    match = find_match(photo, dark)
    assert match is not None
    made = to_oklab(LINEAR_OF_BYTE[recolor(photo, match, 1.0)])[..., 0]
    own = to_oklab(LINEAR_OF_BYTE[photo])[..., 0]
    # Darker, but neither sunk nor flat: the middle is seen, shadows still rise from black.
    assert 0.25 < np.median(made) < np.median(own) - 0.1
    assert np.diff(match.curve[::16]).min() > 0
    assert made.std() > 0.3 * own.std()
