"""Weights stored small."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from training.generator.storage import compress, read_weights

SHARE = {"float32": 0.0, "float16": 3e-4, "int8": 1e-2}


def graph_of_two(rng: np.random.Generator) -> onnx.ModelProto:
    """A convolution (64, 16, 3, 3) and a matrix product (64, 96) whose output channels differ a lot in size."""
    kernel = rng.standard_normal((64, 16, 3, 3)).astype(np.float32) * np.logspace(-2, 1, 64)[:, None, None, None]
    matrix = rng.standard_normal((64, 96)).astype(np.float32) * np.logspace(-2, 1, 96)[None]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["b", "matrix"], ["y"]),
    ]
    weights = [numpy_helper.from_array(v.astype(np.float32), n) for v, n in ((kernel, "kernel"), (matrix, "matrix"))]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 8, 96])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("precision", SHARE)
def test_answers_stay_near(precision: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    model = graph_of_two(rng)
    sample = {"x": rng.standard_normal((1, 16, 8, 8)).astype(np.float32)}
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, sample)
    path = tmp_path / "small.onnx"
    onnx.save(compress(model, precision), path)
    (found,) = onnxruntime.InferenceSession(str(path)).run(None, sample)
    assert np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()) <= SHARE[precision]
    assert read_weights(path).keys() == {"kernel", "matrix"}


def test_files_shrink(tmp_path: Path) -> None:
    sizes = []
    for precision in SHARE:
        onnx.save(compress(graph_of_two(np.random.default_rng(2)), precision), tmp_path / "model.onnx")
        sizes.append((tmp_path / "model.onnx").stat().st_size)
    assert sizes[1] < 0.55 * sizes[0] and sizes[2] < 0.3 * sizes[0]


@pytest.mark.parametrize("precision", SHARE)
def test_weights_are_read_back(precision: str, tmp_path: Path) -> None:
    model = graph_of_two(np.random.default_rng(2))
    wanted = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    onnx.save(compress(model, precision), tmp_path / "model.onnx")
    for name, values in read_weights(tmp_path / "model.onnx").items():
        # Every output channel keeps its own precision, however small its weights are.
        axes = (1, 2, 3) if name == "kernel" else (0,)
        error = np.abs(values - wanted[name]).max(axes) / np.abs(wanted[name]).max(axes)
        assert error.max() <= 0.5 / 127 + 1e-6
