"""Drawings as a judge must bear them: turned, recoloured, on grounds, rough, blurred. Whole batches in PyTorch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

# The luma-chroma basis of NTSC: turning the chroma plane turns hues and leaves brightness.
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def uniform(count: int, low: float, high: float) -> Tensor:
    """(count,) numbers between `low` and `high`."""
    return torch.rand(count) * (high - low) + low


def placed(drawings: Tensor, size: int, settings: dict[str, Any]) -> Tensor:
    """(B, 4, size, size) of premultiplied (B, 4, S, S) drawings: zoomed, turned, sheared, shifted, mirrored, warped."""
    count = len(drawings)
    zoom = uniform(count, *settings["zoom"])
    stretch = torch.exp(uniform(count, -0.12, 0.12))
    angle = torch.randn(count).clamp(-2, 2) / 2 * math.radians(settings["turn"])
    shear = uniform(count, -settings["shear"], settings["shear"])
    mirror = (torch.rand(count) < 0.5) * -2.0 + 1
    cos, sin = angle.cos(), angle.sin()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = mirror * cos * stretch / zoom, mirror * (shear - sin) / zoom
    theta[:, 1, 0], theta[:, 1, 1] = sin / zoom, cos / stretch / zoom
    theta[:, :, 2] = (torch.rand(count, 2) * 2 - 1) * settings["shift"] * 2
    grid = affine_grid(theta, [count, 4, size, size], align_corners=False)
    field = torch.randn(count, 2, 4, 4).clamp(-2, 2) / 2 * settings["warp"] * 2
    warp = interpolate(field, size=(size, size), mode="bicubic", align_corners=True)
    return grid_sample(drawings, grid + warp.movedim(1, -1), align_corners=False)


def hued(pictures: Tensor, settings: dict[str, Any]) -> Tensor:
    """(B, 3, H, W) in 0..1 with hues turned, saturation, brightness and contrast changed."""
    count = len(pictures)
    far = torch.rand(count) < settings["hue"]
    angle = torch.where(far, uniform(count, -math.pi, math.pi), torch.randn(count) * 0.12)
    turn = torch.zeros(count, 3, 3)
    cos, sin = angle.cos() * (strong := uniform(count, 0.6, 1.3)), angle.sin() * strong
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    matrix = torch.linalg.inv(YIQ) @ turn @ YIQ
    turned = torch.einsum("bij,bjhw->bihw", matrix, pictures)
    gain, lift = uniform(count, 0.75, 1.2), uniform(count, -0.1, 0.1)
    return (turned * gain[:, None, None, None] + lift[:, None, None, None]).clamp(0, 1)


def grounds(count: int, size: int, settings: dict[str, Any]) -> Tensor:
    """(B, 3, size, size) backgrounds: white, one colour, or a run from one colour to another."""
    above, below = torch.rand(count, 3, 1, 1), torch.rand(count, 3, 1, 1)
    below = torch.where(torch.rand(count, 1, 1, 1) < 0.7, above, below)
    ramp = torch.linspace(0, 1, size)[None, None, :, None]
    ground = (above * (1 - ramp) + below * ramp).expand(count, 3, size, size)
    white = torch.rand(count, 1, 1, 1) < settings["white"]
    return torch.where(white, torch.ones(()), ground)


def roughened(pictures: Tensor, settings: dict[str, Any]) -> Tensor:
    """(B, 3, H, W) of which groups were coarsened or blurred; all get some noise."""
    size = pictures.shape[-1]
    parts = list(pictures.chunk(6))
    for number, part in enumerate(parts):
        if torch.rand(()) < settings["coarse"]:
            cells = int(torch.randint(size // 3, size, ()))
            mode = "area" if torch.rand(()) < 0.5 else "bilinear"
            small = interpolate(part, size=(cells, cells), mode=mode)
            parts[number] = interpolate(small, size=(size, size), mode="bicubic", align_corners=False)
    pictures = torch.cat(parts)
    deviation = torch.rand(len(pictures), 1, 1, 1) ** 2 * settings["noise"]
    return (pictures + torch.randn_like(pictures) * deviation).clamp(0, 1)


def augmented(drawings: Tensor, size: int, settings: dict[str, Any]) -> Tensor:
    """(B, 3, size, size) in 0..1 of premultiplied (B, 4, S, S) drawings in 0..1."""
    moved = placed(drawings, size, settings)
    alpha = moved[:, 3:].clamp(1e-3, 1)
    colours = hued((moved[:, :3] / alpha).clamp(0, 1), settings)
    return roughened(colours * alpha + grounds(len(moved), size, settings) * (1 - alpha), settings)
