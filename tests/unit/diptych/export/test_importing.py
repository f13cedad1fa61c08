"""Models that people have, made into repository entries, or refused with a reason."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from toy_families import Toys

from diptych.diffusion import Defaults, PreviewMap, RowSpec, open_pipeline
from diptych.errors import DataCorrupted, FailedPrecondition, InvalidRequest
from diptych.export import ImportOptions, import_model
from diptych.repository import ModelRepository


@pytest.fixture
def copy(toys: Toys, tmp_path: Path) -> Path:
    """A diffusers folder to spoil."""
    return Path(shutil.copytree(toys.source("sd"), tmp_path / "sd"))


def test_an_import_is_a_model_of_the_repository(toys: Toys) -> None:
    toys.model("sd")
    local = ModelRepository([toys.models]).open("sd")
    manifest = local.manifest
    assert (manifest.kind, manifest.task, manifest.license) == ("GENERATIVE", "text-to-image", "unknown: user's")
    assert manifest.defaults == {"num_inference_steps": 30, "guidance_scale": 7.5, "width": 64, "height": 64}
    assert manifest.tensors is not None
    assert [tensor.name for tensor in manifest.tensors.inputs] == ["sample", "timestep", "encoder_hidden_states"]
    assert manifest.tensors.inputs[0].shape == ("batch", 4, "height", "width")
    assert set(manifest.differences) == {"text_encoder", "vae_decoder", "vae_encoder", "unet"}
    assert all(0 <= difference < 1e-4 for difference in manifest.differences.values())
    assert str(toys.root) not in (local.directory / "manifest.toml").read_text()


@pytest.mark.parametrize(("family", "steps", "guidance"), [("lcm", 4, 8.5), ("sdxl", 30, 5.0), ("sd3", 28, 7.0)])
def test_a_family_has_its_defaults(toys: Toys, family: str, steps: int, guidance: float) -> None:
    toys.model(family)
    defaults = ModelRepository([toys.models]).get(family).defaults
    assert (defaults["num_inference_steps"], defaults["guidance_scale"]) == (steps, guidance)


def test_a_preview_is_drawn_by_the_map_without_the_decoder(toys: Toys) -> None:
    toys.model("sd")
    assert ModelRepository([toys.models]).get("sd").preview is not None
    weights = [[0.5, 0, 0], [0, 0.25, 0], [0, 0, 0], [0, 0, 0]]
    pipeline = open_pipeline(
        toys.model("sd"), Defaults(4, 1.0), threads=1, preview_map=PreviewMap(weights, [0.25, 0.5, 1])
    )
    row = pipeline.prepare(RowSpec("a", 64, 64, 1, 1, 1.0, "ddim"))
    row.latents = np.ones((4, 8, 8), np.float32)
    pipeline.close()  # A decoder that is closed cannot run.
    assert (pipeline.preview(row) == (191, 191, 255)).all()


def test_a_pickle_is_refused_whatever_its_name(copy: Path, tmp_path: Path) -> None:
    weights = copy / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(DataCorrupted, match="pickle"):
        import_model(copy, tmp_path / "models", ImportOptions("mine"))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(FailedPrecondition, match="safe_serialization"):
        import_model(copy, tmp_path / "models", ImportOptions("mine"))
    assert list((tmp_path / "models").iterdir()) == []


def test_other_pipelines_are_refused_with_what_is_served(copy: Path, tmp_path: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": "KandinskyPipeline"}))
    with pytest.raises(FailedPrecondition, match=r"KandinskyPipeline.*Stable Diffusion XL"):
        import_model(copy, tmp_path / "models", ImportOptions("mine"))


def test_parts_of_other_kinds_are_refused(copy: Path, tmp_path: Path) -> None:
    config = json.loads((copy / "unet/config.json").read_text())
    (copy / "unet/config.json").write_text(json.dumps({**config, "_class_name": "UNetMotionModel"}))
    with pytest.raises(FailedPrecondition, match="UNetMotionModel"):
        import_model(copy, tmp_path / "models", ImportOptions("mine"))


def test_an_export_that_differs_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="differs from torch"):
        import_model(copy, tmp_path / "models", ImportOptions("mine", tolerance=1e-12))


def test_a_bad_or_taken_name_is_refused_before_any_work(toys: Toys) -> None:
    toys.model("sd")
    with pytest.raises(InvalidRequest, match="lower-case"):
        import_model(toys.source("sd"), toys.models, ImportOptions("../x"))
    with pytest.raises(FailedPrecondition, match="already"):
        import_model(toys.source("sd"), toys.models, ImportOptions("sd"))


def test_a_folder_of_graphs_is_taken_over(toys: Toys, tmp_path: Path) -> None:
    """As exporters elsewhere leave it: weights beside the graph, the VAE's whole distribution, vocab and merges."""
    folder = Path(shutil.copytree(toys.model("sd"), tmp_path / "exported"))
    (folder / "manifest.toml").unlink()
    unet = onnx.load(folder / "unet/model.onnx")
    onnx.save(
        unet, folder / "unet/model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0
    )
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(toys.source("sd") / "tokenizer", folder / "tokenizer")
    index = json.loads((folder / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "CLIPTokenizer"]
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "ORTStableDiffusionPipeline"}))
    made = import_model(folder, tmp_path / "models", ImportOptions("graphs", num_inference_steps=9))
    manifest = ModelRepository([tmp_path / "models"]).open("graphs").manifest
    assert manifest.defaults["num_inference_steps"] == 9
    assert not [entry.path for entry in manifest.files if "onnx_data" in entry.path]
    spec = RowSpec("a red apple", 64, 64, 3, 3, 5.0, "euler")
    pictures = []
    for model in (toys.model("sd"), made):
        pipeline = open_pipeline(model, Defaults(4, 5.0), threads=1)
        row = pipeline.prepare(spec)
        while not row.finished:
            pipeline.step([row])
        pictures.append(pipeline.finish(row).tobytes())
        pipeline.close()
    assert pictures[0] == pictures[1]


def test_options_for_torch_are_refused_for_graphs(toys: Toys, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="diffusers folder"):
        import_model(toys.model("sd"), tmp_path, ImportOptions("mine", clip_skip=1))
