"""Graphs of several forms, run by the editor's wrapper around engines."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from diptych.errors import FailedPrecondition
from diptych.repository.repository import ModelRepository
from diptych.serving.telemetry import Telemetry
from services.editor.models import EditorModels

MANIFEST = """
name = "{name}"
version = "1"
kind = "ANALYSIS"
task = "matting"
license = "CC0-1.0"
origin = "Written by a test"
description = "A tiny graph"
[[files]]
path = "model.onnx"
sha256 = "{sha256}"
source = {{ type = "repository" }}
"""


def write(
    root: Path, name: str, nodes: list[onnx.NodeProto], inputs: dict[str, list], outputs: dict[str, list]
) -> None:
    def infos(tensors: dict[str, list]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in tensors.items()]

    graph = helper.make_graph(nodes, name, infos(inputs), infos(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    (root / name).mkdir()
    (root / name / "model.onnx").write_bytes(model.SerializeToString())
    sha256 = hashlib.sha256(model.SerializeToString()).hexdigest()
    (root / name / "manifest.toml").write_text(MANIFEST.format(name=name, sha256=sha256))


@pytest.fixture
async def models(tmp_path: Path) -> AsyncIterator[EditorModels]:
    root = tmp_path / "models"
    root.mkdir()
    halve = helper.make_node("Add", ["image", "image"], ["double"])
    write(root, "last", [halve], {"image": ["N", 6, 5, 3]}, {"double": ["N", 6, 5, 3]})
    write(root, "free", [halve], {"image": ["N", 3, "H", "W"]}, {"double": ["N", 3, "H", "W"]})
    both = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    write(root, "pair", both, {"a": ["N", 4], "b": ["N", 4]}, {"sum": ["N", 4], "difference": ["N", 4]})
    scalar = helper.make_node("Add", ["a", "a"], ["b"])
    write(root, "scalar", [scalar], {"a": []}, {"b": []})
    opened = EditorModels(ModelRepository([root], tmp_path / "cache"), threads=1, telemetry=Telemetry("editor"))
    yield opened
    await opened.close()


async def test_a_picture_goes_in_whichever_way_the_graph_wants_it(models: EditorModels) -> None:
    planes = np.random.default_rng(1).random((3, 6, 5), np.float32)
    last, free = await models.open("last"), await models.open("free")
    assert last.fixed_size == (6, 5) and free.fixed_size is None
    assert np.array_equal(await last.run(planes, None), planes * 2)
    assert np.array_equal(await free.run(planes, None), planes * 2)


async def test_several_inputs_and_outputs_go_by_name_and_rows_keep_apart(models: EditorModels) -> None:
    pair = await models.open("pair")
    a, b = np.arange(4, dtype=np.float32), np.full(4, 2, np.float32)
    first, second = await asyncio.gather(pair.run_row({"a": a, "b": b}, None), pair.run_row({"a": b, "b": a}, None))
    assert np.array_equal(first["sum"], a + b) and np.array_equal(first["difference"], a - b)
    assert np.array_equal(second["difference"], b - a)
    with pytest.raises(FailedPrecondition, match=r"pair takes float32 \(N, 4\).*one input"):
        await pair.run(np.zeros((3, 6, 5), np.float32), None)


async def test_a_graph_without_a_batch_axis_is_refused(models: EditorModels) -> None:
    with pytest.raises(FailedPrecondition, match="begin with a batch axis"):
        await models.open("scalar")


async def test_preload_warms_graphs_of_every_form(models: EditorModels, tmp_path: Path) -> None:
    scalar = tmp_path / "models" / "scalar"
    for file in scalar.iterdir():
        file.unlink()
    scalar.rmdir()
    repository = ModelRepository([tmp_path / "models"], tmp_path / "cache")
    warmed = EditorModels(repository, threads=1, telemetry=Telemetry("editor"))
    await warmed.preload()
    assert all(warmed.lineup.find(name) is not None for name in ("free", "last", "pair"))
    await warmed.close()
