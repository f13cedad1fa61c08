"""Inputs that stay on the device, bound instead of copied, with ONNX Runtime on the CPU."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from diptych.diffusion.denoiser import SampleGraph
from diptych.engines.base import Array, Held, TensorSpec
from diptych.engines.binding import FixedBinding
from diptych.engines.device_rows import KeptRows
from diptych.engines.fake import FakeEngine
from diptych.engines.onnx import OnnxEngine
from diptych.engines.recording import Recordings, Turns
from diptych.errors import FailedPrecondition, InvalidRequest


def test_a_held_input_gives_the_same_bits(sum_file: Path) -> None:
    engine = OnnxEngine(sum_file, threads=1)
    random = np.random.default_rng(3)
    left, right = (random.standard_normal((3, 4)).astype(np.float32) for _ in range(2))
    steps = np.array([1, 2, 3])
    held = engine.hold(right)
    for _ in range(2):
        result = engine.run({"left": left, "right": held, "steps": steps})
        np.testing.assert_array_equal(result["total"], left + right)
        np.testing.assert_array_equal(result["same_steps"], steps)
    assert list(engine.run({"left": left, "right": held, "steps": steps}, ["total"])) == ["total"]
    with pytest.raises(InvalidRequest, match=r"inputs.left: has shape \(3,\)"):
        engine.run({"left": left[:, 0], "right": held, "steps": steps})


def test_buffers_of_fixed_shapes_are_used_again(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "y"], ["z"])],
        "fixed",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy"],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    spec = [TensorSpec(name, "float32", (2, 3)) for name in "xyz"]
    binding = FixedBinding(session, spec[:2], spec[2:], "cpu")
    before: list[Array] = []
    for factor in (1.0, 2.0, 3.0):
        x = np.full((2, 3), factor, np.float32)
        result = binding.run({"x": x, "y": Held(x, None)}, ["z"])["z"]
        np.testing.assert_array_equal(result, x * x)
        before.append(result)
    assert [float(one[0, 0]) for one in before] == [1, 4, 9]  # Copies: a later run changes none of them.


class Counting(FakeEngine):
    """A fake that counts what is taken to its device."""

    held = 0

    def hold(self, given: Array | Sequence[Array]) -> Held:
        self.held += 1
        return super().hold(given)


def test_what_rows_bring_at_every_step_is_taken_to_the_device_once() -> None:
    specs = [
        TensorSpec("sample", "float32", ("B", 4)),
        TensorSpec("timestep", "float32", ("B",)),
        TensorSpec("encoder_hidden_states", "float32", ("B", 2, 3)),
    ]
    engine = Counting(specs, [TensorSpec("out_sample", "float32", ("B", 4))])
    graph, plain = SampleGraph(engine), SampleGraph(FakeEngine(specs, engine.outputs))
    random = np.random.default_rng(0)
    texts = [random.random((2, 3), np.float32) for _ in range(3)]
    # Company: alone for two steps, joined by another for two, then a newcomer instead of the first.
    for members, expected in (([0], 1), ([0], 1), ([0, 1], 2), ([0, 1], 2), ([1, 2], 3), ([2, 1], 4)):
        samples = [
            {"sample": random.random(4, np.float32), "timestep": 5.0, "encoder_hidden_states": texts[member]}
            for member in members
        ]
        np.testing.assert_array_equal(graph.run(samples)[0], plain.run([{**one} for one in samples])[0])
        assert engine.held == expected


def test_rows_are_kept_for_as_long_as_somebody_holds_them() -> None:
    kept = KeptRows("cpu")
    rows = [np.full((2, 3), number, np.float32) for number in range(3)]
    np.testing.assert_array_equal(kept.stack(rows).numpy(), np.stack(rows))
    mixed = [rows[2], rows[0], rows[2]]
    np.testing.assert_array_equal(kept.stack(mixed).numpy(), np.stack(mixed))
    del mixed
    assert len(kept) == 3
    del rows[1]
    assert len(kept) == 2
    with pytest.raises(ValueError, match="differ"):
        kept.stack([rows[0], np.zeros((2, 4), np.float32)])


def test_recordings_follow_changing_company(sum_file: Path) -> None:
    session = onnxruntime.InferenceSession(str(sum_file), providers=["CPUExecutionProvider"])
    recordings, engine, random = Recordings(session, "cpu"), OnnxEngine(sum_file, threads=1), np.random.default_rng(5)
    kept = KeptRows("cpu")
    texts = [random.random(4, np.float32) for _ in range(4)]
    held: Held | None = None
    for members in ([0], [0], [0], [1, 2], [1, 2], [2, 1], [3], [3], [0, 1, 3], [0]):
        rows = [texts[member] for member in members]
        if held is None or not np.array_equal(held.array, rows):
            held = Held(rows, kept.stack(rows))
        left = random.random((len(rows), 4), np.float32)
        steps = np.arange(len(rows))
        found = recordings.run({"left": left, "steps": steps, "right": held}, ["total", "same_steps"])
        expected = engine.run({"left": left, "steps": steps, "right": np.stack(rows)})
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    for one in (1, 2, 3):
        plain = {"left": left, "steps": steps, "right": np.full((1, 4), one, np.float32)}
        np.testing.assert_array_equal(recordings.run(plain, ["total"])["total"], left + one)


def test_who_is_alone_waits_for_all_and_keeps_all_out() -> None:
    turns, begun, release, order = Turns(), threading.Event(), threading.Event(), list[str]()

    def together() -> None:
        with turns.together():
            begun.set()
            release.wait(10)
            order.append("together")

    def alone() -> None:
        with turns.alone():
            order.append("alone")

    def later() -> None:
        with turns.together():
            order.append("later")

    threads = [threading.Thread(target=together)]
    threads[0].start()
    assert begun.wait(10)
    for target in (alone, later):
        threads.append(threading.Thread(target=target))
        threads[-1].start()
        time.sleep(0.05)
    assert order == []
    release.set()
    for thread in threads:
        thread.join(10)
    assert order == ["together", "alone", "later"]


def test_a_run_that_cannot_be_recorded_is_run_without(sum_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OnnxEngine(sum_file, threads=1)
    x = np.ones((2, 4), np.float32)

    class Refusing:
        def run(self, *_: object) -> dict[str, Array]:
            raise ort_errors.Fail("capturing failed")

    monkeypatch.setattr(engine, "_replayed", Refusing())
    for _ in range(2):
        np.testing.assert_array_equal(engine.run({"left": x, "right": x, "steps": np.arange(2)})["total"], x + x)
    engine.close()
    with pytest.raises(FailedPrecondition, match="closed"):
        engine.run({"left": x, "right": x, "steps": np.arange(2)})
