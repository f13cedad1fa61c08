"""Model folders that lack something."""

import json
import shutil
from pathlib import Path

import pytest

from diptych.diffusion import Defaults, RowSpec, open_pipeline
from diptych.errors import FailedPrecondition

DEFAULTS = Defaults(4, 3.0)


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "unet/config.json",
        "unet/model.onnx",
        "vae_decoder/config.json",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FailedPrecondition, match=name.rpartition("/")[2]):
        open_pipeline(folder, DEFAULTS, threads=1)


@pytest.mark.parametrize("key", ["latent_channels", "scaling_factor"])
def test_a_missing_value_of_the_decoder_is_named(folder: Path, key: str) -> None:
    path = folder / "vae_decoder/config.json"
    config = json.loads(path.read_text())
    del config[key]
    path.write_text(json.dumps(config))
    with pytest.raises(FailedPrecondition, match=key):
        open_pipeline(folder, DEFAULTS, threads=1)


@pytest.mark.parametrize("size", [0, 10**6, [8, -1], [8], "8", None])
def test_a_size_that_cannot_be_drawn_is_refused_before_memory_is_taken(folder: Path, size: object) -> None:
    path = folder / "unet/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sample_size": size}))
    with pytest.raises(FailedPrecondition, match="served are 1 to 1024 cells a side"):
        open_pipeline(folder, Defaults(1, 1.0), threads=1)


def test_a_denoiser_with_other_inputs_is_refused(folder: Path) -> None:
    shutil.copyfile(folder / "vae_decoder/model.onnx", folder / "unet/model.onnx")
    with pytest.raises(FailedPrecondition, match="encoder_hidden_states"):
        open_pipeline(folder, DEFAULTS, threads=1)


def test_without_an_encoder_it_draws_from_words_alone(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    del index["vae_encoder"]
    (folder / "model_index.json").write_text(json.dumps(index))
    shutil.rmtree(folder / "vae_encoder")
    pipeline = open_pipeline(folder, DEFAULTS, threads=1)
    assert not pipeline.takes_pictures
    pipeline.warm_up()
    pipeline.close()


def test_fake_engines_have_the_same_shapes(folder: Path) -> None:
    pipeline = open_pipeline(folder, DEFAULTS, engine="fake")
    row = pipeline.prepare(RowSpec("a red apple", 64, 64, 1, 2, 3.0, pipeline.default_schedule))
    while not row.finished:
        pipeline.step([row])
    assert pipeline.engine_name == "fake"
    assert pipeline.finish(row).shape == (64, 64, 3)


def test_defaults_come_from_the_manifest() -> None:
    table = {"num_inference_steps": 20, "guidance_scale": 3, "guidance_interval": [0.1, 0.9], "width": 256}
    assert Defaults.from_table(table) == Defaults(20, 3.0, (0.1, 0.9))
    with pytest.raises(FailedPrecondition, match="guidance_scale"):
        Defaults.from_table({"num_inference_steps": 20})
