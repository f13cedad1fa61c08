"""Trains the denoiser by flow matching, in several processes that average their gradients; resumes by itself.

    python -m training.generator.train --work .build/generator --processes 2

Writes checkpoint.pt (everything a resumed run needs) and log.jsonl. The learning rate follows the training time
already spent against `training.minutes`, so a run may be stopped and resumed at any step.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from diffusers import UNet2DConditionModel
from torch import Tensor

from training.generator.latents import PatchCode, composite, load_code
from training.generator.prepare import read_config


def build_denoiser(settings: dict[str, Any]) -> UNet2DConditionModel:
    """The denoiser of the recipe with fresh weights."""
    return UNet2DConditionModel(**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})


def load_denoiser(work: Path, *, averaged: bool = True) -> UNet2DConditionModel:
    """The denoiser of a work folder, with the averaged weights unless told otherwise."""
    state = torch.load(work / "checkpoint.pt", weights_only=True)
    model = build_denoiser(read_config()["denoiser"])
    model.load_state_dict(state["ema"] if averaged else state["model"])
    return model.eval().requires_grad_(False)


class Samples:
    """Endless training batches: (latents (B, C, 16, 16), token embeddings (B, 16, 384))."""

    def __init__(self, work: Path, code: PatchCode, config: dict[str, Any], seed: int) -> None:
        self.data, self.batch, self.code = config["data"], config["training"]["batch"], code
        self.variants = np.load(work / "variants.npy", mmap_mode="r")
        self.embeddings = np.load(work / "embeddings.npy", mmap_mode="r")
        self.samples = np.load(work / "samples.npy")
        self.rng = np.random.default_rng(seed)

    def next(self) -> tuple[Tensor, Tensor]:
        """One batch, with fresh shifts and dropped captions."""
        rows = self.samples[self.rng.integers(len(self.samples), size=self.batch)]
        pictures = np.stack([self._placed(self.variants[row[0]]) for row in rows])
        latents = self.code.encode(composite(pictures, rows[:, 1:4].astype(np.uint8)))
        captions = np.where(self.rng.random(self.batch) < self.data["negated_conditions"], 0, rows[:, 4])
        return latents, torch.from_numpy(self.embeddings[captions].astype(np.float32))

    def _placed(self, picture: np.ndarray) -> np.ndarray:
        reach = self.data["max_shift"]
        down, right = self.rng.integers(-reach, reach + 1, size=2)
        moved = np.zeros_like(picture)
        height, width = picture.shape[:2]
        moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = picture[
            max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
        return moved


@dataclass
class Progress:
    """How far a run is: optimiser steps, pictures seen, seconds of training spent."""

    step: int = 0
    pictures: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)


def loss_of(model: UNet2DConditionModel, latents: Tensor, states: Tensor, settings: dict[str, Any]) -> Tensor:
    """Mean squared error of the velocity noise - latents at logit-normal noise levels (Esser et al. 2024)."""
    sigma = torch.sigmoid(torch.randn(len(latents)) * settings["sigma_deviation"] + settings["sigma_mean"])
    noise = torch.randn_like(latents)
    mix = sigma[:, None, None, None]
    noisy = (1 - mix) * latents + mix * noise
    velocity = model(noisy, sigma * 1000, states).sample
    return (velocity - (noise - latents)).square().mean()


def learning_rate(progress: Progress, settings: dict[str, Any]) -> float:
    """Linear warm-up by steps, then a cosine over the planned time."""
    spent = min(1.0, progress.seconds / 60 / settings["minutes"])
    return float(
        settings["learning_rate"]
        * min(1, (progress.step + 1) / settings["warmup"])
        * 0.5
        * (1 + math.cos(math.pi * spent))
    )


def average_gradients(model: UNet2DConditionModel, processes: int) -> None:
    """Replaces every gradient by its mean over the processes, in one flat message."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.view(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= processes
    torch._foreach_copy_(
        gradients,
        [part.view_as(g) for part, g in zip(flat.split([g.numel() for g in gradients]), gradients, strict=True)],
    )


def save(
    work: Path, model: UNet2DConditionModel, ema: list[Tensor], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Writes the checkpoint in one move, so that a kill leaves the previous one whole."""
    names = [name for name, _ in model.named_parameters()]
    state = {
        "model": model.state_dict(),
        "ema": dict(zip(names, ema, strict=True)),
        "optimizer": optimizer.state_dict(),
        "progress": {"step": progress.step, "pictures": progress.pictures, "seconds": progress.seconds},
    }
    torch.save(state, work / "checkpoint.tmp")
    os.replace(work / "checkpoint.tmp", work / "checkpoint.pt")


def train(rank: int, processes: int, work: Path, minutes: float | None) -> None:
    """One of the training processes; process 0 writes log and checkpoints."""
    config = read_config()
    settings = config["training"]
    torch.set_num_threads(1)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29533")
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    torch.manual_seed(config["seed"])
    model = build_denoiser(config["denoiser"])
    optimizer = torch.optim.AdamW(
        model.parameters(), 1e-4, (0.9, 0.99), weight_decay=settings["weight_decay"], foreach=True
    )
    progress = Progress()
    parameters = list(model.parameters())
    ema = [p.detach().clone() for p in parameters]
    if (work / "checkpoint.pt").exists():
        state = torch.load(work / "checkpoint.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema = list(state["ema"].values())
        progress = Progress(**state["progress"])
    seed = config["seed"] + 1000 * progress.step + rank
    torch.manual_seed(seed)
    samples = Samples(work, load_code(work), config, seed)
    started, last, saved = progress.seconds, time.monotonic(), time.monotonic()
    while progress.seconds < 60 * settings["minutes"] and (
        minutes is None or progress.seconds - started < 60 * minutes
    ):
        loss = loss_of(model, *samples.next(), settings)
        optimizer.zero_grad()
        loss.backward()
        average_gradients(model, processes)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        clock = torch.tensor([time.monotonic() - last if rank == 0 else 0.0])
        last = time.monotonic()
        dist.broadcast(clock, 0)
        progress.seconds += float(clock)
        optimizer.param_groups[0]["lr"] = learning_rate(progress, settings)
        optimizer.step()
        progress.step += 1
        progress.pictures += settings["batch"] * processes
        progress.losses.append(float(loss.detach()))
        if rank == 0:
            decay = min(settings["ema"], (1 + progress.step) / (20 + progress.step))
            torch._foreach_lerp_(ema, [p.detach() for p in parameters], 1 - decay)
            if progress.step % 50 == 0:
                report(work, progress, optimizer.param_groups[0]["lr"])
            if time.monotonic() - saved > 180:
                save(work, model, ema, optimizer, progress)
                saved = time.monotonic()
    if rank == 0:
        save(work, model, ema, optimizer, progress)
    dist.destroy_process_group()


def report(work: Path, progress: Progress, rate: float) -> None:
    """Appends one line to the log and starts a new mean."""
    mean = sum(progress.losses) / len(progress.losses)
    line = {"step": progress.step, "pictures": progress.pictures, "minutes": round(progress.seconds / 60, 2)}
    with (work / "log.jsonl").open("a") as log:
        log.write(json.dumps(line | {"loss": round(mean, 4), "rate": rate}) + "\n")
    progress.losses.clear()


def main() -> None:
    """Trains until the planned time is spent, or for `--minutes`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=None, help="stop earlier; a later run resumes")
    options = parser.parse_args()
    mp.spawn(train, (options.processes, options.work, options.minutes), nprocs=options.processes)


if __name__ == "__main__":
    main()
