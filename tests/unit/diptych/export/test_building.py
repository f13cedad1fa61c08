"""Builds of a toy Stable Diffusion: made, compared with torch, kept, chosen, or refused."""

from collections.abc import Collection
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper
from toy_families import Toys

from diptych.diffusion import Defaults, open_pipeline
from diptych.engines.machine import Machine, tensorrt_module
from diptych.engines.variants import variant_for
from diptych.errors import DataCorrupted, FailedPrecondition, InvalidRequest
from diptych.export import BuildOptions, build_model, read_targets
from diptych.export.build import _sizes
from diptych.export.build_material import Material, gather
from diptych.repository import ModelRepository
from diptych.repository.builds import BuildKey


@pytest.fixture
def repository(toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRepository:
    monkeypatch.setenv("DIPTYCH_BUILDS", str(tmp_path / "builds"))
    toys.model("sd")
    return ModelRepository([toys.models])


def test_a_build_is_near_torch_and_runs_in_the_pipeline(toys: Toys, repository: ModelRepository) -> None:
    options = BuildOptions(precision="fp16", torch=toys.source("sd"))
    ((folder, build),) = build_model(repository, "sd", options)
    assert (build.reference, build.checked, build.key.precision) == ("torch", "engine", "fp16")
    assert build.digest == repository.get("sd").digest
    parts = {part.source: part for part in build.parts}
    assert set(parts) == {f"{part}/model.onnx" for part in ("unet", "text_encoder", "vae_decoder", "vae_encoder")}
    assert all(0 < part.max_error < 0.05 for part in build.parts)
    assert "8 MultiHeadAttention" in parts["unet/model.onnx"].method
    assert parts["unet/model.onnx"].company_error == 0
    assert build.psnr is not None and build.psnr > 40
    assert build.milliseconds is not None and build.milliseconds > 0
    own = repository.open("sd").path("unet/model.onnx").stat().st_size
    assert parts["unet/model.onnx"].bytes < 0.75 * own
    said: list[str] = []
    assert build_model(repository, "sd", options, progress=said.append) == [(folder, build)]
    assert said == [f"{folder.name} is there already"]
    # A GPU on which nothing was measured takes half precision.
    local = repository.open("sd")
    variant = variant_for(local.builds, machine=Machine(("CUDAExecutionProvider", "CPUExecutionProvider"), "sm80"))
    assert variant is not None
    pipeline = open_pipeline(local.directory, Defaults(2, 1.0), threads=1, built=variant.files)
    assert (pipeline.engine_name, pipeline.precision) == ("onnxruntime", "fp16")
    pipeline.close()
    unet = folder / "unet/model.onnx"
    unet.write_bytes(unet.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataCorrupted, match="build again"):
        variant_for(local.builds, machine=Machine(("CUDAExecutionProvider",), "sm80"))


def test_a_broken_build_is_refused_and_nothing_is_kept(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: onnx.ModelProto, work: Path, *, lifted: Collection[str]) -> onnx.ModelProto:
        weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.5, weight.name))
        return model

    monkeypatch.setattr("diptych.export.build_made.to_half", spoil)
    with pytest.raises(FailedPrecondition, match="differs from the model") as refused:
        build_model(repository, "sd", BuildOptions(precision="fp16"))
    assert refused.value.reason == "BUILD_DIFFERS"
    assert list(repository.open("sd").builds.iterdir()) == []


def test_a_build_is_compared_at_its_resolution(repository: ModelRepository) -> None:
    with pytest.raises(InvalidRequest, match="give a multiple of 16"):
        build_model(repository, "sd", BuildOptions(resolution=(33, 33)))
    local = repository.open("sd")
    assert gather(local, None, None).side == 64
    assert gather(local, None, None, (32, 32)).side == 32


def test_targets_are_read_and_refused() -> None:
    assert read_targets(" sm89,SM120,sm89 ") == ("sm89", "sm120")
    assert read_targets("") == ()
    with pytest.raises(InvalidRequest, match="rtx4090"):
        read_targets("sm89,rtx4090")


@pytest.mark.skipif(tensorrt_module("tensorrt_rtx") is None, reason="the extra tensorrt is not installed")
def test_engines_are_built_for_gpus_that_are_not_here(repository: ModelRepository) -> None:
    options = BuildOptions(engine="tensorrt", targets=("sm86", "sm89", "sm120"), batch=(1, 2), resolution=(64, 128))
    builds = build_model(repository, "sd", options)
    assert [build.key.target for _, build in builds] == ["sm86", "sm89", "sm120"]
    contents = set()
    for folder, build in builds:
        assert build.checked == "graph"  # Nothing here can run it, and that is what it says.
        assert build.milliseconds is None
        unet = next(part for part in build.parts if part.source == "unet/model.onnx")
        content = (folder / unet.path).read_bytes()
        assert len(content) > 100_000
        contents.add(content)
        assert [(one.name, one.shape) for one in unet.inputs] == [
            ("sample", ("batch", 4, "height", "width")),
            ("timestep", ("batch",)),
            ("encoder_hidden_states", ("batch", 77, 32)),
        ]
        assert [one.name for one in unet.outputs] == ["out_sample"]
    assert len(contents) == 3
    with pytest.raises(FailedPrecondition, match=r"builds for .*sm89.*not for sm35"):
        build_model(repository, "sd", BuildOptions(engine="tensorrt", targets=("sm35",)))
    local = repository.open("sd")
    assert variant_for(local.builds) is None
    other = Machine(("CPUExecutionProvider",), "sm86", {"tensorrt_rtx": builds[0][1].key.engine_version})
    chosen = variant_for(local.builds, "tensorrt", other)
    assert chosen is not None and chosen.files["unet/model.onnx"].path.name == "model.engine"


@pytest.mark.parametrize("batch", [(1, 1), (1, 4), (4, 8)])
@pytest.mark.parametrize("doubled", [True, False])
def test_an_engine_takes_what_it_is_compared_on(batch: tuple[int, int], doubled: bool) -> None:
    key = BuildKey(
        engine="tensorrt", engine_version="1", precision="fp16", target="sm89", batch=batch, resolution=(64, 64)
    )
    material = Material("unet/model.onnx", {}, {}, {}, (), 1.0, side=64, cell=8)
    rows = 2 if doubled else 1  # of one picture
    least, usual, most = _sizes(key, material, doubled=doubled).batch
    assert least <= rows <= 2 * rows <= most
    assert least <= usual <= most
    assert batch[1] * rows <= most
