"""Trains the denoiser by flow matching; resumes by itself.

    python -m training.generator.train --work .build/generator --processes 2

Writes checkpoint.pt (everything that a resumed run needs) and checkpoint.jsonl. The learning rate follows the training
time already spent against `training.minutes`, so a run may be stopped and resumed at any step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from training.generator.denoiser import velocity_of
from training.generator.prepare import read_config
from training.generator.run import read_options, settings_for, start


@dataclass(frozen=True)
class FlowMatching:
    """Mean squared error of the velocity noise - latents at logit-normal noise levels (Esser et al. 2024)."""

    mean: float
    deviation: float

    def __call__(self, model: UNet2DConditionModel, latents: Tensor, states: Tensor) -> Tensor:
        """The loss of a batch."""
        sigma = torch.sigmoid(torch.randn(len(latents), device=latents.device) * self.deviation + self.mean)
        noise = torch.randn_like(latents)
        mix = sigma[:, None, None, None]
        velocity = velocity_of(model, (1 - mix) * latents + mix * noise, sigma, states)
        return (velocity - (noise - latents)).square().mean()


def main() -> None:
    """Trains until the planned time is spent, or for `--minutes`."""
    options = read_options(__doc__)
    settings = settings_for(read_config()["training"], options)
    objective = FlowMatching(settings["sigma_mean"], settings["sigma_deviation"])
    start(objective, settings, options, name="checkpoint", fresh={})


if __name__ == "__main__":
    main()
