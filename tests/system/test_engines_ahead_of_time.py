"""The real graphs of the default models as TensorRT engines for three GPUs, none of which need be here."""

from pathlib import Path

import pytest

from diptych.engines.fake import fake_of
from diptych.engines.machine import tensorrt_module
from diptych.export.build_graph import simplify
from diptych.export.build_tensorrt import Compiler, Sizes
from diptych.export.weights import store_weights
from diptych.repository import ModelRepository

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(tensorrt_module("tensorrt_rtx") is None, reason="the extra tensorrt is not installed"),
]
TARGETS = ("sm86", "sm89", "sm120")


@pytest.mark.parametrize(
    ("model", "file", "least"),
    [
        ("diptych-icons", "unet/model.onnx", 40_000_000),
        ("isnet", "model.onnx", 80_000_000),
        ("span-x2", "model.onnx", 1_000_000),
    ],
)
def test_a_real_graph_becomes_an_engine_for_each_gpu(model: str, file: str, least: int, tmp_path: Path) -> None:
    path = ModelRepository().open(model).path(file)
    graph = tmp_path / "model.onnx"
    store_weights(simplify(path, tmp_path / "work"), graph)
    fake = fake_of(graph)
    shapes = {spec.name: spec for spec in (*fake.inputs, *fake.outputs)}
    contents = set()
    for target in TARGETS:
        engine = Compiler("tensorrt_rtx").compile(graph, target, Sizes((1, 2, 8), (64, 256, 512)), shapes)
        assert len(engine.content) > least
        assert engine.inputs == fake.inputs
        assert [(one.name, one.dtype) for one in engine.outputs] == [(one.name, one.dtype) for one in fake.outputs]
        contents.add(engine.content)
    assert len(contents) == len(TARGETS)  # Each is for its own GPU.
