"""A text encoder with its attention written out computes the same with one operation in its place."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from diptych.engines import open_engine
from diptych.errors import DataCorrupted
from diptych.repository.attention import write_fused

WIDTH, HEADS = 8, 2


def encoder(path: Path, layers: int = 2) -> Path:
    """`tokens` (N, L, 8) and `attention_mask` (N, L) -> `states`, as torch's exporter writes such layers."""
    random = np.random.default_rng(3)
    weights = {
        "heads": np.array([0, 0, HEADS, WIDTH // HEADS], np.int64),
        "flat": np.array([0, 0, WIDTH], np.int64),
        "between": np.array([1, 2], np.int64),
        "low": np.array(-1e9, np.float32),
        "none": np.array(0, np.float32),
        "root": np.array((WIDTH // HEADS) ** -0.25, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.BOOL),
        helper.make_node("Unsqueeze", ["seen", "between"], ["wide"]),
        helper.make_node("Where", ["wide", "none", "low"], ["far"]),
    ]
    states = "tokens"
    for layer in range(layers):
        for part in "qkv":
            name = f"{part}{layer}"
            weights[f"{name}/w"] = random.standard_normal((WIDTH, WIDTH)).astype(np.float32)
            weights[f"{name}/b"] = random.standard_normal(WIDTH).astype(np.float32)
            way = (0, 2, 3, 1) if part == "k" else (0, 2, 1, 3)
            nodes += [
                helper.make_node("MatMul", [states, f"{name}/w"], [f"{name}/m"]),
                helper.make_node("Add", [f"{name}/m", f"{name}/b"], [f"{name}/l"]),
                helper.make_node("Reshape", [f"{name}/l", "heads"], [f"{name}/r"]),
                helper.make_node("Transpose", [f"{name}/r"], [f"{name}/t"], perm=way),
                helper.make_node("Mul", [f"{name}/t", "root"], [f"{name}/s"]),
            ]
        nodes += [
            helper.make_node("MatMul", [f"q{layer}/s", f"k{layer}/s"], [f"scores{layer}"]),
            helper.make_node("Add", [f"scores{layer}", "far"], [f"masked{layer}"]),
            helper.make_node("Softmax", [f"masked{layer}"], [f"shares{layer}"], axis=-1),
            helper.make_node("IsNaN", [f"shares{layer}"], [f"broken{layer}"]),
            helper.make_node("Where", [f"broken{layer}", "none", f"shares{layer}"], [f"sound{layer}"]),
            helper.make_node("MatMul", [f"sound{layer}", f"v{layer}/t"], [f"mixed{layer}"]),
            helper.make_node("Transpose", [f"mixed{layer}"], [f"turned{layer}"], perm=(0, 2, 1, 3)),
            helper.make_node("Reshape", [f"turned{layer}", "flat"], [f"joined{layer}"]),
            helper.make_node("Add", [f"joined{layer}", states], [f"states{layer}"]),
        ]
        states = f"states{layer}"
    nodes.append(helper.make_node("Identity", [states], ["states"]))
    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["N", "L", WIDTH]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["N", "L"]),
        ],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["N", "L", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def test_it_computes_the_same_with_one_operation_for_each(tmp_path: Path) -> None:
    source, target = encoder(tmp_path / "encoder.onnx"), tmp_path / "fused.onnx"
    write_fused(source, HEADS, target)
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert kinds.count("Attention") == 2 and not {"Softmax", "MatMul"} & set(kinds)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    tokens = np.random.default_rng(5).standard_normal((2, 5, WIDTH)).astype(np.float32)
    before, after = (
        open_engine(path, choice="onnx", threads=1).run({"tokens": tokens, "attention_mask": mask})["states"]
        for path in (source, target)
    )
    np.testing.assert_allclose(after[mask == 1], before[mask == 1], rtol=0, atol=1e-5)


def test_the_same_bytes_come_out_each_time(tmp_path: Path) -> None:
    source = encoder(tmp_path / "encoder.onnx")
    for name in ("first.onnx", "second.onnx"):
        write_fused(source, HEADS, tmp_path / name)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataCorrupted, match="no attention of the known form"):
        write_fused(encoder(tmp_path / "none.onnx", layers=0), HEADS, tmp_path / "out.onnx")
    (tmp_path / "text.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(DataCorrupted, match="no ONNX file"):
        write_fused(tmp_path / "text.onnx", HEADS, tmp_path / "out.onnx")
