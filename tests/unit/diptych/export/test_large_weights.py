"""Weights too large for an ONNX file lie beside it in safetensors, where ONNX Runtime finds them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from diptych.engines.onnx import OnnxEngine
from diptych.export.weights import store_weights
from diptych.repository.verify import check_content


def test_large_weights_are_read_from_safetensors(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).standard_normal((64, 32), np.float32)
    bias = np.arange(32, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 32])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    store_weights(model, tmp_path / "model.onnx", largest_inside=100)
    check_content(tmp_path / "model.onnx", label="model.onnx")
    check_content(tmp_path / "model.safetensors", label="model.safetensors")
    assert (load_file(tmp_path / "model.safetensors")["w"] == weight).all()
    assert [t.name for t in onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer] == [
        "w",
        "b",
    ]
    x = np.ones((2, 64), np.float32)
    engine = OnnxEngine(tmp_path / "model.onnx")
    assert np.allclose(engine.run({"x": x})["y"], x @ weight + bias, atol=1e-4)
