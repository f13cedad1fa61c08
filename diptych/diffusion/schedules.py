"""Noise schedules: how noisy the latents are at each step, and the way from one step to the next.

Every row owns a diffusers scheduler object, since those keep their position inside themselves.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from diptych.engines.base import Array
from diptych.errors import FailedPrecondition

# Flow matching only: x_sigma = (1 - sigma) * clean + sigma * noise, and the network gives the velocity noise - clean.
_CLASSES = {"flow_match_euler": FlowMatchEulerDiscreteScheduler}
# The first draws noise that no seed repeats, the second needs a shift for every size.
_REFUSED_OPTIONS = ("stochastic_sampling", "use_dynamic_shifting")
SCHEDULE_NAMES = tuple(sorted(_CLASSES))


class NoiseSchedule:
    """One row's walk from noise to a clean latent: its diffusers scheduler and the position in it.

    Sigmas run evenly from 1 to 1 / `num_inference_steps`, then 0, shifted as `config` says (Esser et al. 2024,
    Scaling Rectified Flow Transformers). With `strength` below 1 the walk begins later: of the asked steps the last
    `strength` part is taken, rounded up.
    """

    def __init__(
        self, name: str, config: Mapping[str, Any], *, num_inference_steps: int, strength: float = 1.0
    ) -> None:
        self._scheduler = _CLASSES[name].from_config(dict(config))
        self._scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / num_inference_steps, num_inference_steps))
        self.num_steps = steps_to_take(num_inference_steps, strength)
        self.step_index = 0
        self._begin = num_inference_steps - self.num_steps
        self._scheduler.set_begin_index(self._begin)

    @property
    def finished(self) -> bool:
        """Whether all steps were taken."""
        return self.step_index >= self.num_steps

    @property
    def sigma(self) -> float:
        """Noise level of the latents now, 1 (noise alone) to 0 (clean)."""
        return float(self._scheduler.sigmas[self._begin + self.step_index])

    @property
    def timestep(self) -> float:
        """What the denoiser is told of the noise level at this step."""
        return float(self._scheduler.timesteps[self._begin + self.step_index])

    def add_noise(self, clean: Array, noise: Array) -> Array:
        """(C, h, w) float32: `clean` at the noise level of now."""
        noised = self._scheduler.scale_noise(
            torch.from_numpy(clean), self._scheduler.timesteps[:1], torch.from_numpy(noise)
        )
        return _array(noised)

    def estimate(self, velocity: Array, latents: Array) -> Array:
        """(C, h, w) float32: the clean latents that `velocity` points at."""
        return np.asarray(latents - np.float32(self.sigma) * velocity)

    def step(self, velocity: Array, latents: Array) -> Array:
        """(C, h, w) float32 latents at the next noise level; moves on by one."""
        timestep = self._scheduler.timesteps[self._begin + self.step_index]
        moved = self._scheduler.step(torch.from_numpy(velocity), timestep, torch.from_numpy(latents), return_dict=False)
        self.step_index += 1
        return _array(moved[0])


def steps_to_take(num_inference_steps: int, strength: float) -> int:
    """How many of the asked steps image to image takes: `strength` of them, rounded up; 0 at strength 0."""
    # Strength arrives as a 32-bit float, so 0.6 is 0.60000002: without rounding first, 10 steps would become 7.
    return int(np.ceil(round(num_inference_steps * strength, 4)))


def schedule_name(config: Mapping[str, Any]) -> str:
    """The name of the schedule in a `scheduler_config.json`; FailedPrecondition when it is not served."""
    wanted = str(config.get("_class_name", ""))
    refused = [option for option in _REFUSED_OPTIONS if config.get(option)]
    if refused:
        raise FailedPrecondition(
            f"the model's noise schedule has {refused[0]} set, which is not served", reason="UNSUPPORTED_SCHEDULE"
        )
    for name, kind in _CLASSES.items():
        if kind.__name__ == wanted:
            return name
    raise FailedPrecondition(
        f"the model's noise schedule {wanted or 'without a name'} is not served; served: {', '.join(SCHEDULE_NAMES)}",
        reason="UNSUPPORTED_SCHEDULE",
    )


def _array(tensor: torch.Tensor) -> Array:
    return np.asarray(tensor.numpy())
