"""The denoiser as the recipe describes it: fresh, or out of a checkpoint."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from training.generator.prepare import read_config


def build_denoiser(settings: dict[str, Any]) -> UNet2DConditionModel:
    """The denoiser of the recipe with fresh weights."""
    return UNet2DConditionModel(**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})


def load_denoiser(checkpoint: Path, *, averaged: bool = True) -> UNet2DConditionModel:
    """The denoiser of a checkpoint, with the averaged weights unless told otherwise."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    model = build_denoiser(read_config()["denoiser"])
    model.load_state_dict(state["ema"] if averaged else state["model"])
    return model.eval().requires_grad_(False)


def place(model: UNet2DConditionModel, device: str) -> UNet2DConditionModel:
    """The denoiser on its device, laid out as it runs fastest there; on a CPU, shared by the processes of a run."""
    model.to(device, memory_format=torch.channels_last)
    if device == "cpu":
        model.set_attn_processor(AttnProcessor())  # the fused one is slow on a CPU at these sizes
        model.share_memory()
    return model


def velocity_of(model: UNet2DConditionModel, noisy: Tensor, sigma: Tensor, states: Tensor) -> Tensor:
    """(B, C, H, W) float32 for latents at noise levels `sigma` (B,) in 0..1 and text states (B, L, D)."""
    device = noisy.device.type
    with torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
        answer: Tensor = model(noisy, sigma * 1000, states, return_dict=False)[0]
    return answer.float()


@functools.cache
def fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32 there: on GPUs, and on CPUs that have instructions for it."""
    cpu = Path("/proc/cpuinfo")
    return device != "cpu" or (cpu.exists() and "avx512_bf16" in cpu.read_text())
