from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from diptych.engines.base import Engine, TensorSpec
from diptych.engines.onnx import OnnxEngine
from diptych.engines.select import open_engine
from diptych.errors import DataCorrupted, FailedPrecondition, InternalError, InvalidRequest


def images(count: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 3, side, side)).astype(np.float32)


def test_reports_what_the_graph_takes_and_gives(conv_file: Path) -> None:
    engine = OnnxEngine(conv_file, threads=1, precision="fp16")
    assert engine.inputs == (TensorSpec("image", "float32", ("N", 3, "H", "W")),)
    assert engine.outputs == (TensorSpec("upscaled", "float32", ("N", 3, "2H", "2W")),)
    assert (engine.name, engine.provider, engine.precision) == ("onnxruntime", "CPUExecutionProvider", "fp16")


def test_runs_the_graph(sum_file: Path) -> None:
    engine: Engine = open_engine(sum_file, threads=1)
    left = np.arange(8, dtype=np.float32).reshape(2, 4)
    result = engine.run({"left": left, "right": left, "steps": np.array([3, 5])})
    np.testing.assert_array_equal(result["total"], 2 * left)
    np.testing.assert_array_equal(result["same_steps"], [3, 5])


@pytest.mark.parametrize("batch", [2, 3, 4, 8])
def test_a_row_is_bit_equal_alone_and_in_a_batch(conv_file: Path, batch: int) -> None:
    engine = OnnxEngine(conv_file, threads=1)
    rows = images(batch, side=24)
    together = engine.run({"image": rows})["upscaled"]
    for index in range(batch):
        alone = engine.run({"image": rows[index : index + 1]})["upscaled"]
        np.testing.assert_array_equal(alone[0], together[index])


def test_names_every_fault_of_its_inputs(sum_file: Path) -> None:
    engine = OnnxEngine(sum_file, threads=1)
    with pytest.raises(InvalidRequest) as caught:
        engine.run(
            {
                "left": np.zeros((2, 4), np.float64),
                "right": np.zeros(4, np.float32),
                "extra": np.zeros(1, np.float32),
            }
        )
    faults = {violation.field: violation.description for violation in caught.value.violations}
    assert set(faults) == {"inputs.left", "inputs.right", "inputs.steps", "inputs.extra"}
    assert "float64" in faults["inputs.left"] and "float32 (N, 4)" in faults["inputs.left"]
    assert "(4,)" in faults["inputs.right"]
    assert "missing" in faults["inputs.steps"]
    assert "left, right, steps" in faults["inputs.extra"]


def test_refuses_a_wrong_fixed_size_and_disagreeing_named_sizes(sum_file: Path) -> None:
    engine = OnnxEngine(sum_file, threads=1)
    good = np.zeros((2, 4), np.float32)
    with pytest.raises(InvalidRequest, match="size 5 on axis 1"):
        engine.run({"left": np.zeros((2, 5), np.float32), "right": good, "steps": np.zeros(2, np.int64)})
    with pytest.raises(InvalidRequest, match="size 3 on axis 0, but N is 2"):
        engine.run({"left": good, "right": good, "steps": np.zeros(3, np.int64)})


def test_a_graph_that_fails_on_its_input_is_an_internal_error(conv_file: Path) -> None:
    engine = OnnxEngine(conv_file, threads=1)
    with pytest.raises(InternalError, match=r"conv.onnx failed on image \(1, 3, 0, 0\)"):
        engine.run({"image": np.zeros((1, 3, 0, 0), np.float32)})


def test_a_closed_engine_refuses_to_run(conv_file: Path) -> None:
    engine = OnnxEngine(conv_file, threads=1)
    engine.close()
    with pytest.raises(FailedPrecondition, match="closed"):
        engine.run({"image": images(1)})


def test_threads_share_one_engine(conv_file: Path) -> None:
    engine = OnnxEngine(conv_file, threads=1)
    rows = [images(count) for count in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda row: engine.run({"image": row})["upscaled"], rows))
    for row, result in zip(rows, parallel, strict=True):
        np.testing.assert_array_equal(engine.run({"image": row})["upscaled"], result)


def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(DataCorrupted, match=r"broken.onnx is not a graph"):
        OnnxEngine(broken)
    with pytest.raises(FailedPrecondition, match=r"no model file absent.onnx"):
        open_engine(tmp_path / "absent.onnx")


def test_a_provider_this_machine_lacks_is_named(conv_file: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"no NoSuchProvider; it has .*CPUExecutionProvider"):
        OnnxEngine(conv_file, providers=["NoSuchProvider"])
    with pytest.raises(ValueError, match="threads is -1"):
        OnnxEngine(conv_file, threads=-1)


def test_tells_what_its_weights_take(conv_file: Path) -> None:
    alone = OnnxEngine(conv_file).memory_bytes
    assert alone == conv_file.stat().st_size
    model = onnx.load(conv_file)
    onnx.save(model, conv_file, save_as_external_data=True, location="weights", size_threshold=0)
    conv_file.with_name(f"{conv_file.name}.other").write_bytes(bytes(1000))  # Of no concern.
    weights = conv_file.with_name("weights").stat().st_size
    assert weights and OnnxEngine(conv_file).memory_bytes == conv_file.stat().st_size + weights


def test_gives_only_the_outputs_asked_for(sum_file: Path) -> None:
    engine = OnnxEngine(sum_file, threads=1)
    inputs = {"left": np.ones((1, 4), np.float32), "right": np.ones((1, 4), np.float32), "steps": np.array([1])}
    assert list(engine.run(inputs, ["total"])) == ["total"]
    assert list(engine.run(inputs)) == ["total", "same_steps"]
    with pytest.raises(InvalidRequest, match=r"outputs.mean: .* gives total, same_steps"):
        engine.run(inputs, ["mean"])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the process's size from /proc")
def test_gives_its_memory_back_when_told_to(conv_file: Path) -> None:
    def held() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    image = np.zeros((1, 3, 2000, 2000), np.float32)
    features = 12 * 2000 * 2000 * 4
    grown = {}
    for keep in (True, False):
        engine = OnnxEngine(conv_file, threads=1, keep_memory=keep)
        before = held()
        engine.run({"image": image})
        grown[keep] = held() - before
        engine.close()
    assert grown[True] - grown[False] > features / 2
