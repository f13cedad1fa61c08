"""The safety policies, with the real classifier on harmless pictures and a toy that takes brightness for harm."""

import hashlib
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import status_pb2
from onnx import TensorProto, helper, numpy_helper

from diptych.errors import ModelNotPulled, PermissionDenied, from_status
from diptych.images import to_message
from diptych.v1 import editor_pb2, editor_pb2_grpc
from tests.services import editor_house as house
from tests.services import real_editor as real

CLASSIFIER = "nsfw-mobilenet"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes: how bright a picture is, which is unsafe, and how dark."""
    root = house.write_models(tmp_path_factory.mktemp("models"))
    constants = [
        numpy_helper.from_array(np.array([2, 3], np.int64), "places"),
        numpy_helper.from_array(np.array([1], np.int64), "channels"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["input", "places"], ["colors"], keepdims=0),
        helper.make_node("ReduceMean", ["colors", "channels"], ["bright"], keepdims=1),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Concat", ["bright", "dark"], ["output"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder = root / CLASSIFIER
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    sha256 = hashlib.sha256(model.SerializeToString()).hexdigest()
    defaults = 'scale = 255.0\nclasses = ["porn", "neutral"]\nunsafe = ["porn"]'
    manifest = house.MANIFEST.format(name=CLASSIFIER, task="safety", defaults=defaults, sha256=sha256)
    (folder / "manifest.toml").write_text(manifest.replace('"EDITING"', '"ANALYSIS"'))
    return root


def grey(level: int) -> np.ndarray:
    return np.full((40, 40, 3), level, np.uint8)


async def refusal(channel: grpc.aio.Channel, level: int, exposure: float) -> PermissionDenied:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.edit(channel, grey(level), house.operation("color_correct", exposure=exposure))
    trailers = dict(caught.value.trailing_metadata() or ())
    error = from_status(status_pb2.Status.FromString(trailers["grpc-status-details-bin"]))  # type: ignore[arg-type]
    assert isinstance(error, PermissionDenied) and error.reason == "UNSAFE_CONTENT"
    return error


async def test_block_refuses_what_comes_in_and_what_would_go_out(models: Path, tmp_path: Path) -> None:
    async with house.editor(models, cache=tmp_path, safety="block", safety_threshold=0.6) as (_, channel):
        result, response = await house.edit(channel, grey(100), house.operation("color_correct", exposure=0.1))
        assert result.mean() > 100 and response.records[0].parameters["safety_output"].startswith("0.4")
        coming = await refusal(channel, 200, -3.0)
        assert coming.metadata == {"picture": "input", "score": "0.784", "threshold": "0.6"}
        going = await refusal(channel, 100, 2.0)
        assert going.metadata["picture"] == "output" and "0.6" in going.message
        film = editor_pb2.StreamAnimateImageRequest(image=to_message(grey(200)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in editor_pb2_grpc.EditorServiceStub(channel).StreamAnimateImage(film):
                pass
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_flag_lets_pass_and_tells_in_the_first_and_last_record(models: Path, tmp_path: Path) -> None:
    brighter, rest = house.operation("color_correct", exposure=2.0), house.operation("rotate", angle=90)
    async with house.editor(models, cache=tmp_path, safety_threshold=0.6) as (_, channel):
        _, response = await house.edit(channel, grey(100), rest, brighter, rest)
    first, middle, last = (dict(record.parameters) for record in response.records)
    assert first["safety_input"].startswith("0.392 unsafe") and "safety_output" not in first
    assert not any(key.startswith("safety") for key in middle)
    assert last["safety_output"].startswith("flagged: 0.") and "mostly porn" in last["safety_output"]
    assert [model.name for model in response.records[2].models][-1] == CLASSIFIER


async def test_off_looks_at_nothing(models: Path, tmp_path: Path) -> None:
    async with house.editor(models, cache=tmp_path, safety="off", safety_threshold=0.0) as (_, channel):
        _, response = await house.edit(channel, grey(255), house.operation("rotate", angle=90))
    assert not any(key.startswith("safety") for key in response.records[0].parameters)
    assert CLASSIFIER not in [model.name for model in response.records[0].models]


async def test_without_the_classifier_block_does_not_start_and_flag_says_so(tmp_path: Path) -> None:
    bare = house.write_models(tmp_path / "models")
    with pytest.raises(ModelNotPulled, match=CLASSIFIER):
        async with house.editor(bare, cache=tmp_path, safety="block"):
            pass
    async with house.editor(bare, cache=tmp_path) as (_, channel):
        _, response = await house.edit(channel, grey(255), house.operation("rotate", angle=90))
    parameters = response.records[0].parameters
    assert parameters["safety_input"] == parameters["safety_output"] == f"unchecked, {CLASSIFIER} is not pulled"


async def test_harmless_photographs_pass_the_real_classifier() -> None:
    turned = house.operation("rotate", angle=180)
    async with real.editor(CLASSIFIER, safety="block") as channel:
        for picture in (real.astronaut(), real.cat(), real.coffee(), real.page()):
            _, response = await house.edit(channel, picture, turned)
            assert float(response.records[0].parameters["safety_input"].split()[0]) < 0.1
    async with real.editor(CLASSIFIER, safety="block", safety_threshold=0.001) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await house.edit(channel, real.astronaut(), turned)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
