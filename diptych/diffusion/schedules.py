"""Noise schedules: how noisy the latents are at each step, and the way from one step to the next.

Every row owns a diffusers scheduler object, since those keep their position inside themselves.
"""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from diptych.diffusion.schedule_names import SCHEDULES, schedule_name, suiting
from diptych.engines.base import Array


@dataclass(frozen=True)
class ScheduleSettings:
    """How one model walks: its `scheduler_config.json`, and what its pipeline does beside it.

    `even_sigmas`: sigmas run evenly from 1 to 1 / steps, where diffusers' default begins at the largest trained one.
    `fixed`: what holds whatever the configuration says.
    """

    config: Mapping[str, Any]
    even_sigmas: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    default: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "default", schedule_name(self.config))
        object.__setattr__(self, "config", {**self.config, **self.fixed})

    @property
    def names(self) -> tuple[str, ...]:
        """The schedules that suit the model, sorted."""
        return suiting(self.default)

    def fault(self, name: str, num_inference_steps: int) -> str:
        """Why this schedule cannot take so many steps; empty when it can, and for an unknown name."""
        most = SCHEDULES[name].most_steps(self.config) if name in SCHEDULES else None
        return "" if most is None or num_inference_steps <= most else f"is more than {name} can take; give 1 to {most}"


class NoiseSchedule:
    """One row's walk from noise to a clean latent: its diffusers scheduler and the position in it.

    A position is one call of the denoiser: schedules of second order (`heun`, `dpm2`) call it twice a step, all but
    the last. With `strength` below 1 the walk begins later: of the asked steps the last `strength` part is taken,
    rounded up. Stochastic schedules draw from a generator of `seed`, theirs alone. `num_cells` is the number of latent
    cells, by which some models shift their sigmas (Esser et al. 2024, Scaling Rectified Flow Transformers).
    """

    def __init__(
        self,
        name: str,
        settings: ScheduleSettings,
        *,
        num_inference_steps: int,
        strength: float = 1.0,
        seed: int = 0,
        num_cells: int = 0,
    ) -> None:
        kind = SCHEDULES[name]
        self._flow = kind.flow
        self._scheduler = kind.build(settings.config, as_it_is=name == settings.default)
        self._set_timesteps(settings, num_inference_steps, num_cells)
        order = int(self._scheduler.order)
        skipped = num_inference_steps - steps_to_take(num_inference_steps, strength)
        self._begin = skipped * order
        self._whole = skipped == 0
        # A walk of no steps has no timesteps either; second-order ones would keep the second half of a step.
        taken = skipped < num_inference_steps
        self._timesteps = self._scheduler.timesteps[self._begin :] if taken else self._scheduler.timesteps[:0]
        self.num_steps = len(self._timesteps)
        self.step_index = 0
        if hasattr(self._scheduler, "set_begin_index") and taken:
            self._scheduler.set_begin_index(self._begin)
        takes = inspect.signature(self._scheduler.step).parameters
        extras = {"generator": torch.Generator().manual_seed(seed), "eta": 0.0}
        self._extras = {name: value for name, value in extras.items() if name in takes}

    def _set_timesteps(self, settings: ScheduleSettings, num_inference_steps: int, num_cells: int) -> None:
        scheduler = self._scheduler
        takes = inspect.signature(scheduler.set_timesteps).parameters
        arguments: dict[str, Any] = {}
        if scheduler.config.get("use_dynamic_shifting") and "mu" in takes:
            arguments["mu"] = _shift_of(scheduler.config, num_cells)
        if settings.even_sigmas and "sigmas" in takes:
            arguments["sigmas"] = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
            scheduler.set_timesteps(**arguments)
        else:
            scheduler.set_timesteps(num_inference_steps, **arguments)

    @property
    def finished(self) -> bool:
        """Whether all steps were taken."""
        return self.step_index >= self.num_steps

    @property
    def sigma(self) -> float:
        """Noise level of the latents now, 1 (noise alone) to 0 (clean). From any thread, while steps are taken too."""
        index = self.step_index  # Once: between two looks the last step may be taken.
        if index >= self.num_steps:
            return 0.0
        if self._flow:
            return float(self._scheduler.sigmas[self._begin + index])
        return math.sqrt(1 - self._signal(index))

    @property
    def timestep(self) -> float:
        """What the denoiser is told of the noise level at this step."""
        return float(self._timesteps[self.step_index])

    def begin(self, noise: Array) -> Array:
        """(C, h, w) float32: latents of noise alone, as this walk begins with them."""
        if self._flow:
            return noise
        return np.asarray(noise * np.float32(self._scheduler.init_noise_sigma))

    def begin_at(self, clean: Array, noise: Array, *, forget: bool) -> Array:
        """(C, h, w) float32: `clean` under noise as this walk begins; with `forget` a whole walk begins at noise."""
        if forget and self._whole:
            return self.begin(noise)
        return self.add_noise(clean, noise)

    def add_noise(self, clean: Array, noise: Array) -> Array:
        """(C, h, w) float32: `clean` at the noise level of now."""
        if self.finished:
            return clean
        add = self._scheduler.scale_noise if self._flow else self._scheduler.add_noise
        timestep = self._timesteps[self.step_index : self.step_index + 1]
        at = {"timestep" if self._flow else "timesteps": timestep}
        return _array(add(torch.from_numpy(clean)[None], noise=torch.from_numpy(noise)[None], **at)[0])

    def scale(self, latents: Array) -> Array:
        """(C, h, w) float32: the latents as the denoiser wants them at this step."""
        if self._flow:
            return latents
        scaled = self._scheduler.scale_model_input(torch.from_numpy(latents), self._timesteps[self.step_index])
        return _array(scaled)

    @property
    def level(self) -> float:
        """What `estimate` has to know of this step: sigma, or the part of the signal in the latents' variance."""
        return self.sigma if self._flow else self._signal(self.step_index)

    def estimate(self, prediction: Array, scaled: Array, level: float) -> Array:
        """(C, h, w) float32: the clean latents that the denoiser's `prediction` points at, from what it saw and the
        level of that step, however many were taken since."""
        if self._flow:
            return np.asarray(scaled - np.float32(level) * prediction)
        kept, noisy = np.float32(math.sqrt(level)), np.float32(math.sqrt(1 - level))
        match self._scheduler.config.prediction_type:
            case "v_prediction":
                return np.asarray(kept * scaled - noisy * prediction)
            case "sample":
                return prediction
            case _:
                return np.asarray((scaled - noisy * prediction) / max(kept, np.float32(1e-4)))

    def step(self, prediction: Array, latents: Array) -> Array:
        """(C, h, w) float32 latents at the next noise level; moves on by one."""
        # With a batch axis of one: a few schedulers look at the shape.
        moved = self._scheduler.step(
            torch.from_numpy(prediction)[None],
            self._timesteps[self.step_index],
            torch.from_numpy(latents)[None],
            return_dict=False,
            **self._extras,
        )
        self.step_index += 1
        return _array(moved[0][0])

    def _signal(self, index: int) -> float:
        """Part of the clean latents' variance in the latents at a step (alpha bar), 0 to 1."""
        scheduler = self._scheduler
        between = getattr(scheduler, "sigmas_interpol", None)
        if between is not None and not scheduler.state_in_first_order:
            return _signal_at(float(between[self._begin + index]))
        if hasattr(scheduler, "sigmas"):
            return _signal_at(float(scheduler.sigmas[self._begin + index]))
        return float(scheduler.alphas_cumprod[int(self._timesteps[index])])


def _signal_at(sigma: float) -> float:
    return 1 / (1 + sigma * sigma)


def _shift_of(config: Mapping[str, Any], num_cells: int) -> float:
    """The shift for a picture of so many cells: linear between the two that the configuration names."""
    few, many = float(config.get("base_image_seq_len", 256)), float(config.get("max_image_seq_len", 4096))
    low, high = float(config.get("base_shift", 0.5)), float(config.get("max_shift", 1.15))
    return low + (high - low) * (num_cells - few) / (many - few)


def steps_to_take(num_inference_steps: int, strength: float) -> int:
    """How many of the asked steps image to image takes: `strength` of them, rounded up; 0 at strength 0."""
    # Strength arrives as a 32-bit float, so 0.6 is 0.60000002: without rounding first, 10 steps would become 7.
    return int(np.ceil(round(num_inference_steps * strength, 4)))


def _array(tensor: torch.Tensor) -> Array:
    return np.ascontiguousarray(tensor.numpy(), np.float32)
