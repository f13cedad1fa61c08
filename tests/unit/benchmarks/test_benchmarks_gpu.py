"""The GPU benchmark, whole, with toys on the CPU."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from diptych.engines.cuda import capability


def test_every_way_is_measured_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "toy"
    # Compiling on a CPU needs a C++ compiler and a minute; the other three ways go the whole way.
    names = ("torch eager", "onnxruntime", "onnxruntime, for CUDA", "tensorrt")
    ways = [flag for way in names for flag in ("--way", way)]
    toy = ["gpu", "--toy", "--device", "cpu"]
    folder = str(tmp_path / "prepared")
    for bare in (["--bare"], []):  # The graphs first, then their weights.
        monkeypatch.setattr(sys, "argv", [*toy, "--prepare", folder, *bare])
        gpu.main()
        assert (tmp_path / "prepared" / "sdxl" / "weights.safetensors").is_file() == (not bare)
    monkeypatch.setattr(sys, "argv", [*toy, "--prepared", folder, "--runs", "1", "--out", str(out), *ways])
    gpu.main()
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["toy"] and report["what"]["torch"]
    lines = {(line["model"], line["way"], line.get("batch", 0)): line for line in report["results"]}
    for model in ("sd15", "sdxl", "sd3-12b"):
        for batch in (1, 4, 8):
            line = lines[model, "onnxruntime", batch]
            assert line["ms_per_step"] > 0 and line["images_per_second"] > 0
        assert 0 < lines[model, "onnxruntime", 1]["difference_to_eager"] < 1e-3
        fused = json.loads((tmp_path / "prepared" / model / "prepared.json").read_text())["fused"]
        assert (
            fused["MultiHeadAttention"]
            and fused["NhwcConv"]
            and fused["GroupNorm" if model != "sd3-12b" else "LayerNormalization"]
        )
        assert "no NVIDIA GPU" in lines[model, "onnxruntime, for CUDA", 0]["skipped"]
        assert lines[model, "tensorrt", 0]["skipped"] == "there is no NVIDIA GPU on this machine"
    assert out.with_suffix(".png").stat().st_size > 10_000
    page = out.with_suffix(".md").read_text()
    assert "| onnxruntime | 8 |" in page and "tensorrt: there is no NVIDIA GPU on this machine" in page


@pytest.mark.skipif(bool(capability()), reason="says what is said where there is no GPU")
def test_without_a_gpu_it_says_what_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="--toy --device cpu"):
        gpu.main()
