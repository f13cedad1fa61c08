"""Distils the denoiser into one that needs few steps and no guidance.

    python -m training.generator.distil --work .build/generator

One step of the student does what `substeps` guided steps of its teacher do (Salimans and Ho 2022, Progressive
Distillation; Meng et al. 2023, On Distillation of Guided Diffusion Models). Reads checkpoint.pt, writes student.pt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from training.generator.denoiser import build_denoiser, load_denoiser, place, velocity_of
from training.generator.prepare import read_config
from training.generator.resident import warm_up
from training.generator.run import read_options, settings_for, start


@dataclass(frozen=True)
class Distillation:
    """Mean squared error of the student's velocity against the mean one of its teacher over the student's step."""

    teacher: UNet2DConditionModel
    empty: Tensor  # (1, L, D) states of the empty caption
    steps: int
    substeps: int
    guidance: float

    def __call__(self, model: UNet2DConditionModel, latents: Tensor, states: Tensor) -> Tensor:
        """The loss of a batch; every row begins at one of the student's noise levels."""
        rows = len(latents)
        begin = torch.randint(1, self.steps + 1, (rows,), device=latents.device) / self.steps
        mix = begin[:, None, None, None]
        noisy = (1 - mix) * latents + mix * torch.randn_like(latents)
        with torch.no_grad():
            target = self._walk(noisy, begin, states)
        return (velocity_of(model, noisy, begin, states) - target).square().mean()

    def _walk(self, noisy: Tensor, begin: Tensor, states: Tensor) -> Tensor:
        """The teacher's mean velocity over one step of the student."""
        empty = self.empty.to(states.device).expand_as(states)
        both, now = torch.cat([states, empty]), noisy
        length = 1 / (self.steps * self.substeps)
        for number in range(self.substeps):
            sigma = begin - number * length
            told, untold = velocity_of(self.teacher, now.repeat(2, 1, 1, 1), sigma.repeat(2), both).chunk(2)
            now = now - length * (untold + self.guidance * (told - untold))
        return (noisy - now) * self.steps


def main() -> None:
    """Distils until the planned time is spent, or for `--minutes`; with `--warm` only compiles, for a later start."""
    config = read_config()
    options = read_options(__doc__, guidance=config["sampling"]["guidance"])
    settings = settings_for(config["distillation"], options)
    if options.warm:
        teacher, empty = build_denoiser(config["denoiser"]).eval().requires_grad_(False), torch.zeros(1, 16, 384)
    else:
        teacher = load_denoiser(options.work / "checkpoint.pt")
        empty = torch.from_numpy(np.load(options.work / "embeddings.npy", mmap_mode="r")[:1].astype(np.float32))
    place(teacher, options.device)
    weights = dict(teacher.state_dict())
    drawn: Any = torch.compile(teacher, dynamic=False) if options.resident and not options.eager else teacher
    objective = Distillation(drawn, empty, settings["steps"], settings["substeps"], options.guidance)
    if options.warm:
        student = place(build_denoiser(config["denoiser"]), options.device)
        learner: Any = student if options.eager else torch.compile(student, dynamic=False)
        warm_up(learner, objective, settings["batch"], options.device)
        return
    start(objective, settings, options, name="student", fresh={"model": weights, "ema": weights})


if __name__ == "__main__":
    main()
