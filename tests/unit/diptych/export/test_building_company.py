"""Whether rows that share a call change one another is measured on the engine itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime import quantization

from diptych.engines import open_engine
from diptych.export.build_compare import company_error

SAMPLES = [{"x": np.random.default_rng(seed).normal(size=(2, 8)).astype(np.float32) * 4**seed} for seed in range(2)]


def graph(path: Path, rows: str | int = "N") -> Path:
    """One linear layer over rows of 8 numbers."""
    weight = np.random.default_rng(7).normal(size=(8, 8)).astype(np.float32)
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 8])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def found(path: Path) -> float | None:
    engine = open_engine(path, choice="onnx", threads=1)
    try:
        return company_error(engine, SAMPLES)
    finally:
        engine.close()


def test_rows_of_a_plain_graph_keep_to_themselves(tmp_path: Path) -> None:
    assert found(graph(tmp_path / "plain.onnx")) == 0


def test_scales_found_in_every_run_let_rows_change_one_another(tmp_path: Path) -> None:
    plain = graph(tmp_path / "plain.onnx")
    quantization.quantize_dynamic(plain, tmp_path / "dynamic.onnx")
    error = found(tmp_path / "dynamic.onnx")
    assert error is not None and error > 1e-3


def test_a_fixed_number_of_rows_takes_no_company(tmp_path: Path) -> None:
    assert found(graph(tmp_path / "fixed.onnx", rows=2)) is None


@pytest.mark.parametrize("spread", [lambda one: [one[0]], lambda one: [one[0], {"x": one[1]["x"][:1]}]])
def test_one_sample_is_enough(tmp_path: Path, spread: Callable[..., list[dict[str, np.ndarray]]]) -> None:
    plain = graph(tmp_path / "plain.onnx")
    quantization.quantize_dynamic(plain, tmp_path / "dynamic.onnx")
    engine = open_engine(tmp_path / "dynamic.onnx", choice="onnx", threads=1)
    samples = spread(SAMPLES)
    assert company_error(engine, samples) is not None
    engine.close()
