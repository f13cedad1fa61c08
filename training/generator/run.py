"""A training run: several processes on shared weights on a CPU, or one on a GPU; it resumes from its checkpoint.

The processes take their steps on the same weights without waiting for one another (Niu et al. 2011, Hogwild): on two
cores that is faster than two threads and loses nothing that could be measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.optim import AdamW, Optimizer

from training.generator import resident
from training.generator.denoiser import build_denoiser, place
from training.generator.latents import load_code
from training.generator.muon import Muon
from training.generator.prepare import read_config
from training.generator.samples import Samples

# The loss of a batch: the denoiser, latents (B, C, H, W) and text states (B, L, D) in, a scalar out.
Objective = Callable[[UNet2DConditionModel, Tensor, Tensor], Tensor]
EDGES = ("conv_in", "conv_out", "position")  # of the network: they want Adam


@dataclass
class Run:
    """What the processes of a run share: the weights, the counters, and the clock."""

    work: Path
    name: str  # of the checkpoint and the log
    device: str
    settings: dict[str, Any]
    objective: Objective
    model: UNet2DConditionModel
    ema: list[Tensor]
    counters: Tensor  # (processes,) int64: optimiser steps made by each process
    optimizers: list[dict[str, Any]] | None  # the states to start from
    steps: int  # made before this start
    pictures: int  # seen before this start
    seconds: float  # spent before this start
    until: float  # seconds of training after which to stop
    began: float = field(default_factory=time.monotonic)  # one clock for all processes of a machine

    @property
    def spent(self) -> float:
        """Seconds of training so far."""
        return self.seconds + time.monotonic() - self.began

    def progress(self) -> dict[str, float]:
        """Steps, pictures and seconds so far, over all starts."""
        made = int(self.counters.sum())
        pictures = self.pictures + made * self.settings["batch"]
        return {"step": self.steps + made, "pictures": pictures, "seconds": round(self.spent, 1)}

    def report(self, losses: list[float], rate: float) -> None:
        """Appends one line to the log."""
        line = self.progress() | {"loss": round(sum(losses) / len(losses), 4), "rate": rate}
        with (self.work / f"{self.name}.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def save(self, optimizers: list[Optimizer]) -> None:
        """Writes the checkpoint in one move, so that a kill leaves the previous one whole."""
        names = [name for name, _ in self.model.named_parameters()]
        state = {
            "model": self.model.state_dict(),
            "ema": dict(zip(names, self.ema, strict=True)),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "progress": self.progress(),
        }
        torch.save(state, self.work / f"{self.name}.tmp")
        os.replace(self.work / f"{self.name}.tmp", self.work / f"{self.name}.pt")


def learning_rate(step: int, spent: float, settings: dict[str, Any]) -> float:
    """Linear warm-up by steps, then a cosine over the planned time; `spent` is the part of it that is over."""
    warm = min(1, (step + 1) / settings["warmup"])
    return float(settings["learning_rate"] * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, spent))))


def build_optimizers(model: UNet2DConditionModel, settings: dict[str, Any]) -> list[Optimizer]:
    """Muon for the matrices inside, AdamW for biases, norms and both edges of the network."""
    inner = [p for n, p in model.named_parameters() if p.ndim > 1 and not any(edge in n for edge in EDGES)]
    taken = {id(parameter) for parameter in inner}
    outer = [p for p in model.parameters() if id(p) not in taken]
    decay = settings["weight_decay"]
    adam = AdamW(outer, 1e-4, (0.9, 0.99), weight_decay=decay, foreach=True)
    return [Muon(inner, 1e-4, weight_decay=decay), adam]


def resumed(optimizers: list[Optimizer], states: list[dict[str, Any]] | None) -> list[Optimizer]:
    """The optimisers with the states of a checkpoint, where there are any."""
    for optimizer, state in zip(optimizers, states or (), strict=False):
        optimizer.load_state_dict(state)
    return optimizers


def work_on(rank: int, run: Run) -> None:
    """One of the training processes; process 0 keeps the averaged weights, the log and the checkpoints."""
    config, settings = read_config(), run.settings
    if run.device == "cpu":
        torch.set_num_threads(1)
    seed = config["seed"] + 1000 * run.steps + rank
    torch.manual_seed(seed)
    samples = Samples(run.work, load_code(run.work), config["data"], settings["batch"], seed)
    parameters = list(run.model.parameters())
    optimizers = resumed(build_optimizers(run.model, settings), run.optimizers)
    losses: list[float] = []
    saved = time.monotonic()
    while run.spent < run.until:
        latents, states = (part.to(run.device) for part in samples.next())
        loss = run.objective(run.model, latents.to(memory_format=torch.channels_last), states)
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        steps = run.steps + int(run.counters.sum())
        rate = learning_rate(steps, run.spent / 60 / settings["minutes"], settings)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        run.counters[rank] += 1
        losses.append(float(loss.detach()))
        if rank != 0:
            continue
        kept = min(settings["ema"], (1 + steps) / (20 + steps))
        torch._foreach_lerp_(run.ema, [p.detach() for p in parameters], 1 - kept)
        if len(losses) == 25:
            run.report(losses, rate)
            losses.clear()
        if time.monotonic() - saved > 120:
            run.save(optimizers)
            saved = time.monotonic()
    if rank == 0:
        run.save(optimizers)


def start(
    objective: Objective, settings: dict[str, Any], options: argparse.Namespace, *, name: str, fresh: dict[str, Any]
) -> None:
    """Trains until the planned time is spent or for `options.minutes`: from the checkpoint `name`, else from `fresh`.

    `fresh` holds `model` and `ema` weights by name; without them the weights are random.
    """
    config = read_config()
    torch.manual_seed(config["seed"])
    model = build_denoiser(config["denoiser"])
    path = options.work / f"{name}.pt"
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu") if path.exists() else fresh
    if state:
        model.load_state_dict(state["model"])
    place(model, options.device)
    parameters = [p.detach() for p in model.parameters()]
    kept = state["ema"].values() if state else parameters
    progress = state.get("progress", {"step": 0, "pictures": 0, "seconds": 0.0})
    if options.resident:
        resident.train(
            resident.Resident(
                name=name,
                options=options,
                settings=settings,
                model=model,
                ema=[torch.empty_like(p).copy_(k) for p, k in zip(parameters, kept, strict=True)],
                optimizers=resumed(build_optimizers(model, settings), state.get("optimizers")),
                progress=progress,
                plan=resident.Plan(options.work / f"{name}.plan.json", options.minutes or settings["minutes"]),
                clock=resident.ActiveClock(progress["seconds"]),
            ),
            objective,
            learning_rate,
            eager=options.eager,
        )
        return
    planned = settings["minutes"] * 60
    processes = options.processes if options.device == "cpu" else 1
    run = Run(
        work=options.work,
        name=name,
        device=options.device,
        settings=settings,
        objective=objective,
        model=model,
        ema=[torch.empty_like(p).copy_(k) for p, k in zip(parameters, kept, strict=True)],
        counters=torch.zeros(processes, dtype=torch.int64).share_memory_(),
        optimizers=state.get("optimizers"),
        steps=progress["step"],
        pictures=progress["pictures"],
        seconds=progress["seconds"],
        until=planned if options.minutes is None else min(planned, progress["seconds"] + 60 * options.minutes),
    )
    if processes == 1:
        work_on(0, run)
    else:
        mp.spawn(work_on, (run,), nprocs=processes)


def read_options(description: str | None, *, guidance: float | None = None) -> argparse.Namespace:
    """The options that all runs share; `guidance` is the default of a run that has one."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processes", type=int, default=2, help="on a CPU; a GPU is driven by one")
    parser.add_argument("--minutes", type=float, default=None, help="stop earlier; a later run resumes")
    parser.add_argument("--resident", action="store_true", help="drive a CPU as a GPU is driven, to try it")
    parser.add_argument("--eager", action="store_true", help="on a GPU: do not compile")
    parser.add_argument("--batch", type=int, default=None, help="another batch than the recipe's")
    if guidance is not None:
        parser.add_argument("--guidance", type=float, default=guidance, help="of the teacher, learnt by the student")
        parser.add_argument("--warm", action="store_true", help="only compile, before there is a teacher")
    options = parser.parse_args()
    options.resident |= options.device != "cpu"
    return options


def settings_for(table: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """A table of the recipe, with its part for GPUs laid over it on one."""
    settings = table | table["gpu"] if options.resident else dict(table)
    return settings | ({"batch": options.batch} if options.batch else {})
