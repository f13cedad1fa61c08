"""What only a machine with a GPU can show."""

from pathlib import Path

import numpy as np
import pytest

from diptych.engines.cuda import capability, driver
from diptych.engines.machine import tensorrt_versions, this_machine
from diptych.engines.onnx import OnnxEngine
from diptych.engines.providers import CUDA
from diptych.export import BuildOptions, build_model
from diptych.repository import ModelRepository

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not capability(), reason="there is no NVIDIA GPU on this machine"),
]


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


@pytest.mark.skipif(CUDA not in this_machine().providers, reason="this ONNX Runtime has no CUDA provider")
def test_a_held_input_stays_on_the_gpu() -> None:
    path = ModelRepository().open("diptych-icons").path("unet/model.onnx")
    engine, reference = OnnxEngine(path, preference="onnx"), OnnxEngine(path, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    inputs = {
        "sample": random.standard_normal((2, 12, 16, 16)).astype(np.float32),
        "timestep": np.array([10, 900], np.float32),
        "encoder_hidden_states": random.standard_normal((2, 16, 384)).astype(np.float32),
    }
    held = {**inputs, "encoder_hidden_states": engine.hold(inputs["encoder_hidden_states"])}
    found, expected = engine.run(held)["out_sample"], reference.run(inputs)["out_sample"]
    assert np.abs(found - expected).max() < 1e-2 * np.abs(expected).max()


@pytest.mark.skipif(not tensorrt_versions(), reason="neither tensorrt nor tensorrt_rtx is installed")
def test_an_engine_built_for_this_gpu_agrees_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_BUILDS", str(tmp_path))
    ((_, build),) = build_model(ModelRepository(), "diptych-icons", BuildOptions(precision="fp16", engine="tensorrt"))
    assert build.checked == "engine"
    assert build.milliseconds is not None
