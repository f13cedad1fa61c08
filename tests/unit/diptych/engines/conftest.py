"""Tiny ONNX graphs, written where a test wants them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def conv_file(tmp_path: Path) -> Path:
    """A 3x3 convolution and a 2x depth-to-space: `image` (N, 3, H, W) -> `upscaled` (N, 3, 2H, 2W)."""
    random = np.random.default_rng(7)
    weight = random.standard_normal((12, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weight"], ["features"], pads=[1, 1, 1, 1]),
            helper.make_node("DepthToSpace", ["features"], ["upscaled"], blocksize=2, mode="CRD"),
        ],
        "conv",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, ["N", 3, "2H", "2W"])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return save(graph, tmp_path / "conv.onnx")


@pytest.fixture
def sum_file(tmp_path: Path) -> Path:
    """`left` + `right`, both (N, 4) float32, and `steps` (N) int64 passed through."""
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["left", "right"], ["total"]),
            helper.make_node("Identity", ["steps"], ["same_steps"]),
        ],
        "sum",
        [
            helper.make_tensor_value_info("left", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("right", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("steps", TensorProto.INT64, ["N"]),
        ],
        [
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("same_steps", TensorProto.INT64, ["N"]),
        ],
    )
    return save(graph, tmp_path / "sum.onnx")


def save(graph: onnx.GraphProto, path: Path) -> Path:
    """The path of a checked model file made of `graph`."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
