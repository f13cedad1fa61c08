"""Engines on a GPU: the same numbers as on the CPU, bound, held, replayed, and given back."""

import gc
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skimage import data

from diptych.engines.base import Array
from diptych.engines.cuda import driver
from diptych.engines.machine import tensorrt_versions, this_machine
from diptych.engines.onnx import OnnxEngine
from diptych.engines.providers import CPU, CUDA
from diptych.engines.recording import Recordings
from diptych.errors import DiptychError
from diptych.export import BuildOptions, build_model
from diptych.export.build_compare import company_error
from diptych.export.build_tensorrt import Compiler, Sizes
from diptych.repository import ModelRepository

needs_cuda = pytest.mark.skipif(CUDA not in this_machine().providers, reason="this ONNX Runtime has no CUDA provider")
# Sums in another order, over a whole denoiser; and half precision.
CLOSE, CLOSE_IN_HALF = 1e-3, 3e-2


def inputs_of(rows: int, seed: int, side: int = 8) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        "sample": random.standard_normal((rows, 4, side, side)).astype(np.float32),
        "timestep": random.uniform(1, 999, rows).astype(np.float32),
        "encoder_hidden_states": random.standard_normal((rows, 77, 32)).astype(np.float32),
    }


def distance(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_memory_goes_there_and_back() -> None:
    gpu = driver()
    gpu.enter()
    sent = np.arange(1000, dtype=np.float32)
    address, stream = gpu.allocate(sent.nbytes), gpu.stream()
    back = np.empty_like(sent)
    gpu.copy_in(address, sent, stream)
    gpu.copy_out(back, address, stream)
    gpu.wait(stream)
    gpu.end_stream(stream)
    gpu.free(address)
    np.testing.assert_array_equal(back, sent)


@needs_cuda
@pytest.mark.parametrize("records", [False, True])
def test_the_gpu_says_what_the_cpu_says(prepared: Path, records: bool) -> None:
    path = prepared / "single" / "model.onnx"
    engine, reference = OnnxEngine(path, preference="onnx", records=records), OnnxEngine(path, providers=[CPU])
    assert engine.provider == CUDA  # Not merely installed: its libraries were found.
    for rows, seed in ((1, 0), (2, 1), (1, 2), (2, 3), (1, 4), (2, 5), (2, 6)):
        inputs = inputs_of(rows, seed)
        found = engine.run(inputs)["out_sample"]
        assert distance(found, reference.run(inputs)["out_sample"]) < CLOSE, (rows, seed)
    engine.close()


@needs_cuda
def test_a_held_input_stays_and_another_takes_its_place(prepared: Path) -> None:
    path = prepared / "single" / "model.onnx"
    reference = OnnxEngine(path, providers=[CPU])
    for records in (False, True):
        engine = OnnxEngine(path, preference="onnx", records=records)
        texts = [inputs_of(2, seed)["encoder_hidden_states"] for seed in (10, 11)]
        held = [engine.hold(text) for text in texts]
        for step, which in enumerate((0, 0, 0, 1, 1, 0)):
            inputs = inputs_of(2, step)
            found = engine.run({**inputs, "encoder_hidden_states": held[which]})["out_sample"]
            expected = reference.run({**inputs, "encoder_hidden_states": texts[which]})["out_sample"]
            assert distance(found, expected) < CLOSE, (records, step)
        engine.close()


@needs_cuda
def test_shapes_that_come_again_are_recorded(prepared: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        engine = OnnxEngine(prepared / "half" / "model.onnx", preference="onnx", precision="fp16")
        for rows in (1, 2, 1, 2, 1, 2):
            engine.run(inputs_of(rows, rows))
    assert not caplog.records, caplog.text  # Neither the file nor a run was refused.
    assert isinstance(engine._replayed, Recordings)
    assert [bool(one.threads) for one in engine._replayed._known.values()] == [True, True]
    # The same numbers in, the same bits out, whatever ran in between.
    first = engine.run(inputs_of(2, 7))["out_sample"]
    engine.run(inputs_of(1, 8))
    np.testing.assert_array_equal(engine.run(inputs_of(2, 7))["out_sample"], first)
    engine.close()


@needs_cuda
@pytest.mark.parametrize("file", ["model.onnx", "cuda.onnx"])
def test_half_precision_is_near(prepared: Path, file: str) -> None:
    reference = OnnxEngine(prepared / "single" / "model.onnx", providers=[CPU])
    engine = OnnxEngine(prepared / "half" / file, preference="onnx", precision="fp16")
    for seed in range(4):
        inputs = inputs_of(2, seed)
        found = distance(engine.run(inputs)["out_sample"], reference.run(inputs)["out_sample"])
        assert found < CLOSE_IN_HALF, found
    engine.close()


@needs_cuda
def test_company_changes_a_row_by_no_more_than_rounding(prepared: Path) -> None:
    for folder, precision, allowed in (("single", "fp32", CLOSE), ("half", "fp16", CLOSE_IN_HALF)):
        engine = OnnxEngine(prepared / folder / "model.onnx", preference="onnx", precision=precision)  # type: ignore[arg-type]
        error = company_error(engine, [inputs_of(1, 0), inputs_of(1, 1)])
        print(f"{precision}: a row in company is {error} of the range from itself alone")
        assert error is not None and error < allowed
        engine.close()


@needs_cuda
def test_a_closed_engine_gives_its_memory_back(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((8192, 8192)).astype(np.float32)  # 256 MB
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8192])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8192])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    used = []
    for _ in range(3):
        engine = OnnxEngine(path, preference="onnx")
        engine.run({"x": np.ones((2, 8192), np.float32)})
        engine.run({"x": np.ones((2, 8192), np.float32)})
        open_free = driver().memory()[0]
        engine.close()
        del engine
        gc.collect()
        used.append(driver().memory()[0] - open_free)
    assert min(used) > 240e6, used


@needs_cuda
@pytest.mark.parametrize("name", ["ffdnet", "span-x2"])
def test_the_editors_models_agree(name: str) -> None:
    repository = ModelRepository()
    if repository.state(name) != "READY":
        pytest.skip(f"{name} is not pulled")
    path = repository.open(name).path("model.onnx")
    engine, reference = OnnxEngine(path, preference="onnx"), OnnxEngine(path, providers=[CPU])
    assert engine.provider == CUDA
    for side in (64, 96, 64, 96, 64):
        # A photograph: what a network makes of noise hangs on the last bit of it.
        photograph = (
            data.astronaut()[100 : 100 + side, 200 : 200 + side].transpose(2, 0, 1)[None].astype(np.float32) / 255
        )
        channels = engine.inputs[0].shape[1]
        assert isinstance(channels, int)
        strength = np.full((1, channels - 3, side, side), 0.1, np.float32)
        inputs = {engine.inputs[0].name: np.concatenate([photograph, strength], axis=1)}
        answers, expected = engine.run(inputs), reference.run(inputs)
        for output, array in expected.items():
            assert distance(answers[output], array) < CLOSE, (output, side)
    engine.close()


@needs_cuda
def test_a_build_here_is_measured_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if ModelRepository().state("diptych-icons") != "READY":
        pytest.skip("diptych-icons is not pulled")
    monkeypatch.setenv("DIPTYCH_BUILDS", str(tmp_path))
    ((_, build),) = build_model(ModelRepository(), "diptych-icons", BuildOptions(precision="fp16"), progress=print)
    print(f"{build.provider}: {build.source_milliseconds} ms before, {build.milliseconds} ms after, {build.psnr} dB")
    assert build.provider == CUDA
    assert build.checked == "engine" and build.milliseconds is not None
    assert any(part.company_error is not None for part in build.parts)


@pytest.mark.skipif(not tensorrt_versions(), reason="neither tensorrt nor tensorrt_rtx is installed")
def test_an_engine_is_built_for_this_gpu_or_refused_with_a_reason(prepared: Path, tmp_path: Path) -> None:
    name = next(iter(tensorrt_versions()))
    path = prepared / "half" / "plain.onnx"
    model = OnnxEngine(path, providers=[CPU])
    shapes = {spec.name: spec for spec in (*model.inputs, *model.outputs)}
    compiler = Compiler(name)
    target = this_machine().gpu if name == "tensorrt_rtx" else ""
    if target and target not in compiler.targets():
        with pytest.raises(DiptychError, match="builds for") as refused:
            compiler.compile(path, target, Sizes((1, 2, 4), (64, 64, 64)), shapes)
        print(refused.value)
        return
    from diptych.engines.tensorrt import TensorRTEngine

    made = compiler.compile(path, target, Sizes((1, 2, 4), (64, 64, 64)), shapes)
    file = tmp_path / "model.engine"
    file.write_bytes(made.content)
    engine = TensorRTEngine(file, name=name, precision="fp16", specs=(made.inputs, made.outputs))
    inputs = inputs_of(2, 0)
    reference = OnnxEngine(prepared / "single" / "model.onnx", providers=[CPU])
    assert distance(engine.run(inputs)["out_sample"], reference.run(inputs)["out_sample"]) < CLOSE_IN_HALF
    engine.close()
