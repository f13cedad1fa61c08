"""Useless and wrecking models are told from working ones, on photographs."""

import cv2
import numpy as np
import pytest
import skimage.data

from diptych.v1 import image_pb2
from services.editor.effect import measure

CHANGED, NO_EFFECT, DAMAGED = image_pb2.EFFECT_CHANGED, image_pb2.EFFECT_NO_EFFECT, image_pb2.EFFECT_DAMAGED
RNG = np.random.default_rng(5)


def photo(name: str) -> np.ndarray:
    return getattr(skimage.data, name)()[:300, :400]


def noisy(pixels: np.ndarray, strength: float) -> np.ndarray:
    return (pixels + RNG.normal(0, strength, pixels.shape)).clip(0, 255).astype(np.uint8)


WORKING = {
    "denoised": lambda p: cv2.GaussianBlur(p, (0, 0), 2),
    "sharpened": lambda p: cv2.addWeighted(p, 2, cv2.GaussianBlur(p, (0, 0), 3), -1, 0),
    "enlarged": lambda p: cv2.resize(p, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC),
    "lightened": lambda p: (255 * (p / 255) ** 0.4).astype(np.uint8),
    "darkened": lambda p: (p * 0.3).astype(np.uint8),
    "blurred": lambda p: cv2.GaussianBlur(p, (0, 0), 12),
}
WRECKING = {
    "black": np.zeros_like,
    "white": lambda p: np.full_like(p, 255),
    "one colour": lambda p: np.full_like(p, (90, 120, 60)),
    "noise": lambda p: RNG.integers(0, 256, p.shape, dtype=np.uint8),
    "large noise": lambda p: RNG.integers(0, 256, (4 * p.shape[0], 4 * p.shape[1], 3), dtype=np.uint8),
    "inverted": lambda p: 255 - p,
    "mirrored rows": lambda p: np.ascontiguousarray(p[::-1]),
    "another picture": lambda p: np.ascontiguousarray(skimage.data.coffee()[: p.shape[0], : p.shape[1]][:, ::-1]),
}


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "rocket"])
@pytest.mark.parametrize("work", WORKING)
def test_what_works_is_not_suspected(work: str, name: str) -> None:
    before = noisy(photo(name), 25)
    report = measure(before, WORKING[work](before), keeps=True)
    assert report.effect == CHANGED and report.likeness > 0.6


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "rocket"])
@pytest.mark.parametrize("wreck", WRECKING)
def test_what_wrecks_is_flagged(wreck: str, name: str) -> None:
    before = photo(name)
    report = measure(before, WRECKING[wreck](before), keeps=True)
    assert report.effect == DAMAGED and report.likeness < 0.3
    # Where a picture may become another, nothing is said of likeness.
    plain = measure(before, WRECKING[wreck](before))
    assert plain.effect == CHANGED and not plain.HasField("likeness")


def test_a_wreck_within_a_selection_is_flagged() -> None:
    before = photo("astronaut")
    after = before.copy()
    after[100:180, 150:260] = RNG.integers(0, 256, (80, 110, 3), dtype=np.uint8)
    assert measure(before, after, keeps=True).effect == DAMAGED


def test_what_does_nothing_has_no_effect() -> None:
    before = photo("chelsea")
    assert measure(before, before.copy(), keeps=True).effect == NO_EFFECT


@pytest.mark.parametrize(
    "alpha, effect",
    [("disc", CHANGED), ("nothing", DAMAGED), ("half", DAMAGED), ("noise", DAMAGED)],
)
def test_mattes(alpha: str, effect: int) -> None:
    before = photo("astronaut")
    y, x = np.mgrid[:300, :400]
    mattes = {
        "disc": (255 * (1 - (np.hypot(x - 200, y - 150) - 90) / 20).clip(0, 1)).astype(np.uint8),
        "nothing": np.zeros((300, 400), np.uint8),
        "half": np.full((300, 400), 120, np.uint8),
        "noise": RNG.integers(0, 256, (300, 400), dtype=np.uint8),
    }
    after = np.dstack([before, mattes[alpha]])
    assert measure(before, after, keeps=True).effect == effect


def test_a_picture_of_nothing_cannot_be_judged() -> None:
    flat = np.full((60, 60, 3), 80, np.uint8)
    report = measure(flat, np.zeros_like(flat), keeps=True)
    assert report.effect == CHANGED and not report.HasField("likeness")
