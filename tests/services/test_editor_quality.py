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
OPERATIONS = {
    "enhance": lambda: op("enhance"),
    "denoise": lambda: op("denoise", strength=1),
    "deblur": lambda: op("deblur"),
    "match_style": lambda: op("match_style", reference=to_message(reference())),
    "style_transfer": lambda: op("style_transfer", name="van gogh"),
}


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


def reference() -> np.ndarray:
    """A cool and bright picture, to match."""
    ramp = np.arange(80, dtype=np.uint8)
    return np.stack([np.add.outer(ramp, ramp[::-1]) // 2 + shift for shift in (90, 120, 170)], axis=2)


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


async def test_a_style_by_example_reaches_a_picture_larger_than_its_network(channel: grpc.aio.Channel) -> None:
    example = np.full((40, 60, 3), [200, 40, 40], np.uint8)
    pixels = scene(300, 200)
    result, response = await house.edit(channel, pixels, op("style_transfer", image=to_message(example)))
    assert result.mean(axis=(0, 1)) == pytest.approx((pixels.mean(axis=(0, 1)) + example[0, 0]) / 2, abs=3)
    assert response.records[0].parameters["model"] == "magenta-style-code magenta-style"
    kept, _ = await house.edit(channel, pixels, op("style_transfer", image=to_message(example), keep_colors=True))
    red = [int(one[..., 0].mean()) - int(one[..., 1].mean()) for one in (pixels, kept, result)]
    assert abs(red[1] - red[0]) < 8 < 60 < red[2] - red[0]


async def test_styles_are_found_by_other_words_and_unknown_ones_are_refused(channel: grpc.aio.Channel) -> None:
    _, response = await house.edit(channel, scene(40, 30), op("style_transfer", name="a Monet painting", strength=0.5))
    assert response.records[0].parameters["name"] in ("impressionist", "oil-painting")
    for faulty in (op("style_transfer"), op("style_transfer", name="nonsense")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await house.edit(channel, scene(40, 30), faulty)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_missing_reference_is_named(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.edit(channel, scene(), op("match_style"))
    assert "reference" in str(caught.value.details())


async def test_noise_decides_how_much_goes(channel: grpc.aio.Channel) -> None:
    noisy, clean = scene(), np.full((90, 150, 3), 90, np.uint8)
    smoothed, told = await house.edit(channel, noisy, op("denoise"))
    assert told.records[0].parameters["strength"] == "1" and told.records[0].models[0].name == "ffdnet"
    grain = [np.diff(one[5:-5, 5:20].astype(int), axis=0).std() for one in (noisy, smoothed)]
    assert grain[1] < grain[0] / 2
    left, told = await house.edit(channel, clean, op("denoise"))
    assert np.array_equal(left, clean) and not told.records[0].models
    assert told.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT
