"""What every operation promises, whoever wrote it: outside a selection nothing changes, the same request gives the same
bytes, and a model that does nothing or wrecks the picture is told.

Goes through the registry: an operation that is added must say here how it is asked for.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
import skimage.data
from onnx import TensorProto, helper, numpy_helper

from diptych.images import to_message
from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2
from services.editor.operations import EDITS
from tests.services import editor_house as house

op = house.operation
OTHER = to_message(house.picture(24, 18))
CUT_OUT = to_message(house.picture(24, 18, alpha=True))

# How each operation is asked for, so that it has something to do.
SAMPLES: dict[str, dict[str, object]] = {
    "remove_background": {},
    "replace_background": {"color": "#2040c0"},
    "blur_background": {"radius": 4.0},
    "enhance": {},
    "denoise": {"strength": 1.0},
    "deblur": {"strength": 1.0},
    "upscale": {"scale": 2.0},
    "color_correct": {"exposure": 0.7, "saturation": 0.4},
    "retouch": {},
    "remove_object": {},
    "replace_object": {"replacement": OTHER},
    "add_object": {"object": CUT_OUT, "shadow": 0.5},
    "style_transfer": {"image": OTHER},
    "match_style": {"reference": OTHER},
    "crop": {"aspect": "1:1"},
    "resize": {"scale": 0.5},
    "extend": {"left": 9},
    "rotate": {"angle": 20.0},
    "composite": {"overlay": CUT_OUT, "shadow": 0.5},
    "analyze": {},
    "write_text": {"text": "Sale"},
}
# Faces are found by networks that no toy stands in for: test_editor_retouch.py holds the same for a real face.
TRIED = sorted(set(EDITS) - {"retouch"})
SELECTABLE = [name for name in TRIED if EDITS[name].selectable(getattr(house.operation(name, **SAMPLES[name]), name))]


def test_every_operation_that_is_served_is_asked_for_here() -> None:
    assert set(EDITS) <= set(SAMPLES)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def channel(models: Path, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with house.editor(models, cache=tmp_path, tile=64) as (_, channel):
        yield channel


def scene(seed: int, width: int = 90, height: int = 70, *, alpha: bool = False) -> np.ndarray:
    """The house picture with noise of its own, so that there is something to do everywhere."""
    noise = np.random.default_rng(seed).integers(-12, 13, (height, width, 3))
    pixels = house.picture(width, height, alpha=alpha)
    pixels[..., :3] = (pixels[..., :3] + noise).clip(0, 255)
    return pixels


def random_mask(seed: int, width: int, height: int) -> np.ndarray:
    """Blobs, soft and hard, or scattered pixels; grey (H, W) uint8."""
    chance = np.random.default_rng(seed)
    if seed % 4 == 3:
        return (chance.random((height, width)) < 0.2).astype(np.uint8) * 255
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width))
    for _ in range(chance.integers(1, 4)):
        cx, cy, radius = chance.uniform(0, width), chance.uniform(0, height), chance.uniform(4, height / 2)
        soft = chance.uniform(0.5, 8)
        mask = np.maximum(mask, (1 - (np.hypot(x - cx, y - cy) - radius) / soft).clip(0, 1))
    return np.rint(mask * 255).astype(np.uint8)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("name", SELECTABLE)
async def test_outside_a_selection_nothing_changes(channel: grpc.aio.Channel, name: str, alpha: bool) -> None:
    changed = 0
    for seed in range(4):
        pixels, mask = scene(seed, alpha=alpha), random_mask(seed, 90, 70)
        asked = op(name, **SAMPLES[name])
        asked.selection.mask.CopyFrom(to_message(mask))
        try:
            result, response = await house.edit(channel, pixels, asked)
        except grpc.aio.AioRpcError as error:
            # Some cannot do their work on every mask; then they must say so, not half of it.
            assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION), error
            continue
        outside = mask == 0
        kept = pixels if result.shape[2] == pixels.shape[2] else np.dstack([pixels, np.full((70, 90), 255, np.uint8)])
        assert np.array_equal(result[outside], kept[outside])
        assert response.records[0].effect.max_difference_outside == 0
        changed += response.records[0].effect.effect != image_pb2.EFFECT_NO_EFFECT
    assert changed


@pytest.mark.parametrize("name", TRIED)
async def test_the_same_request_gives_the_same_bytes(channel: grpc.aio.Channel, name: str) -> None:
    asked = op(name, **SAMPLES[name])
    if name in ("remove_object", "replace_object"):
        asked.selection.box.CopyFrom(image_pb2.Box(x=20, y=20, width=30, height=24))
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    answers = [await stub.EditImage(editor_pb2.EditImageRequest(spec=house.spec(scene(2), asked))) for _ in range(2)]
    assert answers[0].image == answers[1].image
    assert answers[0].records[0].effect == answers[1].records[0].effect


async def test_an_empty_selection_has_no_effect(channel: grpc.aio.Channel) -> None:
    for name in ("color_correct", "denoise"):
        asked = op(name, **SAMPLES[name])
        asked.selection.mask.CopyFrom(to_message(np.zeros((70, 90), np.uint8)))
        result, response = await house.edit(channel, scene(1), asked)
        assert np.array_equal(result, scene(1))
        assert response.records[0].effect.effect == image_pb2.EFFECT_NO_EFFECT


def network(answer: str, *, channels: int, factor: int, value: str) -> onnx.GraphProto:
    """A network for pictures that gives back what it got, black, noise or NaN."""
    weights = np.zeros((3, channels, 1, 1), np.float32)
    weights[range(3), range(3)] = {"same": 1, "black": 0, "noise": 0, "nan": np.nan}[value]
    held = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), "scales"),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["kept"]),
        helper.make_node("Resize", ["kept", "", "scales"], ["sized"], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric"),
    ]  # fmt: skip
    if value == "noise":
        nodes += [
            helper.make_node("RandomUniformLike", ["sized"], ["random"], seed=3.0),
            helper.make_node("Add", ["sized", "random"], [answer]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["sized"], [answer]))
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", channels, "H", "W"])
    given = helper.make_tensor_value_info(answer, TensorProto.FLOAT, ["N", 3, "H2", "W2"])
    return helper.make_graph(nodes, "network", [taken], [given], held)


def replaced(root: Path, name: str, task: str, graph: onnx.GraphProto, defaults: str = "") -> None:
    for file in (root / name).iterdir():
        file.unlink()
    (root / name).rmdir()
    house._write(root, name, task, graph, defaults)


@pytest.mark.parametrize("value", ["same", "black", "noise", "nan"])
async def test_a_useless_or_wrecking_model_is_flagged(tmp_path: Path, value: str) -> None:
    root = house.write_models(tmp_path / "models")
    replaced(root, "ffdnet", "denoise", network("denoised", channels=4, factor=1, value=value))
    replaced(root, "span-x2", "upscale", network("upscaled", channels=3, factor=2, value=value), "scale = 2")
    photo = np.ascontiguousarray(skimage.data.chelsea()[100:180, 100:220])
    async with house.editor(root, cache=tmp_path, tile=128) as (_, channel):
        for name in ("denoise", "upscale"):
            try:
                result, response = await house.edit(channel, photo, op(name, **SAMPLES[name]))
            except grpc.aio.AioRpcError as error:
                assert value == "nan", error
                assert error.code() == grpc.StatusCode.FAILED_PRECONDITION and "no numbers" in (error.details() or "")
                continue
            effect = response.records[0].effect.effect
            # An enlargement is a change even where it adds nothing; likeness then is all but 1.
            useless = image_pb2.EFFECT_NO_EFFECT if name == "denoise" else image_pb2.EFFECT_CHANGED
            assert effect == (useless if value == "same" else image_pb2.EFFECT_DAMAGED), (name, result.shape)
