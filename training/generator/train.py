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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
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
        index = json.loads((work / "index.json").read_text())
        owner = [index["drawings"][variant["drawing"]]["concept"] for variant in index["variants"]]
        weight = np.asarray([index["concepts"][number]["weight"] for number in owner], np.float64)
        pack = np.asarray([index["drawings"][variant["drawing"]]["pack"] for variant in index["variants"]])
        shown = np.asarray(config["training"]["pack_shares"], np.float64)[pack[self.samples[:, 0]]]
        chance = shown * weight[self.samples[:, 0]] ** config["training"]["emphasis"]
        self.bounds = np.cumsum(chance / chance.sum())
        self.rng = np.random.default_rng(seed)

    def next(self) -> tuple[Tensor, Tensor]:
        """One batch, with fresh shifts and dropped captions."""
        chosen = np.searchsorted(self.bounds, self.rng.random(self.batch))
        rows = self.samples[np.minimum(chosen, len(self.samples) - 1)]
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


def loss_of(model: UNet2DConditionModel, latents: Tensor, states: Tensor, settings: dict[str, Any]) -> Tensor:
    """Mean squared error of the velocity noise - latents at logit-normal noise levels (Esser et al. 2024)."""
    sigma = torch.sigmoid(torch.randn(len(latents)) * settings["sigma_deviation"] + settings["sigma_mean"])
    noise = torch.randn_like(latents)
    mix = sigma[:, None, None, None]
    noisy = (1 - mix) * latents + mix * noise
    with torch.autocast("cpu", torch.bfloat16, enabled=settings["bfloat16"]):
        velocity = model(noisy, sigma * 1000, states).sample
    return (velocity.float() - (noise - latents)).square().mean()


def learning_rate(step: int, spent: float, settings: dict[str, Any]) -> float:
    """Linear warm-up by steps, then a cosine over the planned time; `spent` is the part of it that is over."""
    warm = min(1, (step + 1) / settings["warmup"])
    return float(settings["learning_rate"] * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, spent))))


@dataclass
class Run:
    """What the processes of a run share: the weights, the counters of pictures and steps, and the clock."""

    work: Path
    model: UNet2DConditionModel
    counters: Tensor  # (processes,) int64: optimiser steps made by each process
    optimizer: dict[str, Any] | None  # the state to start from
    steps: int  # made before this start
    pictures: int  # seen before this start
    seconds: float  # spent before this start
    began: float  # monotonic clock, one for all processes of a machine
    until: float  # seconds of training after which to stop

    @property
    def spent(self) -> float:
        """Seconds of training so far."""
        return self.seconds + time.monotonic() - self.began


def train(rank: int, run: Run, ema: list[Tensor]) -> None:
    """One of the training processes; process 0 keeps the averaged weights, the log and the checkpoints."""
    config = read_config()
    settings = config["training"]
    torch.set_num_threads(1)
    seed = config["seed"] + 1000 * run.steps + rank
    torch.manual_seed(seed)
    samples = Samples(run.work, load_code(run.work), config, seed)
    parameters = list(run.model.parameters())
    optimizer = torch.optim.AdamW(parameters, 1e-4, (0.9, 0.99), weight_decay=settings["weight_decay"], foreach=True)
    if run.optimizer is not None:
        optimizer.load_state_dict(run.optimizer)
    losses: list[float] = []
    saved = time.monotonic()
    while run.spent < run.until:
        loss = loss_of(run.model, *samples.next(), settings)
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        steps = run.steps + int(run.counters.sum())
        optimizer.param_groups[0]["lr"] = learning_rate(steps, run.spent / 60 / settings["minutes"], settings)
        optimizer.step()
        run.counters[rank] += 1
        losses.append(float(loss.detach()))
        if rank != 0:
            continue
        torch._foreach_lerp_(
            ema, [p.detach() for p in parameters], 1 - min(settings["ema"], (1 + steps) / (20 + steps))
        )
        if len(losses) == 50:
            report(run, losses, optimizer.param_groups[0]["lr"], settings["batch"])
            losses.clear()
        if time.monotonic() - saved > 180:
            save(run, ema, optimizer, settings["batch"])
            saved = time.monotonic()
    if rank == 0:
        save(run, ema, optimizer, settings["batch"])


def progress_of(run: Run, batch: int) -> dict[str, float]:
    """Steps, pictures and seconds so far, over all starts."""
    made = int(run.counters.sum())
    return {"step": run.steps + made, "pictures": run.pictures + made * batch, "seconds": round(run.spent, 1)}


def report(run: Run, losses: list[float], rate: float, batch: int) -> None:
    """Appends one line to the log."""
    line = progress_of(run, batch)
    with (run.work / "log.jsonl").open("a") as log:
        log.write(json.dumps(line | {"loss": round(sum(losses) / len(losses), 4), "rate": rate}) + "\n")


def save(run: Run, ema: list[Tensor], optimizer: torch.optim.Optimizer, batch: int) -> None:
    """Writes the checkpoint in one move, so that a kill leaves the previous one whole."""
    names = [name for name, _ in run.model.named_parameters()]
    state = {
        "model": run.model.state_dict(),
        "ema": dict(zip(names, ema, strict=True)),
        "optimizer": optimizer.state_dict(),
        "progress": progress_of(run, batch),
    }
    torch.save(state, run.work / "checkpoint.tmp")
    os.replace(run.work / "checkpoint.tmp", run.work / "checkpoint.pt")


def start(work: Path, processes: int, minutes: float | None) -> tuple[Run, list[Tensor]]:
    """The run and its averaged weights: from the checkpoint, or fresh."""
    config = read_config()
    torch.manual_seed(config["seed"])
    model = build_denoiser(config["denoiser"])
    model.set_attn_processor(AttnProcessor())  # the fused one is slow on a CPU at these sizes
    path = work / "checkpoint.pt"
    state: dict[str, Any] = torch.load(path, weights_only=True) if path.exists() else {}
    if state:
        model.load_state_dict(state["model"])
    progress = state.get("progress", {"step": 0, "pictures": 0, "seconds": 0.0})
    ema = list(state["ema"].values()) if state else [p.detach().clone() for p in model.parameters()]
    planned = config["training"]["minutes"] * 60
    until = planned if minutes is None else min(planned, progress["seconds"] + 60 * minutes)
    counters = torch.zeros(processes, dtype=torch.int64).share_memory_()
    run = Run(
        work,
        model.share_memory(),
        counters,
        state.get("optimizer"),
        progress["step"],
        progress["pictures"],
        progress["seconds"],
        time.monotonic(),
        until,
    )
    return run, ema


def main() -> None:
    """Trains until the planned time is spent, or for `--minutes`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=None, help="stop earlier; a later run resumes")
    options = parser.parse_args()
    mp.spawn(train, start(options.work, options.processes, options.minutes), nprocs=options.processes)


if __name__ == "__main__":
    main()
