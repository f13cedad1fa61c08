"""Graphs in half precision: what stays single, and what the converter leaves behind."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from diptych.engines.onnx import OnnxEngine
from diptych.export.build_precision import _without_detours, to_half


def angles(path: Path) -> onnx.ModelProto:
    """sin and cos of a timestep times ten frequencies, as denoisers begin."""
    frequencies = np.exp(-np.linspace(0, 9, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["t", "f"], ["angle"], "mul"),
        helper.make_node("Sin", ["angle"], ["sine"], "sin"),
        helper.make_node("Cos", ["angle"], ["cosine"], "cos"),
        helper.make_node("Concat", ["sine", "cosine"], ["both"], "concat", axis=1),
        helper.make_node("MatMul", ["both", "w"], ["out"], "matmul"),
    ]
    weights = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "angles",
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(frequencies, "f"), numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return model


def test_timesteps_keep_their_angles(tmp_path: Path) -> None:
    model = angles(tmp_path / "single.onnx")
    times = np.array([[999.0], [731.0], [1.0]], np.float32)
    expected = OnnxEngine(tmp_path / "single.onnx").run({"t": times})["out"]
    onnx.save(to_half(model, tmp_path), tmp_path / "half.onnx")
    found = OnnxEngine(tmp_path / "half.onnx").run({"t": times})["out"]
    # With the angles in half precision, whose numbers near 999 are half apart, the difference is a tenth.
    assert np.abs(found - expected).max() < 5e-3 * np.abs(expected).max()


def test_a_cast_that_was_written_twice_is_written_once() -> None:
    # As the converter of ONNX Runtime up to 1.31 leaves two takers of one tensor.
    cast = ("Cast", ["x"], ["x_single"], "x_cast")
    nodes = [
        helper.make_node(*cast, to=TensorProto.FLOAT),
        helper.make_node("Sin", ["x_single"], ["sine"], "sin"),
        helper.make_node(*cast, to=TensorProto.FLOAT),
        helper.make_node("Cos", ["x_single"], ["cosine"], "cos"),
    ]
    graph = helper.make_graph(
        nodes,
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("sine", "cosine")],
    )
    _without_detours(graph)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sine, cosine = session.run(None, {"x": np.array([0, 1, 2], np.float16)})
    np.testing.assert_allclose(sine**2 + cosine**2, 1, rtol=1e-6)
