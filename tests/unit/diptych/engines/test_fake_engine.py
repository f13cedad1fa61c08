import time
from pathlib import Path

import numpy as np
import pytest

from diptych.engines.base import TensorSpec
from diptych.engines.fake import FakeEngine
from diptych.engines.select import open_engine
from diptych.errors import FailedPrecondition, InvalidRequest

IMAGE = TensorSpec("image", "float32", ("N", 3, "H", "W"))


def test_has_the_shapes_of_the_file_it_stands_for(conv_file: Path) -> None:
    engine = open_engine(conv_file, choice="fake")
    assert (engine.name, engine.inputs[0]) == ("fake", IMAGE)
    result = engine.run({"image": np.zeros((2, 3, 5, 7), np.float32)})["upscaled"]
    assert result.shape == (2, 3, 10, 14)
    assert result.dtype == np.float32
    assert 0 <= result.min() < result.max() <= 1


def test_is_a_function_of_its_inputs_row_by_row() -> None:
    engine = FakeEngine(
        [IMAGE, TensorSpec("timestep", "int64", ("N",)), TensorSpec("scale", "float32", ())],
        [TensorSpec("noise", "float32", ("N", 3, "H", "W"))],
    )
    rows = np.random.default_rng(0).random((3, 3, 4, 4), np.float32)
    steps = np.array([1, 2, 3])
    one = np.float32(1).reshape(())
    together = engine.run({"image": rows, "timestep": steps, "scale": one})["noise"]
    for index in range(3):
        part = slice(index, index + 1)
        alone = engine.run({"image": rows[part], "timestep": steps[part], "scale": one})["noise"]
        np.testing.assert_array_equal(alone[0], together[index])
    other_scale = engine.run({"image": rows, "timestep": steps, "scale": one * 2})["noise"]
    other_steps = engine.run({"image": rows, "timestep": steps + 1, "scale": one})["noise"]
    assert not np.array_equal(together, other_scale)
    assert not np.array_equal(together, other_steps)


@pytest.mark.parametrize(
    ("size", "expected"), [("H", 6), ("4H", 24), ("4*H", 24), ("H*4", 24), ("H/2", 3), ("3H/2", 9), (5, 5)]
)
def test_computes_sizes_that_follow_from_the_input(size: int | str, expected: int) -> None:
    engine = FakeEngine([TensorSpec("x", "float32", ("H",))], [TensorSpec("y", "int64", (size,))])
    result = engine.run({"x": np.zeros(6, np.float32)})["y"]
    assert (result.shape, result.dtype) == ((expected,), np.int64)


def test_refuses_what_a_real_engine_refuses() -> None:
    engine = FakeEngine([IMAGE], [TensorSpec("y", "float32", ("unknown",))])
    with pytest.raises(InvalidRequest, match=r"inputs.image: has dtype uint8"):
        engine.run({"image": np.zeros((1, 3, 4, 4), np.uint8)})
    with pytest.raises(FailedPrecondition, match="cannot tell size 'unknown' of output y"):
        engine.run({"image": np.zeros((1, 3, 4, 4), np.float32)})
    with pytest.raises(InvalidRequest, match=r"outputs.z: .* gives y"):
        engine.run({"image": np.zeros((1, 3, 4, 4), np.float32)}, ["z"])
    engine.close()
    with pytest.raises(FailedPrecondition, match="closed"):
        engine.run({"image": np.zeros((1, 3, 4, 4), np.float32)})


def test_takes_at_least_its_latency() -> None:
    engine = FakeEngine([], [TensorSpec("y", "float32", (1,))], latency=0.01)
    start = time.perf_counter()
    engine.run({})
    assert time.perf_counter() - start >= 0.01
