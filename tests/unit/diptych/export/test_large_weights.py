"""Weights too large for an ONNX file lie beside it in safetensors, where ONNX Runtime finds them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from toy_families import Toys

from diptych.engines.onnx import OnnxEngine
from diptych.export import BuildOptions, ImportOptions, build_model, import_model
from diptych.export.weights import store_weights
from diptych.repository import ModelRepository
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
    assert engine.memory_bytes >= weight.nbytes + bias.nbytes
    engine.close()


@pytest.fixture(scope="module")
def large(toys: Toys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRepository]:
    """The toy with all but its smallest weights beside its graphs, as those of a model of gigabytes are."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diptych.export.graph.store_weights", partial(store_weights, largest_inside=1000))
        patch.setattr("diptych.export.weights._SMALLEST_LIFTED", 1024)
        patch.setenv("DIPTYCH_BUILDS", str(folder / "builds"))
        import_model(toys.source("sd"), folder / "models", ImportOptions("large"))
        yield ModelRepository([folder / "models"])


def test_a_graph_of_gigabytes_is_built_without_its_weights(
    large: ModelRepository, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.model("sd")
    small = ModelRepository([toys.models])
    folder = large.open("large").directory
    own = {name for path in folder.rglob("*.safetensors") for name in load_file(path)}
    assert len(own) > 100
    read: list[str] = []
    load = onnx.load

    def watched(path: Path, **options: Any) -> onnx.ModelProto:
        model = load(path, **options)
        read.extend(tensor.name for tensor in model.graph.initializer if len(tensor.raw_data) > 1024)
        return model

    monkeypatch.setattr("diptych.export.build_graph.onnx.load", watched)
    unet = "unet/model.onnx"
    for precision, kind in (("fp32", np.float32), ("fp16", np.float16)):
        options = BuildOptions(precision=precision)  # type: ignore[arg-type]
        ((folder, build),) = build_model(large, "large", options)
        assert not own & set(read)  # They are never in memory together.
        ((_, alike),) = build_model(small, "sd", options)
        read.clear()
        parts, others = ({part.source: part for part in one.parts} for one in (build, alike))
        assert parts.keys() == others.keys() and all(part.weights for part in parts.values())
        assert parts[unet].method == others[unet].method and "8 MultiHeadAttention" in parts[unet].method
        assert parts[unet].max_error == pytest.approx(others[unet].max_error, rel=0.2, abs=1e-6)
        weights = load_file(folder / str(parts[unet].weights))
        assert {array.dtype for array in weights.values()} == {np.dtype(kind)}
        for part in parts.values():
            check_content(folder / str(part.weights), label=part.path)
        assert parts[unet].bytes == pytest.approx(others[unet].bytes, rel=0.05)


def test_a_graph_of_gigabytes_in_8_bits(large: ModelRepository) -> None:
    ((_, build),) = build_model(large, "large", BuildOptions(precision="int8"))
    unet = next(part for part in build.parts if part.source == "unet/model.onnx")
    assert (unet.precision, unet.method) == ("int8", "static int8") and unet.max_error > 1e-4
