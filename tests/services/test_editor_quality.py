"""Quality, colour and style through a real server: a selection binds, bytes repeat, what was decided is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from diptych.images import to_message
from diptych.v1 import editor_pb2, image_pb2
from tests.services import editor_house as house

op = house.operation
OPERATIONS = {"denoise": lambda: op("denoise", strength=1)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def channel(models: Path, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with house.editor(models, cache=tmp_path, tile=64) as (_, channel):
        yield channel


def scene(width: int = 150, height: int = 90, *, alpha: bool = False, seed: int = 0) -> np.ndarray:
    """The house's picture, dimmed, with noise on it."""
    pixels = house.picture(width, height, alpha=alpha)
    noise = np.random.default_rng(seed).normal(0, 9, (height, width, 3))
    pixels[..., :3] = (pixels[..., :3] * 0.6 + noise).clip(0, 255)
    return pixels


def masked(operation: editor_pb2.Operation, mask: np.ndarray) -> editor_pb2.Operation:
    operation.selection.mask.CopyFrom(to_message(mask[..., np.newaxis].repeat(3, 2)))
    return operation


@pytest.mark.parametrize("name", OPERATIONS)
async def test_outside_a_selection_every_bit_stays(channel: grpc.aio.Channel, name: str) -> None:
    random = np.random.default_rng(4)
    for round_number in range(3):
        pixels = scene(alpha=round_number == 2, seed=round_number)
        blocks = random.choice([0, 0, 0, 128, 255], (9, 15)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
        result, response = await house.edit(channel, pixels, masked(OPERATIONS[name](), blocks))
        assert np.array_equal(result[blocks == 0], pixels[blocks == 0])
        (record,) = response.records
        assert record.effect.max_difference_outside == 0 and record.effect.effect == image_pb2.EFFECT_CHANGED
        assert not np.array_equal(result[blocks == 255], pixels[blocks == 255])
        if pixels.shape[2] == 4:
            assert np.array_equal(result[..., 3], pixels[..., 3])


@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_same_request_gives_the_same_bytes(channel: grpc.aio.Channel, name: str) -> None:
    pixels = scene()
    first, response = await house.edit(channel, pixels, OPERATIONS[name]())
    second, _ = await house.edit(channel, pixels, OPERATIONS[name]())
    assert np.array_equal(first, second)
    assert "strength" in response.records[0].parameters and response.records[0].models


@pytest.mark.parametrize("name", OPERATIONS)
async def test_no_strength_is_no_effect(channel: grpc.aio.Channel, name: str) -> None:
    pixels, operation = scene(), OPERATIONS[name]()
    getattr(operation, name).strength = 0
    result, response = await house.edit(channel, pixels, operation)
    assert np.array_equal(result, pixels)
    assert response.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT


async def test_noise_decides_how_much_goes(channel: grpc.aio.Channel) -> None:
    noisy, clean = scene(), np.full((90, 150, 3), 90, np.uint8)
    smoothed, told = await house.edit(channel, noisy, op("denoise"))
    assert told.records[0].parameters["strength"] == "1" and told.records[0].models[0].name == "ffdnet"
    grain = [np.diff(one[5:-5, 5:20].astype(int), axis=0).std() for one in (noisy, smoothed)]
    assert grain[1] < grain[0] / 2
    left, told = await house.edit(channel, clean, op("denoise"))
    assert np.array_equal(left, clean) and not told.records[0].models
    assert told.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT
