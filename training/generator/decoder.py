"""The decoder: latents -> 256 px art. A small convolutional network trained against the drawings themselves.

    python -m training.generator.decoder --work .build/generator --minutes 15

Resumes from decoder.pt. Latents are disturbed in training, because those of a denoiser are never exact.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, silu

from training.generator.colours import BACKGROUNDS
from training.generator.latents import PatchCode, load_code
from training.generator.prepare import read_config


class Residual(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x plus the correction."""
        return x + self.second(silu(self.first(silu(x))))


class Decoder(nn.Module):
    """(B, C, H, W) latents -> (B, 3, 16H, 16W) in -1..1: the linear code's picture, enlarged and corrected."""

    def __init__(self, code: PatchCode, channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        deep, middle, fine = widths
        self.linear = code
        self.body = nn.Sequential(
            nn.Conv2d(channels, deep, 3, padding=1),
            *[Residual(deep) for _ in range(3)],
            nn.Conv2d(deep, middle * 4, 1),
            nn.PixelShuffle(2),
            *[Residual(middle) for _ in range(2)],
            nn.Conv2d(middle, fine * 4, 1),
            nn.PixelShuffle(2),
            Residual(fine),
            nn.SiLU(),
            nn.Conv2d(fine, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )
        nn.init.zeros_(self.body[-2].weight)

    def forward(self, latents: Tensor) -> Tensor:
        """Pixels, not clamped."""
        base = interpolate(self.linear.decode(latents), scale_factor=4, mode="bilinear", align_corners=False)
        return base + self.body(latents)


def batch_of(drawings: np.ndarray, size: int, rng: np.random.Generator) -> Tensor:
    """(B, 3, 256, 256) pixels in -1..1: drawings on random grounds, moved, mirrored, with colour channels exchanged."""
    rows = drawings[np.sort(rng.integers(len(drawings), size=size))]
    values = torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 255
    grounds = list(BACKGROUNDS.values())
    chosen = [grounds[0] if rng.random() < 0.6 else grounds[rng.integers(len(grounds))] for _ in range(size)]
    ground = torch.tensor(chosen).float()[:, :, None, None] / 255
    pictures = []
    for value, colour in zip(values, ground, strict=True):
        shift = tuple(int(s) for s in rng.integers(-10, 11, size=2))
        art = torch.roll(value, shift, (1, 2))
        rgb = art[:3][torch.from_numpy(rng.permutation(3))] if rng.random() < 0.5 else art[:3]
        picture = rgb * art[3:] + colour * (1 - art[3:])
        pictures.append(picture.flip(2) if rng.random() < 0.5 else picture)
    return torch.stack(pictures) * 2 - 1


def loss_of(answer: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error of the pixels and, weighted double, of their differences to the next pixel."""
    across = (answer.diff(dim=3) - truth.diff(dim=3)).abs().mean()
    down = (answer.diff(dim=2) - truth.diff(dim=2)).abs().mean()
    return (answer - truth).abs().mean() + 2 * (across + down)


def load_decoder(work: Path, settings: dict[str, Any], channels: int) -> tuple[Decoder, dict[str, Any]]:
    """The decoder of a work folder with its training state; fresh weights where there are none."""
    decoder = Decoder(load_code(work), channels, tuple(settings["widths"]))
    path = work / "decoder.pt"
    state: dict[str, Any] = torch.load(path, weights_only=True) if path.exists() else {}
    if state:
        decoder.load_state_dict(state["decoder"])
    return decoder, state


def main() -> None:
    """Trains for `--minutes`, the learning rate falling to a tenth at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--minutes", type=float, default=15)
    options = parser.parse_args()
    config = read_config()
    settings = config["decoder"]
    torch.set_num_threads(1)
    decoder, state = load_decoder(options.work, settings, config["latents"]["channels"])
    code = decoder.linear
    parameters = list(decoder.body.parameters())
    optimizer = torch.optim.AdamW(parameters, settings["learning_rate"], (0.9, 0.99), weight_decay=0.0)
    if state:
        optimizer.load_state_dict(state["optimizer"])
    step = int(state.get("step", 0))
    torch.manual_seed(config["seed"] + step)
    rng = np.random.default_rng(config["seed"] + step)
    drawings = np.load(options.work / "drawings.npy", mmap_mode="r")
    started = time.monotonic()
    errors: list[float] = []
    while (spent := (time.monotonic() - started) / 60 / options.minutes) < 1:
        truth = batch_of(drawings, settings["batch"], rng)
        latents = code.encode(avg_pool2d(truth, 4))
        strength = torch.rand(len(latents), 1, 1, 1).square() * settings["disturbance"]
        answer = decoder(latents + strength * torch.randn_like(latents))
        loss = loss_of(answer, truth)
        optimizer.param_groups[0]["lr"] = settings["learning_rate"] * (0.1 + 0.45 * (1 + math.cos(math.pi * spent)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        errors.append(float((answer.detach().clamp(-1, 1) - truth).square().mean()))
        if step % 100 == 0:
            print(f"step {step} psnr {10 * math.log10(4 / np.mean(errors)):.2f} dB", flush=True)
            errors.clear()
            torch.save(
                {"decoder": decoder.state_dict(), "optimizer": optimizer.state_dict(), "step": step},
                options.work / "decoder.tmp",
            )
            os.replace(options.work / "decoder.tmp", options.work / "decoder.pt")


if __name__ == "__main__":
    main()
