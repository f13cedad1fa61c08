"""An encoder whose products are in int8 computes nearly the same."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from diptych.engines import open_engine
from diptych.repository.attention import write_fused
from tests.unit.diptych.repository.test_attention_conversion import HEADS, WIDTH, encoder

INNER = 32
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
TOKENS = np.random.default_rng(5).standard_normal((2, 5, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with a layer, a GELU written out, and a layer whose weight is stored in int8, as exporters do."""
    path = encoder(tmp_path_factory.mktemp("encoder") / "encoder.onnx")
    model, random = onnx.load(path), np.random.default_rng(7)
    graph = model.graph
    graph.node.pop()  # "states", from "states1"
    weights: dict[str, npt.NDArray[np.generic]] = {
        "grow/w": random.standard_normal((WIDTH, INNER)).astype(np.float32) / 3,
        "grow/b": random.standard_normal(INNER).astype(np.float32),
        "root of two": np.array(2**0.5, np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
        "shrink/q": random.integers(-127, 128, (INNER, WIDTH)).astype(np.int8),
        "shrink/scale": random.uniform(0.001, 0.003, (1, WIDTH)).astype(np.float32),
        "shrink/b": random.standard_normal(WIDTH).astype(np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    graph.node.extend(
        [
            helper.make_node("MatMul", ["states1", "grow/w"], ["grow/m"]),
            helper.make_node("Add", ["grow/m", "grow/b"], ["grow"]),
            helper.make_node("Div", ["grow", "root of two"], ["gelu/d"]),
            helper.make_node("Erf", ["gelu/d"], ["gelu/e"]),
            helper.make_node("Add", ["gelu/e", "one"], ["gelu/p"]),
            helper.make_node("Mul", ["half", "gelu/p"], ["gelu/h"]),
            helper.make_node("Mul", ["grow", "gelu/h"], ["gelu"]),
            helper.make_node("Cast", ["shrink/q"], ["shrink/f"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["shrink/f", "shrink/scale"], ["shrink/w"]),
            helper.make_node("MatMul", ["gelu", "shrink/w"], ["shrink/m"]),
            helper.make_node("Add", ["shrink/b", "shrink/m"], ["states"]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _run(path: Path, tokens: npt.NDArray[np.float32], mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return open_engine(path, choice="onnx", threads=1).run({"tokens": tokens, "attention_mask": mask})["states"]


@pytest.fixture(scope="module")
def quantised(source: Path) -> Path:
    target = source.with_name("int8.onnx")
    write_fused(source, HEADS, target, in_int8=True)
    return target


def test_every_layer_multiplies_in_int8(quantised: Path) -> None:
    graph = onnx.load(quantised).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("DynamicQuantizeMatMul") == 4  # two attentions and two layers
    assert kinds.count("MultiHeadAttention") == 2 and kinds.count("Gelu") == 1
    assert not {"MatMul", "Attention", "Erf", "Div"} & set(kinds)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    matrices = [array for name, array in stored.items() if name.endswith("/weight")]
    assert len(matrices) == 4 and all(array.dtype == np.int8 and np.abs(array).max() == 63 for array in matrices)
    assert "grow/w" not in stored and "shrink/q" not in stored


def test_it_computes_nearly_the_same(source: Path, quantised: Path) -> None:
    before, after = (_run(path, TOKENS, MASK)[MASK == 1] for path in (source, quantised))
    cosine = (before * after).sum(-1) / np.linalg.norm(before, axis=-1) / np.linalg.norm(after, axis=-1)
    assert cosine.min() > 0.99
    assert np.abs(before - after).max() < 0.1 * np.abs(before).max()


def test_padding_is_not_looked_at(quantised: Path) -> None:
    other = TOKENS.copy()
    other[1, 2:] = TOKENS[0, 2:]  # of the same range: activations are quantised by the range of a call
    full, padding, seen = (_run(quantised, *pair)[1, :2] for pair in ((TOKENS, MASK), (other, MASK), (other, MASK | 1)))
    assert np.linalg.norm(padding - full) < 0.15 * np.linalg.norm(full) < np.linalg.norm(seen - full)


def test_the_same_bytes_come_out_each_time(source: Path, quantised: Path) -> None:
    again = source.with_name("again.onnx")
    write_fused(source, HEADS, again, in_int8=True)
    assert again.read_bytes() == quantised.read_bytes()


def test_what_is_no_layer_stays(tmp_path: Path) -> None:
    source, target = encoder(tmp_path / "encoder.onnx"), tmp_path / "int8.onnx"
    model = onnx.load(source)
    model.graph.node.pop()
    model.graph.initializer.append(numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "turn"))
    model.graph.node.append(helper.make_node("MatMul", ["states1", "turn"], ["states"]))
    onnx.save(model, source)
    write_fused(source, HEADS, target, in_int8=True)
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert kinds.count("MatMul") == 1 and kinds.count("DynamicQuantizeMatMul") == 2
    assert _run(target, TOKENS, MASK).shape == TOKENS.shape
