"""Fits the linear map from latents to colours that previews are drawn with."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

_PICTURES = 12
_CELLS = 12
_DIGITS = 6


def fit_preview_map(vae: torch.nn.Module, factor: int) -> tuple[list[list[float]], list[float]]:
    """Weights (C, 3) and bias (3): least squares from latents to what the decoder makes of them, averaged over each
    cell, 0 to 1. Half the latents are encoded pictures, half those pictures under a little noise."""
    config = vae.config
    scaling, shift = float(config.scaling_factor), float(config.get("shift_factor") or 0.0)  # type: ignore[union-attr,arg-type,operator]
    chance = torch.Generator().manual_seed(0)
    rows, colours = [], []
    with torch.inference_mode():
        for number in range(_PICTURES):
            pixels = _picture(number, _CELLS * factor, chance)
            latents = (vae.encode(pixels).latent_dist.mean - shift) * scaling  # type: ignore[operator]
            if number % 2:
                latents = latents + 0.2 * torch.randn(latents.shape, generator=chance)
            decoded = vae.decode(latents / scaling + shift, return_dict=False)[0]  # type: ignore[operator]
            colour = adaptive_avg_pool2d(decoded.clamp(-1, 1) / 2 + 0.5, latents.shape[-2:])
            rows.append(latents[0].flatten(1).T.numpy())
            colours.append(colour[0].flatten(1).T.numpy())
    known = np.concatenate(rows)
    known = np.hstack([known, np.ones((len(known), 1), np.float32)])
    solution = np.linalg.lstsq(known.astype(np.float64), np.concatenate(colours).astype(np.float64), rcond=None)[0]
    rounded = [[round(float(value), _DIGITS) for value in row] for row in solution]
    return rounded[:-1], rounded[-1]


def _picture(number: int, side: int, chance: torch.Generator) -> Tensor:
    """(1, 3, side, side) in -1..1: soft colours, or patches with hard edges."""
    cells = int(torch.randint(2, 7, (1,), generator=chance))
    colours = torch.rand(1, 3, cells, cells, generator=chance) * 2 - 1
    if number % 3:
        return interpolate(colours, size=(side, side), mode="bicubic", align_corners=False).clamp(-1, 1)
    return interpolate(colours, size=(side, side), mode="nearest")
