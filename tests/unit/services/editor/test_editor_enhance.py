"""Enhancing mends what is lacking and leaves the rest: light, casts, contrast; nothing clips that did not before."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.editor.operations.enhance import decide
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, LUMINANCE, to_encoded
from services.editor.restoring.deblurring import measure_blur
from services.editor.toning.relighting import Relight, relight
from services.editor.toning.white_balance import neutral_gains

PIXELS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])))


def photograph(side: int = 120) -> np.ndarray:
    """Tones of every kind about the middle, mostly greyish, some skin and some leaf."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    tones = 0.001 + 0.8 * x**1.6 + 0.1 * np.sin(9 * y) * x
    tints = np.ones((side, side, 3), np.float32)
    tints[: side // 4] = [1.25, 0.95, 0.75]
    tints[-side // 4 :, : side // 2] = [0.8, 1.1, 0.6]
    return encode(tones[..., np.newaxis] * tints)


def encode(linear: np.ndarray) -> np.ndarray:
    return np.rint(to_encoded(linear.clip(0, 1).astype(np.float32)) * 255).astype(np.uint8)


def relit(factor: float | list[float]) -> np.ndarray:
    return encode(LINEAR_OF_BYTE[photograph()] * np.array(factor))


def enhanced(pixels: np.ndarray) -> np.ndarray:
    return relight(pixels, decide(pixels))


def clipped(pixels: np.ndarray) -> tuple[int, int]:
    return int((pixels.min(axis=2) >= 253).sum()), int((pixels.max(axis=2) <= 2).sum())


def test_a_good_photograph_changes_little() -> None:
    good = photograph()
    assert np.abs(enhanced(good).astype(int) - good).mean() < 6


def test_the_dark_is_lifted_and_the_bright_is_not() -> None:
    dark, bright = relit(0.1), relit(3.0)
    assert enhanced(dark).mean() > 1.5 * dark.mean()
    assert enhanced(bright).mean() <= bright.mean()


def test_a_night_with_a_lamp_stays_a_night() -> None:
    night = np.full((100, 100, 3), 18, np.uint8)
    night[40:65, 40:65] = 250
    assert np.median(enhanced(night)) < 60


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 2.0, [1.3, 1.0, 0.6]])
def test_nothing_clips_that_did_not_before(factor: float | list[float]) -> None:
    before = relit(factor)
    assert all(after <= count for after, count in zip(clipped(enhanced(before)), clipped(before), strict=True))


def test_a_cast_goes_mostly_and_white_light_stays() -> None:
    def away(pixels: np.ndarray) -> float:
        return float(np.ptp(LINEAR_OF_BYTE[pixels[50:70]].mean(axis=(0, 1))))

    warm = relit([1.25, 1.0, 0.65])
    assert away(enhanced(warm)) < 0.75 * away(warm)
    assert neutral_gains(photograph().reshape(-1, 3)) == pytest.approx([1, 1, 1], abs=0.02)
    leaves = np.random.default_rng(1).integers(0, 40, (500, 3), dtype=np.uint8) + np.array([20, 150, 30], np.uint8)
    assert neutral_gains(leaves).tolist() == [1, 1, 1]


@settings(deadline=None, max_examples=60)
@given(st.data(), PIXELS, st.floats(-0.5, 4), st.floats(0, 1), st.floats(0.6, 1.4))
def test_outside_a_selection_every_bit_stays(
    data: st.DataObject, pixels: np.ndarray, lift: float, contrast: float, color: float
) -> None:
    mask = data.draw(arrays.arrays(np.float32, pixels.shape[:2], elements=st.sampled_from([0.0, 0.5, 1.0])))
    how = Relight(lift=lift, contrast=contrast, detail=1.2, color=color)
    bound, free = relight(pixels, how, mask), relight(pixels, how)
    assert np.array_equal(bound[mask == 0], pixels[mask == 0])
    assert np.array_equal(bound[mask == 1], free[mask == 1])
    assert np.array_equal(bound[..., 3:], pixels[..., 3:])


@given(st.floats(-0.5, 4), st.floats(0, 0.5), st.floats(0, 0.3), st.floats(0.5, 1))
def test_tones_keep_their_order(lift: float, contrast: float, black: float, white: float) -> None:
    bent = Relight(lift=lift, contrast=contrast, black=black, white=white).bend(np.linspace(0, 1, 200))
    assert (np.diff(bent) >= -1e-9).all() and bent[0] >= 0 and bent[-1] == pytest.approx(1)


def test_half_the_strength_is_half_the_way() -> None:
    how = Relight(lift=1.0, contrast=0.4, white=0.8, detail=1.2)
    assert how.share(0) == Relight() and how.share(1) == how
    grey = int(LUMINANCE.sum() * 100)
    pixels = np.full((8, 8, 3), grey, np.uint8)
    none, half, whole = (int(relight(pixels, how.share(share))[4, 4, 0]) for share in (0, 0.5, 1))
    assert none == grey < half < whole


@pytest.mark.parametrize("blur", [1.0, 1.5, 2.5])
def test_a_blur_is_measured_at_edges(blur: float) -> None:
    checks = (np.indices((200, 200)).sum(0) // 25 % 2 * 150 + 50).astype(np.float32)
    soft = np.rint(cv2.GaussianBlur(checks, (0, 0), blur)).astype(np.uint8)[..., np.newaxis].repeat(3, 2)
    assert measure_blur(soft, 1.0) == pytest.approx(blur, rel=0.25)
    assert measure_blur(np.full((50, 50, 3), 90, np.uint8), 1.0) is None
