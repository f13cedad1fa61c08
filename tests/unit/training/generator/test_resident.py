"""A run as a GPU drives it, tried on the CPU: the data, the plan, the clock, the checkpoint."""

import itertools
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.generator import resident, run
from training.generator.denoiser import build_denoiser
from training.generator.latents import PatchCode
from training.generator.prepare import read_config
from training.generator.train import FlowMatching

TOY = {
    "block_out_channels": [16, 16],
    "attention_head_dim": 2,
    "norm_num_groups": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with twenty pictures of one grey each."""
    pictures = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None] * 10, (20, 64, 64, 3))
    np.save(tmp_path / "pictures.npy", pictures)
    np.save(tmp_path / "captions.npy", np.arange(1, 21, dtype=np.int32))
    embeddings = np.broadcast_to(np.arange(21, dtype=np.float16)[:, None, None], (21, 16, 384))
    np.save(tmp_path / "embeddings.npy", embeddings)
    latents = read_config()["latents"]
    code = PatchCode(latents["patch"], latents["channels"])
    code.forward_matrix.copy_(torch.eye(latents["channels"], code.forward_matrix.shape[1]))
    torch.save(code.state_dict(), tmp_path / "code.pt")
    return tmp_path


def test_a_sample_keeps_its_caption(work: Path) -> None:
    latents = read_config()["latents"]
    code = PatchCode(latents["patch"], latents["channels"])
    code.load_state_dict(torch.load(work / "code.pt", weights_only=True))
    samples = resident.ResidentSamples(work, code, read_config()["data"] | {"negated_conditions": 0.5}, 400, "cpu")
    torch.manual_seed(0)
    shown, states = samples.next()
    greys = ((shown[:, 0, 0, 0] + 1) * 12.75).round()
    captions = states[:, 0, 0]
    assert ((captions == 0) | (captions == greys + 1)).all()
    assert 0.4 < (captions == 0).float().mean() < 0.6
    assert len(greys.unique()) == 20


def test_a_plan_may_change_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    plan = resident.Plan(tmp_path / "plan.json", 2.0)
    plan.look()
    assert (plan.minutes, plan.stop) == (2.0, False)
    for text, wanted in (('{"minutes": 3}', (3.0, False)), ('{"minu', (3.0, False)), ('{"stop": true}', (3.0, True))):
        plan.path.write_text(text)
        plan.read = -resident.READ
        plan.look()
        assert (plan.minutes, plan.stop) == wanted


def test_a_pause_is_no_training() -> None:
    clock = resident.ActiveClock(10.0)
    clock.last = time.monotonic() - 0.5
    clock.tick()
    assert 10.4 < clock.seconds < 12
    clock.last = time.monotonic() - resident.PAUSE - 60
    clock.tick()
    assert clock.seconds < 12


def toy_run(work: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """A run of a toy of the true architecture, told to stop after `steps`."""
    looks = itertools.count(1)

    def look(plan: resident.Plan) -> None:
        plan.stop = next(looks) >= steps

    monkeypatch.setattr(resident.Plan, "look", look)
    config = read_config()
    config["denoiser"] |= TOY
    for module in (run, resident):
        monkeypatch.setattr(module, "read_config", lambda: config)
    options = Namespace(work=work, device="cpu", resident=True, eager=True, batch=8, minutes=60)
    settings = run.settings_for(config["training"], options)
    run.start(FlowMatching(0.9, 1.3), settings, options, name="checkpoint", fresh={})


@pytest.mark.filterwarnings("ignore")
def test_a_run_saves_and_goes_on(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "SAID", 0.0)
    toy_run(work, monkeypatch, 3)
    first: dict[str, Any] = torch.load(work / "checkpoint.pt", weights_only=True)
    assert first["progress"]["step"] == 3
    assert first["progress"]["pictures"] == 8 * 3
    fresh = build_denoiser(read_config()["denoiser"] | TOY)
    assert first["ema"].keys() == dict(fresh.named_parameters()).keys()
    toy_run(work, monkeypatch, 2)
    second = torch.load(work / "checkpoint.pt", weights_only=True)["progress"]
    assert second["step"] == 5 and second["seconds"] >= first["progress"]["seconds"]
