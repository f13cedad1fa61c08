"""Walks from noise to clean latents."""

from typing import Any

import numpy as np
import pytest

from diptych.diffusion.latents import draw_noise
from diptych.diffusion.schedule_names import schedule_name
from diptych.diffusion.schedules import NoiseSchedule, ScheduleSettings, steps_to_take
from diptych.errors import FailedPrecondition

CONFIG = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 1.0}
SETTINGS = ScheduleSettings(CONFIG, even_sigmas=True)
CLEAN, NOISE = draw_noise(1, (4, 8, 8)), draw_noise(2, (4, 8, 8))


def schedule(steps: int, strength: float = 1.0) -> NoiseSchedule:
    return NoiseSchedule("flow_match_euler", SETTINGS, num_inference_steps=steps, strength=strength)


@pytest.mark.parametrize(("steps", "strength"), [(1, 1.0), (5, 1.0), (10, 0.6), (20, 0.05), (7, 0.5)])
def test_a_true_velocity_leads_to_the_clean_latents(steps: int, strength: float) -> None:
    walk = schedule(steps, strength)
    latents = walk.add_noise(CLEAN, NOISE)
    levels = []
    while not walk.finished:
        levels.append(walk.sigma)
        assert walk.timestep == pytest.approx(walk.sigma * 1000)
        assert np.allclose(walk.estimate(NOISE - CLEAN, latents, walk.level), CLEAN, atol=1e-5)
        latents = walk.step(NOISE - CLEAN, latents)
        assert np.allclose(latents, walk.add_noise(CLEAN, NOISE), atol=1e-5)
    assert np.allclose(latents, CLEAN, atol=1e-5)
    assert levels == sorted(levels, reverse=True)
    assert len(levels) == walk.num_steps == steps_to_take(steps, strength)
    assert walk.sigma == 0


@pytest.mark.parametrize("name", ["ddim", "euler", "heun", "dpmpp_2m_karras", "unipc"])
def test_the_true_noise_points_at_the_clean_latents_even_later(name: str) -> None:
    """A step's estimate may be asked for when further steps were taken."""
    settings = ScheduleSettings(
        {"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "clip_sample": False}
    )
    walk = NoiseSchedule(name, settings, num_inference_steps=6)
    latents, seen = walk.begin_at(CLEAN, NOISE, forget=False), []
    while not walk.finished:
        seen.append((walk.scale(latents), walk.level))
        latents = walk.step(NOISE, latents)
    for scaled, level in seen:
        assert np.allclose(walk.estimate(NOISE, scaled, level), CLEAN, atol=2e-3)


@pytest.mark.parametrize("name", ["ddim", "ddpm", "pndm", "lcm", "tcd", "euler", "dpm2"])
def test_the_level_is_told_while_another_thread_takes_the_last_step(name: str) -> None:
    """The batcher asks on the event loop how much a row weighs; its worker is steps ahead by then."""
    walk = NoiseSchedule(name, ScheduleSettings({"_class_name": "DDIMScheduler"}), num_inference_steps=2)
    walk.step_index = walk.num_steps - 1
    level = walk.sigma

    class Hurried:
        def __init__(self, scheduler: Any) -> None:
            self._scheduler = scheduler

        def __getattr__(self, attribute: str) -> Any:
            walk.step_index = walk.num_steps
            return getattr(self._scheduler, attribute)

    walk._scheduler = Hurried(walk._scheduler)
    walk.step_index = walk.num_steps - 1
    assert walk.sigma == level
    assert walk.sigma == 0


def test_two_walks_do_not_share_a_position() -> None:
    one, other = schedule(4), schedule(8)
    one.step(NOISE, NOISE)
    assert (one.step_index, other.step_index) == (1, 0)
    assert other.sigma == 1


@pytest.mark.parametrize("steps", [1, 3, 10, 20, 200])
def test_strength_as_it_travels_counts_as_it_was_written(steps: int) -> None:
    for tenth in range(11):
        strength = round(float(np.float32(tenth / 10)), 6)
        assert steps_to_take(steps, strength) == -(-steps * tenth // 10)


def test_schedules_are_named_as_callers_name_them() -> None:
    assert schedule_name(CONFIG) == "flow_match_euler"


@pytest.mark.parametrize("config", [{}, {"_class_name": "RePaintScheduler"}])
def test_other_schedules_are_refused_by_name(config: dict[str, object]) -> None:
    with pytest.raises(FailedPrecondition, match="flow_match_euler"):
        schedule_name(config)
