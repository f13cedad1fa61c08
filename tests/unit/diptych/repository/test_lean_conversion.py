from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from diptych.errors import DataCorrupted
from diptych.repository.lean import write_lean


def half_network(path: Path) -> Path:
    """image -> cast -> conv in half precision -> two outputs, listed in no order, one of them unwanted."""
    weight = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["wide"], ["output"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["image"], ["narrow"], to=TensorProto.FLOAT16),
        helper.make_node("Add", ["sum", "one"], ["wide"]),
        helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.array(1, np.float16))),
        helper.make_node("Conv", ["narrow", "weight"], ["sum"]),
        helper.make_node("Conv", ["narrow", "spare"], ["side"]),
        helper.make_node("Cast", ["side"], ["aside"], to=TensorProto.FLOAT),
    ]
    taken = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 6, 6]) for name in ("output", "aside")]
    weights = [numpy_helper.from_array(weight, name) for name in ("weight", "spare")]
    graph = helper.make_graph(nodes, "half", taken, given, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_the_network_stays_what_it_computes(tmp_path: Path) -> None:
    source = half_network(tmp_path / "model.onnx")
    write_lean(source, "output", tmp_path / "lean.onnx")
    lean = onnx.load(tmp_path / "lean.onnx")
    onnx.checker.check_model(lean)
    assert [value.name for value in lean.graph.output] == ["output"]
    assert {tensor.name for tensor in lean.graph.initializer} == {"weight/half"}
    assert [node.op_type for node in lean.graph.node].count("Cast") == 1
    session = onnxruntime.InferenceSession(str(tmp_path / "lean.onnx"), providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    (answer,) = session.run(None, {"image": picture})
    weight = numpy_helper.to_array(lean.graph.initializer[0]).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(picture[0], (3, 3), axis=(1, 2))
    expected = np.einsum("chwij,ocij->ohw", windows, weight) + 1
    assert np.abs(answer[0] - expected).max() < 1e-4


def test_what_cannot_be_rewritten_is_told(tmp_path: Path) -> None:
    source = half_network(tmp_path / "model.onnx")
    with pytest.raises(DataCorrupted, match="no output nothing"):
        write_lean(source, "nothing", tmp_path / "lean.onnx")
    source.write_bytes(b"no network at all")
    with pytest.raises(DataCorrupted, match="no ONNX file"):
        write_lean(source, "output", tmp_path / "lean.onnx")
