"""Retouching a real portrait with the default models."""

import cv2
import numpy as np
import pytest

from diptych.v1 import editor_pb2, image_pb2
from tests.services import editor_house as house
from tests.services import real_editor as real

NETWORKS = ("blazeface", "facemesh", "faceres")
NOTHING = {"skin": 0.0, "blemishes": 0.0, "eyes": 0.0, "teeth": 0.0, "relight": 0.0}
# Places in the portrait: x, y, and what is there.
SPOTS = ((243, 120), (225, 160), (232, 158), (250, 128))


async def retouched(pixels: np.ndarray, **fields: float) -> tuple[np.ndarray, editor_pb2.EditImageResponse]:
    async with real.editor(*NETWORKS) as channel:
        return await house.edit(channel, pixels, house.operation("retouch", **{**NOTHING, **fields}))


def lab(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))


def spotted() -> np.ndarray:
    """The portrait with red spots on its skin."""
    y, x = np.mgrid[:512, :512]
    pixels = real.astronaut().astype(np.float32)
    for column, row in SPOTS:
        pixels += np.exp(-((x - column) ** 2 + (y - row) ** 2) / 2.4)[..., np.newaxis] * np.array([-5, -40, -35])
    return pixels.clip(0, 255).astype(np.uint8)


async def test_a_face_is_changed_within_itself_and_stays_the_same_person() -> None:
    pixels = real.astronaut()
    async with real.editor(*NETWORKS) as channel:
        result, response = await house.edit(channel, pixels, house.operation("retouch"))
        again, _ = await house.edit(channel, pixels, house.operation("retouch"))
    assert np.array_equal(result, again)
    changed = np.any(result != pixels, axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() > 60 and rows.max() < 185 and columns.min() > 165 and columns.max() < 285
    (record,) = response.records
    assert record.effect.effect == image_pb2.EFFECT_CHANGED
    assert record.parameters["faces"] == "1" and record.parameters["skin"] == "0.5"
    # A stranger's face is 0.2 to 0.4 like hers, and hers blurred away 0.66.
    assert float(record.parameters["identity_similarity"]) > 0.98
    assert float(record.parameters["landmark_shift"]) < 0.01
    assert [model.name for model in record.models] == [*NETWORKS[:2], "frequency-separation", "faceres"]


async def test_skin_is_evened_its_texture_kept_and_the_rest_left() -> None:
    rough = np.random.default_rng(5).normal(0, 1, (2, 3072, 3072)).astype(np.float32)
    large = cv2.resize(real.astronaut()[50:200, 140:290], None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    pores, blotches = rough[0, :900, :900] * 2, cv2.GaussianBlur(rough[1, :900, :900], (0, 0), 6) * 40
    before = (large + (pores + blotches)[..., np.newaxis]).clip(0, 255).astype(np.uint8)
    (after, _), (smooth, _) = await retouched(before, skin=1.0), await retouched(large, skin=1.0)
    cheek = (slice(330, 470), slice(290, 390))

    def left(noise: np.ndarray, pixels: np.ndarray, base: np.ndarray) -> float:
        """How much of a noise that was added to the base is in the picture."""
        seen = (pixels[..., 1].astype(np.float32) - base[..., 1])[cheek]
        return float((seen * noise[cheek]).sum() / np.square(noise[cheek]).sum())

    assert left(pores, before, large) > 0.9 and left(blotches, before, large) > 0.9
    assert left(pores, after, smooth) > 0.85 and left(blotches, after, smooth) < 0.7
    for place in ((300, 384), (222, 348), (600, 486), (30, 510)):  # An eye, a brow, the lips, hair.
        assert np.abs(after[place].astype(int) - before[place]).max() <= 6, place


async def test_spots_are_healed_and_counted() -> None:
    clean, before = real.astronaut(), spotted()
    after, response = await retouched(before, blemishes=1.0)
    assert int(response.records[0].parameters["blemishes_healed"]) >= len(SPOTS)
    for column, row in SPOTS:
        place = (slice(row - 1, row + 2), slice(column - 1, column + 2))
        red = [float(lab(pixels)[place][..., 1].mean()) for pixels in (clean, before, after)]
        assert red[2] - red[0] < 0.35 * (red[1] - red[0]), (column, row, red)


async def test_teeth_and_eyes() -> None:
    before = real.astronaut()
    whiter, _ = await retouched(before, teeth=1.0)
    teeth = (slice(141, 147), slice(214, 230))
    yellow = [float(lab(pixels)[teeth][..., 2].mean()) for pixels in (before, whiter)]
    assert yellow[1] < yellow[0] - 1 and lab(whiter)[teeth][..., 0].mean() > lab(before)[teeth][..., 0].mean() + 1
    changed = np.any(whiter != before, axis=2)
    assert 20 < changed.sum() < 600 and changed[130:160, 195:255].sum() == changed.sum()
    clearer, _ = await retouched(before, eyes=1.0)
    changed = np.any(clearer != before, axis=2)
    assert changed.any() and changed[92:112].sum() == changed.sum()
    assert (lab(clearer)[..., 0] - lab(before)[..., 0])[changed].mean() > 0.5


async def test_one_sided_light_becomes_even() -> None:
    ramp = np.interp(np.arange(512), [180, 270], [1.0, 0.45])[np.newaxis, :, np.newaxis]
    before = (real.astronaut() * ramp).astype(np.uint8)
    after, response = await retouched(before, relight=1.0)
    left, right = (slice(125, 145), slice(195, 210)), (slice(125, 145), slice(245, 258))
    gaps = [lab(p)[left][..., 0].mean() - lab(p)[right][..., 0].mean() for p in (before, after)]
    assert gaps[0] > 15 and gaps[1] < 0.75 * gaps[0]
    assert float(response.records[0].parameters["identity_similarity"]) > 0.85


async def test_without_a_face_nothing_happens_and_the_caller_is_told() -> None:
    result, response = await retouched(real.cat(), skin=1.0)
    assert np.array_equal(result, real.cat())
    assert response.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT
    assert response.records[0].parameters["faces"] == "0"


async def test_a_selection_binds_and_alpha_stays() -> None:
    pixels = np.dstack([real.astronaut(), np.full((512, 512), 200, np.uint8)])
    bound = house.operation("retouch", skin=1.0)
    bound.selection.box.CopyFrom(image_pb2.Box(x=0, y=0, width=225, height=512))
    async with real.editor(*NETWORKS) as channel:
        result, response = await house.edit(channel, pixels, bound)
    assert np.array_equal(result[:, 225:], pixels[:, 225:]) and (result[..., 3] == 200).all()
    assert (result != pixels).any() and response.records[0].effect.max_difference_outside == 0


@pytest.mark.parametrize("factor", [3, 6])
async def test_a_face_looks_alike_at_any_size(factor: int) -> None:
    small, (reference, _) = real.astronaut(), await retouched(real.astronaut(), skin=1.0, teeth=1.0)
    part = small[40:220, 130:310]
    large = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    after, response = await retouched(large, skin=1.0, teeth=1.0)
    assert response.records[0].parameters["faces"] == "1"
    back = cv2.resize(after, part.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(back - reference[40:220, 130:310]).mean() < 2.5
