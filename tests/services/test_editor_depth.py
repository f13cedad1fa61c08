"""Depth by a model that the user adds, and kinds that this server cannot find."""

import shutil
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from diptych.images import from_message, to_message
from diptych.v1 import editor_pb2, editor_pb2_grpc
from tests.services import editor_house as house
from tests.services import real_editor as real

DEPTH, FACES = editor_pb2.ANALYSIS_KIND_DEPTH, editor_pb2.ANALYSIS_KIND_FACES


def add_depth(root: Path, near: str) -> None:
    """A model to which red is far or near: the first channel of a picture of 56 x 56."""
    split = helper.make_node("Split", ["image"], ["depth", "green", "blue"], axis=1, num_outputs=3)
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 56, 56])
    given = helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, 56, 56])
    graph: onnx.GraphProto = helper.make_graph([split], "depth", [taken], [given])
    house._write(root, "mine", "depth", graph, f'scale = [255.0, 255.0, 255.0]\nnear = "{near}"')


async def analyze(channel: grpc.aio.Channel, pixels: np.ndarray, *kinds: int) -> editor_pb2.Analysis:
    request = editor_pb2.AnalyzeImageRequest(image=to_message(pixels), kinds=kinds)  # type: ignore[arg-type]
    response = await editor_pb2_grpc.EditorServiceStub(channel).AnalyzeImage(request)
    return response.analysis  # type: ignore[no-any-return]


@pytest.mark.parametrize("near", ["high", "low"])
async def test_depth_of_the_pictures_size_near_is_bright(tmp_path: Path, near: str) -> None:
    add_depth(tmp_path, near)
    pixels = np.zeros((90, 150, 3), np.uint8)
    pixels[..., 0] = np.linspace(20, 200, 150)
    async with house.editor(tmp_path, cache=tmp_path) as (_, channel):
        found = await analyze(channel, pixels)
    depth = from_message(found.depth, field="depth")
    assert depth.shape[:2] == (90, 150)
    row = depth[45, :, 0].astype(int) if near == "high" else 255 - depth[45, :, 0].astype(int)
    assert row[2] < 12 and row[-3] > 243 and (np.diff(row) >= 0).all()
    assert found.HasField("lighting") and not found.faces


async def test_kinds_without_a_model_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    async with house.editor(tmp_path / "models", cache=tmp_path) as (_, channel):
        for kind, words in ((DEPTH, "add a model whose task is depth"), (FACES, "faces is not served here")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await analyze(channel, house.picture(), kind)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
            assert words in str(caught.value.details())
    for name in ("blazeface", "facemesh"):
        shutil.copytree(real.MODELS / name, tmp_path / "models" / name)
    async with house.editor(tmp_path / "models", cache=tmp_path / "empty") as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await analyze(channel, house.picture(), FACES)
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "diptych models pull blazeface" in str(caught.value.details())
        assert not (await analyze(channel, house.picture())).faces


async def test_blur_follows_depth(tmp_path: Path) -> None:
    """Red is near to the model, what is dark the subject to the matte: the left is as near as the subject."""
    house.write_models(tmp_path)
    pixels = np.random.default_rng(4).integers(170, 256, (96, 144, 3), dtype=np.uint8)
    pixels[..., 0] = 255
    pixels[:, :72, 0] = 200
    pixels[40:96, 60:72] = (200, 0, 0)
    spec = editor_pb2.EditSpec(image=to_message(pixels))
    spec.operations.add().blur_background.radius = 6
    request = editor_pb2.EditImageRequest(spec=spec)
    roughness = {}
    for name in ("guessed", "seen"):
        if name == "seen":
            add_depth(tmp_path, "high")
        async with house.editor(tmp_path, cache=tmp_path) as (_, channel):
            response = await editor_pb2_grpc.EditorServiceStub(channel).EditImage(request)
        made = from_message(response.image, field="image").astype(float)
        sides = made[8:30, 4:40, 1], made[8:30, 100:140, 1]
        roughness[name] = [np.abs(np.diff(side, axis=1)).mean() for side in sides]
    assert "mine" in [model.name for model in response.records[0].models]
    assert roughness["guessed"][0] == pytest.approx(roughness["guessed"][1], rel=0.3)
    assert roughness["seen"][0] > 2 * roughness["seen"][1]
