"""Holes filled on synthetic textures, small and beyond the bounds of the work."""

from typing import Any, cast

import numpy as np
import pytest

from diptych.images import ImageLimits
from services.editor.context import EditContext, ImageThreads
from services.editor.filling import completion, inpainting
from services.editor.filling.harmonize import grain_of
from services.editor.models import EditorModels


class NoModels:
    """A machine without networks for inpainting."""

    def first_of(self, task: str) -> str:
        return ""


async def fill(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    threads = ImageThreads(1)
    try:
        context = EditContext(cast(EditorModels, NoModels()), threads, ImageLimits(), "", 64)
        return await inpainting.continued(pixels, hole, context)
    finally:
        await threads.close()


def stripes(height: int, width: int, noise: float) -> np.ndarray:
    x = np.arange(width)
    rows = np.where((x // 10) % 2, 180, 60)[np.newaxis, :, np.newaxis].repeat(height, 0).repeat(3, 2).astype(float)
    rows += np.random.default_rng(0).normal(0, noise, (height, width, 1))
    return rows.clip(0, 255).astype(np.uint8)


async def test_a_pattern_goes_on_through_the_hole_and_nothing_else_changes() -> None:
    truth = stripes(120, 160, 2)
    hole = np.zeros((120, 160), bool)
    hole[40:80, 60:95] = True
    pixels = truth.copy()
    pixels[hole] = (255, 0, 255)
    result = await fill(pixels, hole)
    assert np.array_equal(result[~hole], pixels[~hole])
    assert np.abs(result[hole].astype(int) - truth[hole]).mean() < 12
    assert np.array_equal(result, await fill(pixels, hole)), "the same request must give the same bytes"


async def test_a_large_hole_is_joined_on_a_smaller_scale_and_keeps_the_grain_of_its_surroundings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(completion, "_MOST_JOINED", 5_000)
    truth: Any = np.full((300, 400, 3), (120, 140, 90), np.uint8)
    noise = np.random.default_rng(1).normal(0, 6, (300, 400, 1))
    truth = (truth + noise).clip(0, 255).astype(np.uint8)
    hole = np.zeros((300, 400), bool)
    hole[100:200, 140:260] = True
    pixels = truth.copy()
    pixels[hole] = 255
    result = await fill(pixels, hole)
    assert np.array_equal(result[~hole], pixels[~hole])
    assert np.abs(result[hole].mean(axis=0) - (120, 140, 90)).max() < 4
    inside = np.ascontiguousarray(result[105:195, 145:255])
    assert abs(grain_of(inside) - grain_of(truth)) < 2
