"""A training run on a GPU: the data lies there, the step is compiled, and the plan may change while it runs.

One line of progress every few seconds, a checkpoint every minute. `NAME.plan.json` in the work folder is read again and
again: {"minutes": 6.5} moves the end (the learning rate follows), {"stop": true} ends the run at once; so does SIGTERM.
Both save first. While the process stands still (SIGSTOP) its clock does too.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
import traceback
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.optim import Optimizer

from training.generator.latents import PatchCode, load_code
from training.generator.prepare import read_config

PAUSE = 5.0  # seconds; a step that takes longer was a pause of the process
SAID, SAVED, READ = 5.0, 60.0, 2.0  # seconds between lines of progress, checkpoints, looks at the plan
READY = "captions.npy"  # what `condition` writes last

Objective = Callable[..., Tensor]
Rate = Callable[[int, float, dict[str, Any]], float]


class ResidentSamples:
    """Endless training batches out of pictures and embeddings that lie on the device."""

    def __init__(self, work: Path, code: PatchCode, data: dict[str, Any], batch: int, device: str) -> None:
        self.batch, self.reach, self.dropped = batch, data["max_shift"], data["negated_conditions"]
        self.pictures = torch.from_numpy(np.load(work / "pictures.npy")).to(device)
        self.captions = torch.from_numpy(np.load(work / READY)).long().to(device)
        self.embeddings = torch.from_numpy(np.load(work / "embeddings.npy")).to(device)
        self.code = code.to(device)
        self.cells = torch.arange(self.pictures.shape[1], device=device)

    def next(self) -> tuple[Tensor, Tensor]:
        """Latents (B, C, 16, 16) and token embeddings (B, 16, 384), with fresh shifts and dropped captions."""
        device, last = self.pictures.device, len(self.cells) - 1
        rows = torch.randint(len(self.pictures), (self.batch,), device=device)
        moves = torch.randint(-self.reach, self.reach + 1, (2, self.batch, 1), device=device)
        down, right = (self.cells + moves).clamp(0, last)
        pixels = self.pictures[rows[:, None, None], down[:, :, None], right[:, None, :]]
        captions = self.captions[rows].masked_fill(torch.rand(self.batch, device=device) < self.dropped, 0)
        latents = self.code.encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
        return latents.contiguous(memory_format=torch.channels_last), self.embeddings[captions].float()


@dataclass
class Plan:
    """How long the run lasts, as its file says at the moment."""

    path: Path
    minutes: float
    stop: bool = False
    read: float = field(default=-READ)

    def look(self) -> None:
        """Reads the file again where it is time; what cannot be read changes nothing."""
        if time.monotonic() - self.read < READ:
            return
        self.read = time.monotonic()
        if not self.path.exists():
            return
        try:
            said = json.loads(self.path.read_text())
            minutes, stop = float(said.get("minutes", self.minutes)), bool(said.get("stop", False))
        except (ValueError, AttributeError, TypeError) as error:
            print(f"the plan {self.path} cannot be read: {error}", flush=True)
            return
        if (minutes, stop) != (self.minutes, self.stop):
            print(f"the plan is now {minutes} minutes, stop {stop}", flush=True)
        self.minutes, self.stop = minutes, stop


@dataclass
class ActiveClock:
    """The seconds spent in steps; time in which the process stood still is left out."""

    seconds: float
    last: float = field(default_factory=time.monotonic)

    def tick(self) -> None:
        """After every step."""
        now = time.monotonic()
        if now - self.last < PAUSE:
            self.seconds += now - self.last
        self.last = now


@dataclass
class Resident:
    """The state of a run."""

    name: str
    options: Namespace
    settings: dict[str, Any]
    model: UNet2DConditionModel
    ema: list[Tensor]
    optimizers: list[Optimizer]
    progress: dict[str, float]
    plan: Plan
    clock: ActiveClock

    def save(self) -> None:
        """Writes the checkpoint in one move, so that a kill leaves the previous one whole."""
        work = self.options.work
        names = [name for name, _ in self.model.named_parameters()]
        state = {
            "model": self.model.state_dict(),
            "ema": dict(zip(names, self.ema, strict=True)),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": self.progress,
        }
        torch.save(state, work / f"{self.name}.tmp")
        os.replace(work / f"{self.name}.tmp", work / f"{self.name}.pt")

    def report(self, losses: list[Tensor], rate: float, speed: float) -> None:
        """One line to the log and to standard output. ValueError when the loss is no number any more."""
        loss = float(torch.stack(losses).mean())
        line = self.progress | {"loss": round(loss, 4), "rate": rate, "pictures_per_second": round(speed)}
        with (self.options.work / f"{self.name}.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(
            f"{self.name}: {line['pictures']:,.0f} pictures, {speed:,.0f} img/s, loss {loss:.4f}, rate {rate:.2e}, "
            f"{self.clock.seconds:.0f} of {self.plan.minutes * 60:.0f} s",
            flush=True,
        )
        if not math.isfinite(loss):
            raise ValueError("the loss is no number; start again: the run goes on from its last checkpoint")


def warm_up(model: UNet2DConditionModel, objective: Objective, batch: int, device: str) -> None:
    """Compiles everything that a step needs, on noise. Where that fails all of it runs uncompiled, and it is said."""
    config, began = read_config(), time.monotonic()
    channels, cells = config["denoiser"]["in_channels"], config["denoiser"]["sample_size"]
    latents = torch.randn(batch, channels, cells, cells, device=device).contiguous(memory_format=torch.channels_last)
    states = torch.randn(batch, config["data"]["tokens"], config["denoiser"]["cross_attention_dim"], device=device)
    try:
        for _ in range(2):
            torch.autograd.grad(objective(model, latents, states), list(model.parameters()))
    except Exception:
        traceback.print_exc()
        print("COMPILING FAILED: going on uncompiled, slower", flush=True)
        torch.compiler.set_stance("force_eager")
        torch.autograd.grad(objective(model, latents, states), list(model.parameters()))
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        print(f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most", flush=True)
    print(f"warm after {time.monotonic() - began:.1f} s", flush=True)


def wait_for_data(work: Path) -> None:
    """Until `condition` has written everything."""
    while not (work / READY).exists():
        print("waiting for the data", flush=True)
        time.sleep(5)


def train(run: Resident, objective: Objective, rate_of: Rate, *, eager: bool) -> None:
    """Trains until the plan is over."""
    settings, device, work = run.settings, run.options.device, run.options.work
    torch.set_float32_matmul_precision("high")
    model: Any = run.model if eager else torch.compile(run.model, dynamic=False)
    warm_up(model, objective, settings["batch"], device)
    wait_for_data(work)
    config = read_config()
    samples = ResidentSamples(work, load_code(work), config["data"], settings["batch"], device)
    print(f"{len(samples.pictures):,} pictures and {len(samples.embeddings):,} captions on {device}", flush=True)
    torch.manual_seed(config["seed"] + 1000 + int(run.progress["step"]))
    signal.signal(signal.SIGTERM, lambda *_: setattr(run.plan, "stop", True))
    run.clock.last = said = saved = time.monotonic()
    told, pictures, losses = run.clock.seconds, 0, []
    parameters = list(run.model.parameters())
    while not run.plan.stop and run.clock.seconds < run.plan.minutes * 60:
        loss, rate = advance(run, model, samples, objective, rate_of, parameters)
        losses.append(loss)
        pictures += settings["batch"]
        run.clock.tick()
        run.progress["seconds"] = round(run.clock.seconds, 1)
        if len(losses) % 10 == 0 and time.monotonic() - said > SAID:
            run.report(losses, rate, pictures / max(run.clock.seconds - told, 1e-3))
            losses, pictures, told, said = [], 0, run.clock.seconds, time.monotonic()
        if time.monotonic() - saved > SAVED:
            run.save()
            saved = time.monotonic()
        run.plan.look()
    run.save()
    print(f"{run.name}: over after {run.progress}", flush=True)


def advance(
    run: Resident, model: Any, samples: ResidentSamples, objective: Objective, rate_of: Rate, parameters: list[Tensor]
) -> tuple[Tensor, float]:
    """One step; its loss, still on the device, and its learning rate."""
    loss = objective(model, *samples.next())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    steps = int(run.progress["step"])
    rate = rate_of(steps, run.clock.seconds / 60 / run.plan.minutes, run.settings)
    for optimizer in run.optimizers:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    kept = min(run.settings["ema"], (1 + steps) / (20 + steps))
    torch._foreach_lerp_(run.ema, [p.detach() for p in parameters], 1 - kept)
    run.progress["step"] += 1
    run.progress["pictures"] += run.settings["batch"]
    return loss.detach(), rate
