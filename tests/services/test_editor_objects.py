"""Backgrounds and things through a real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from diptych.images import to_message
from diptych.v1 import editor_pb2, image_pb2
from tests.services import editor_house as house

op = house.operation


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def channel(models: Path, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with house.editor(models, cache=tmp_path, tile=64) as (_, channel):
        yield channel


def noise(width: int = 60, height: int = 60) -> np.ndarray:
    """House's picture on a busy ground, so that every edit of it shows."""
    pixels = house.picture(width, height).astype(int)
    pixels += np.random.default_rng(0).integers(-18, 19, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


async def test_the_subject_gets_another_background(channel: grpc.aio.Channel) -> None:
    pixels = house.picture(60, 60)
    result, response = await house.edit(channel, pixels, op("replace_background", color="#00ff00"))
    assert result.shape == (60, 60, 3)
    assert result[0, 0].tolist() == [0, 255, 0] and np.array_equal(result[30, 30], pixels[30, 30])
    (record,) = response.records
    assert record.models[0].name == "isnet" and record.parameters["color"] == "#00ff00"
    fade = editor_pb2.Gradient(start_color="#000000", end_color="#ffffff", angle=90)
    result, _ = await house.edit(channel, pixels, op("replace_background", gradient=fade))
    assert result[0, -1].max() < 10 and result[0, 0].min() > 245
    sea = np.full((10, 40, 3), (0, 0, 200), np.uint8)
    result, response = await house.edit(channel, pixels, op("replace_background", image=to_message(sea), harmonize=1.0))
    assert result[0, 0].tolist() == [0, 0, 200]
    assert "harmonize" in [model.name for model in response.records[0].models]


async def test_the_old_background_can_go_soft(channel: grpc.aio.Channel) -> None:
    pixels = noise()
    for soft in (op("replace_background", blur_radius=5.0), op("blur_background", radius=5.0)):
        result, response = await house.edit(channel, pixels, soft)
        assert result[:6].astype(float).std() < pixels[:6].astype(float).std()
        assert np.abs(result[28:32, 28:32].astype(int) - pixels[28:32, 28:32]).max() <= 1
        assert response.records[0].effect.effect == image_pb2.EFFECT_CHANGED
    result, response = await house.edit(channel, pixels, op("blur_background", radius=0.0))
    assert np.array_equal(result, pixels)
    assert response.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT


BOUND = [
    op("blur_background", radius=6.0),
    op("replace_background", color="#ff0000", harmonize=0.5),
    op("replace_background", blur_radius=8.0),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("edit", BOUND, ids=lambda edit: edit.WhichOneof("operation"))
async def test_outside_any_mask_every_bit_stays(
    channel: grpc.aio.Channel, edit: editor_pb2.Operation, seed: int
) -> None:
    random = np.random.default_rng(seed)
    pixels = noise()
    mask = np.zeros((60, 60), np.uint8)
    for _ in range(3):
        top, left = random.integers(0, 50, 2)
        mask[top : top + random.integers(5, 30), left : left + random.integers(5, 30)] = random.integers(1, 256)
    bound = editor_pb2.Operation()
    bound.CopyFrom(edit)
    bound.selection.mask.CopyFrom(to_message(mask))
    bound.selection.feather = float(random.integers(0, 6))
    result, response = await house.edit(channel, pixels, bound)
    assert np.array_equal(result[mask == 0], pixels[mask == 0])
    assert not np.array_equal(result[mask > 0], pixels[mask > 0])
    effect = response.records[0].effect
    assert effect.HasField("max_difference_outside") and effect.max_difference_outside == 0
    again, _ = await house.edit(channel, pixels, bound)
    assert np.array_equal(result, again), "the same request must give the same bytes"


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (op("replace_background"), "replace_background"),
        (op("replace_background", color="red"), "replace_background.color"),
        (op("replace_background", gradient=editor_pb2.Gradient(start_color="#000000")), "gradient.end_color"),
        (op("replace_background", image=image_pb2.Image()), "replace_background.image.content"),
        (op("replace_background", blur_radius=-1.0), "replace_background.blur_radius"),
        (op("replace_background", color="#000000", harmonize=2.0), "replace_background.harmonize"),
        (op("replace_background", color="#000000", model="span-x2"), "replace_background.model"),
        (op("blur_background", radius=201.0), "blur_background.radius"),
    ],
)
async def test_what_is_wrong_is_named(channel: grpc.aio.Channel, edit: editor_pb2.Operation, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await house.edit(channel, house.picture(), edit)
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field in (failure.value.details() or "")
