"""Folders as people have them, and as attackers make them: taken whole, or refused in words, with nothing left over."""

import json
import pickle
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_families import Toys

from diptych.diffusion import Defaults, RowSpec, open_pipeline
from diptych.errors import DataCorrupted, DiptychError, FailedPrecondition, InvalidRequest
from diptych.export import ImportOptions, import_model
from diptych.export.importing import _workplace

UNET = "unet/diffusion_pytorch_model"
PLAIN = {"format": "pt"}


@pytest.fixture
def copy(toys: Toys, tmp_path: Path) -> Path:
    """A diffusers folder to spoil."""
    return Path(shutil.copytree(toys.source("sd"), tmp_path / "sd"))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Where imports go; whatever happens, nothing half-made stays there."""
    yield tmp_path / "models"
    assert not list((tmp_path / "models").glob(".*"))


def shard(weights: Path, second: str = "", variant: str = "") -> None:
    """Divides a safetensors file among two; `second` is what the index calls the other one."""
    tensors, stem = load_file(weights), weights.name.removesuffix(".safetensors")
    names = sorted(tensors)
    files = [f"{stem}{variant}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    for file, half in zip(files, halves, strict=True):
        save_file({name: tensors[name] for name in half}, weights.parent / file, PLAIN)
    files[1] = second or files[1]
    places = {name: file for file, half in zip(files, halves, strict=True) for name in half}
    index = weights.parent / f"{stem}.safetensors.index{variant}.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    weights.unlink()


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_shards_variants_and_old_names_are_the_same_model(toys: Toys, copy: Path, root: Path) -> None:
    """As hubs have Stable Diffusion 1.5: attention of the VAE by its first names, CLIP with a level more, halves."""
    shard(copy / f"{UNET}.safetensors")
    vae = copy / "vae/diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in load_file(vae).items():
        for new, first in old.items():
            name = name.replace(new, first) if ".attentions." in name else name
        renamed[name] = tensor
    assert any("query" in name for name in renamed)
    save_file(renamed, vae, PLAIN)
    text = copy / "text_encoder/model.safetensors"
    levels = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in load_file(text).items()}
    levels["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(levels, text, PLAIN)
    shard(text, variant=".fp16")
    # The index of weights that were not taken along.
    shutil.copy(copy / "text_encoder/model.safetensors.index.fp16.json", copy / "text_encoder/stale.json")
    changed(copy / "text_encoder/stale.json", weight_map={"x": "model-00001-of-00002.safetensors"})
    (copy / "text_encoder/stale.json").rename(copy / "text_encoder/model.safetensors.index.json")
    spec = RowSpec("a red apple", 64, 64, 3, 2, 5.0, "euler")
    pictures = []
    for model in (toys.model("sd"), import_model(copy, root, ImportOptions("mine"))):
        pipeline = open_pipeline(model, Defaults(4, 5.0), threads=1)
        row = pipeline.prepare(spec)
        while not row.finished:
            pipeline.step([row])
        pictures.append(pipeline.finish(row).tobytes())
        pipeline.close()
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("part", [UNET, "text_encoder/model"])
@pytest.mark.parametrize("second", ["evil.bin", "../outside.safetensors", "absent.safetensors"])
def test_an_index_may_name_safetensors_beside_it_alone(copy: Path, root: Path, part: str, second: str) -> None:
    weights = copy / f"{part}.safetensors"
    (weights.parent / "evil.bin").write_bytes(pickle.dumps({"weight": 1}))
    shutil.copy(weights, copy / "outside.safetensors")
    shard(weights, second)
    with pytest.raises(DataCorrupted, match=f"names '{second}', which is no safetensors file beside it"):
        import_model(copy, root, ImportOptions("mine"))


@pytest.mark.parametrize("part", [UNET, "text_encoder/model", "vae/diffusion_pytorch_model"])
def test_weights_that_are_missing_are_not_drawn_at_random(copy: Path, root: Path, part: str) -> None:
    weights = copy / f"{part}.safetensors"
    tensors = load_file(weights)
    lost = sorted(tensors)[5]
    del tensors[lost]
    save_file(tensors, weights, PLAIN)
    with pytest.raises(DataCorrupted, match="lacks 1 of its weights"):
        import_model(copy, root, ImportOptions("mine"))


def test_weights_that_are_no_numbers_are_refused(copy: Path, root: Path) -> None:
    tensors = load_file(copy / "vae/diffusion_pytorch_model.safetensors")
    tensors["decoder.conv_out.bias"] *= float("nan")
    save_file(tensors, copy / "vae/diffusion_pytorch_model.safetensors", PLAIN)
    with pytest.raises(DataCorrupted, match="no numbers"):
        import_model(copy, root, ImportOptions("mine"))


@pytest.mark.parametrize("folder", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_folder_is_named(copy: Path, root: Path, folder: str) -> None:
    shutil.rmtree(copy / folder)
    with pytest.raises(FailedPrecondition, match=f"the model has no (folder )?{folder}"):
        import_model(copy, root, ImportOptions("mine"))


@pytest.mark.parametrize(
    ("file", "values", "told"),
    [
        ("text_encoder/config.json", {"num_hidden_layers": 10**6}, "num_hidden_layers 1e.06, which no model has"),
        ("text_encoder/config.json", {"hidden_size": 10**9}, "hidden_size 1e.09"),
        ("text_encoder/config.json", {"hidden_size": 65536, "intermediate_size": 65536}, "network of [0-9]{11} number"),
        ("text_encoder/config.json", {"num_attention_heads": 0}, "cannot be loaded: ZeroDivisionError"),
        ("text_encoder/config.json", {"hidden_act": "zzz"}, "cannot be loaded"),
        ("vae/config.json", {"scaling_factor": 0}, "scaling_factor 0"),
        ("vae/config.json", {"scaling_factor": "x"}, "scaling_factor x"),
        ("vae/config.json", {"block_out_channels": []}, "cannot be loaded: IndexError"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**10}, "num_train_timesteps 1e.10"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "zzz"}, "describes no walk"),
        ("scheduler/scheduler_config.json", {"beta_start": "a"}, "describes no walk"),
        ("tokenizer/tokenizer.json", {"model": {"type": "Nope"}}, "tokenizer cannot be read"),
        ("tokenizer/tokenizer.json", {"model": []}, "tokenizer cannot be read"),
        ("model_index.json", {"tokenizer": ["x"]}, "tokenizer without a name"),
        ("model_index.json", {"unet": [None, None]}, "lacks unet"),
        ("model_index.json", {"_class_name": "FluxPipeline"}, "FluxPipeline are not served"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(
    copy: Path, root: Path, file: str, values: dict[str, Any], told: str
) -> None:
    changed(copy / file, **values)
    with pytest.raises(DiptychError, match=told):
        import_model(copy, root, ImportOptions("mine"))


def spoil_json(folder: Path) -> None:
    (folder / "text_encoder/config.json").write_text("[" * 100_000)


def spoil_file(folder: Path) -> None:
    (folder / "text_encoder/config.json").unlink()
    (folder / "text_encoder/config.json").mkdir()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(spoil_json, "no JSON text"), (spoil_file, "the model has no")],
)
def test_spoilt_files_are_refused(copy: Path, root: Path, spoil: Callable[[Path], None], told: str) -> None:
    spoil(copy)
    with pytest.raises(DiptychError, match=told):
        import_model(copy, root, ImportOptions("mine"))


def test_a_tokenizer_of_another_model_is_refused(copy: Path, root: Path) -> None:
    path = copy / "tokenizer/tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["whale"] = 10**6
    path.write_text(json.dumps(content))
    with pytest.raises(DataCorrupted, match="tokens up to 1000000"):
        import_model(copy, root, ImportOptions("mine"))


def test_more_layers_than_there_are_cannot_be_left_out(copy: Path, root: Path) -> None:
    with pytest.raises(FailedPrecondition, match="leave out 2 at most"):
        import_model(copy, root, ImportOptions("mine", clip_skip=3))


def test_a_full_disk_is_told_and_leaves_nothing(copy: Path, root: Path) -> None:
    """As a limit on the size of files stands in for a disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[0][1]))
    try:
        with pytest.raises(FailedPrecondition, match="mine cannot be made: File too large"):
            import_model(copy, root, ImportOptions("mine"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    assert list(root.iterdir()) == []


def test_what_killed_imports_left_is_cleared_away_and_running_ones_are_not(root: Path) -> None:
    root.mkdir()
    (root / ".partial-killed/x").mkdir(parents=True)
    with _workplace(root) as running:
        assert not (root / ".partial-killed").exists()
        with _workplace(root) as other:
            assert running.is_dir() and other.is_dir() and running != other


def test_what_is_no_folder_says_how_to_come_by_one(tmp_path: Path) -> None:
    single = tmp_path / "checkpoint.safetensors"
    single.touch()
    with pytest.raises(InvalidRequest, match="from_single_file"):
        import_model(single, tmp_path, ImportOptions("mine"))
    with pytest.raises(InvalidRequest, match="up to 100"):
        import_model(tmp_path, tmp_path, ImportOptions("a" * 300))


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"down": torch.ones(4, 32), "up": torch.ones(16, 8)}, "no pair of matrices"),
        ({"down": torch.tensor(1.0), "up": torch.tensor(1.0)}, "no pair of matrices"),
        ({"down": torch.zeros(0, 32), "up": torch.zeros(16, 0)}, "no pair of matrices"),
        ({"down": torch.ones(4, 32), "up": torch.ones(16, 4), "alpha": torch.ones(4)}, "no pair of matrices"),
        ({"emb_params": torch.ones(1, 32)}, "emb_params, which is no plain LoRA"),
        ({}, "holds nothing, which is no plain LoRA"),
    ],
)
def test_a_spoilt_adapter_is_refused(
    copy: Path, root: Path, tmp_path: Path, tensors: dict[str, torch.Tensor], told: str
) -> None:
    base = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v"
    names = {"down": f"{base}.lora_down.weight", "up": f"{base}.lora_up.weight", "alpha": f"{base}.alpha"}
    save_file({names.get(key, key): tensor for key, tensor in tensors.items()}, tmp_path / "lora.safetensors")
    with pytest.raises(FailedPrecondition, match=told):
        import_model(copy, root, ImportOptions("mine", loras=((tmp_path / "lora.safetensors", 1.0),)))
