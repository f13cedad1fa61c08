"""Engines that take only some batch sizes get those, filled up, and the answers stay each sample's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from diptych.diffusion import Defaults, open_pipeline
from diptych.diffusion.denoiser import SampleGraph
from diptych.engines.base import Array, Engine, Held, TensorSpec
from diptych.engines.fake import FakeEngine
from diptych.engines.onnx import OnnxEngine
from diptych.errors import FailedPrecondition


class Counting(FakeEngine):
    """A fake that writes down how many samples each call had."""

    def __init__(self, batch: int | str) -> None:
        super().__init__([TensorSpec("sample", "float32", (batch, 3))], [TensorSpec("out", "float32", (batch, 5))])
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        self.sizes.append(len(inputs["sample"]))
        return super().run(inputs, outputs)


def samples(count: int) -> list[dict[str, Array | float]]:
    return [{"sample": np.full(3, number, np.float32)} for number in range(count)]


@pytest.mark.parametrize(
    ("count", "calls"), [(1, [4]), (2, [4]), (4, [4]), (5, [8]), (8, [8]), (9, [8, 4]), (17, [8, 8, 4])]
)
def test_calls_have_the_sizes_that_the_engine_takes(count: int, calls: list[int]) -> None:
    engine = Counting("B")
    SampleGraph(engine, least_batch=2, batch_sizes=(8, 1, 4)).run(samples(count))
    assert engine.sizes == calls


def test_a_graph_for_thousands_at_a_time_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="takes 1000000 samples a call"):
        SampleGraph(Counting(10**6))


@given(st.integers(1, 20), st.sets(st.integers(1, 9), max_size=3), st.integers(1, 4))
def test_each_sample_gets_its_own_answer(count: int, sizes: set[int], least: int) -> None:
    engine = Counting("B")
    (together,) = SampleGraph(engine, least_batch=least, batch_sizes=tuple(sizes)).run(samples(count))
    assert not sizes or set(engine.sizes) <= sizes
    for number, one in enumerate(samples(count)):
        (alone,) = SampleGraph(Counting("B"), least_batch=least, batch_sizes=tuple(sizes)).run([one])
        assert together[number].tobytes() == alone[0].tobytes()


@pytest.mark.parametrize(("provider", "fewest"), [("CPUExecutionProvider", 6), ("CUDAExecutionProvider", 2)])
def test_calls_are_filled_up_on_a_cpu_alone(tiny_folder: Path, provider: str, fewest: int) -> None:
    """There a row is the same to the bit in company of one sample a thread; on a GPU it would only cost."""
    seen = set()

    class There:
        def __init__(self, engine: Engine) -> None:
            self._engine = engine
            self.provider = provider

        def __getattr__(self, name: str) -> Any:
            return getattr(self._engine, name)

        def run(self, inputs: Mapping[str, Array | Held], outputs: Sequence[str] | None = None) -> dict[str, Array]:
            seen.add(inputs["sample"].shape[0])
            return self._engine.run(inputs, outputs)

    def around(path: str, engine: Engine) -> Engine:
        there: Any = There(engine)
        return there if path.startswith("unet") else engine

    pipeline = open_pipeline(tiny_folder, Defaults(4, 3.0), threads=6, around=around)
    pipeline.warm_up((1, 4))
    pipeline.close()
    assert seen == {fewest, 8}


@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_graph_made_for_one_batch_size_is_served(tmp_path: Path, count: int) -> None:
    """Four samples, as an export without free sizes has them."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, (3, 5), np.arange(15, dtype=np.float32))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["sample", "w"], ["out"])],
        "fixed",
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, (4, 3))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (4, 5))],
        [weight],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    (answers,) = SampleGraph(OnnxEngine(path, threads=1)).run(samples(count))
    expected = np.stack(
        [np.full(3, n, np.float32) @ np.arange(15, dtype=np.float32).reshape(3, 5) for n in range(count)]
    )
    assert np.array_equal(answers, expected)
