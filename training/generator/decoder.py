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


class Drawn:
    """Endless pictures to decode, made on the device: drawings on plain grounds, some of them four small ones."""

    def __init__(self, drawings: np.ndarray, batch: int, device: str) -> None:
        self.batch, self.device = batch, device
        self.drawings = torch.from_numpy(drawings).to(device)
        self.grounds = torch.tensor(list(BACKGROUNDS.values()), device=device).float() / 255
        self.places = torch.arange(drawings.shape[1], device=device)

    def next(self) -> Tensor:
        """(B, 3, 256, 256) pixels in -1..1."""
        whole = self._moved(self.batch - self.batch // 4)
        small = avg_pool2d(self._moved(self.batch // 4 * 4), 2)
        left, right = small.unflatten(0, (-1, 4))[:, ::2], small.unflatten(0, (-1, 4))[:, 1::2]
        rows = torch.cat([left, right], -1)
        return torch.cat([whole, torch.cat([rows[:, 0], rows[:, 1]], -2)])

    def _moved(self, count: int) -> Tensor:
        """Drawings moved, mirrored, with colour channels exchanged, on grounds of which most are white."""
        device, size = self.device, len(self.places)
        rows = torch.randint(len(self.drawings), (count,), device=device)
        down, right = (self.places + torch.randint(-10, 11, (2, count, 1), device=device)) % size
        mirrored = torch.rand(count, 1, device=device) < 0.5
        right = torch.where(mirrored, right.flip(1), right)
        pixels = self.drawings[rows[:, None, None], down[:, :, None], right[:, None]].permute(0, 3, 1, 2).float() / 255
        order = torch.rand(count, 3, device=device).argsort(1)
        kept = torch.rand(count, 1, device=device) < 0.5
        order = torch.where(kept, torch.arange(3, device=device), order)
        colours = pixels[:, :3].gather(1, order[:, :, None, None].expand(-1, -1, size, size))
        ground = torch.randint(len(self.grounds), (count,), device=device)
        ground = ground.masked_fill(torch.rand(count, device=device) < 0.6, 0)
        alpha = pixels[:, 3:]
        return (colours * alpha + self.grounds[ground][:, :, None, None] * (1 - alpha)) * 2 - 1


def loss_of(answer: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error of the pixels and, weighted double, of their differences to the next pixel."""
    across = (answer.diff(dim=3) - truth.diff(dim=3)).abs().mean()
    down = (answer.diff(dim=2) - truth.diff(dim=2)).abs().mean()
    return (answer - truth).abs().mean() + 2 * (across + down)


def load_decoder(work: Path, settings: dict[str, Any], channels: int) -> tuple[Decoder, dict[str, Any]]:
    """The decoder of a work folder with its training state; fresh weights where there are none."""
    decoder = Decoder(load_code(work), channels, tuple(settings["widths"]))
    path = work / "decoder.pt"
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu") if path.exists() else {}
    if state:
        decoder.load_state_dict(state["decoder"])
    return decoder, state


def main() -> None:
    """Trains for `--minutes`, the learning rate falling to a tenth at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=None)
    options = parser.parse_args()
    config, device = read_config(), options.device
    settings = config["decoder"]
    torch.set_num_threads(1)
    decoder, state = load_decoder(options.work, settings, config["latents"]["channels"])
    decoder.to(device, memory_format=torch.channels_last)
    code = decoder.linear
    parameters = list(decoder.body.parameters())
    optimizer = torch.optim.AdamW(parameters, settings["learning_rate"], (0.9, 0.99), weight_decay=0.0)
    if state:
        optimizer.load_state_dict(state["optimizer"])
    step = int(state.get("step", 0))
    torch.manual_seed(config["seed"] + step)
    batch = options.batch or settings["batch" if device == "cpu" else "gpu_batch"]
    drawn = Drawn(np.load(options.work / "drawings.npy"), batch, device)
    started = said = time.monotonic()
    errors: list[Tensor] = []
    while (spent := (time.monotonic() - started) / 60 / options.minutes) < 1:
        truth = drawn.next()
        latents = code.encode(avg_pool2d(truth, 4))
        strength = torch.rand(len(latents), 1, 1, 1, device=device).square() * settings["disturbance"]
        noisy = (latents + strength * torch.randn_like(latents)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.bfloat16, enabled=device != "cpu"):
            answer = decoder(noisy).float()
        loss = loss_of(answer, truth)
        optimizer.param_groups[0]["lr"] = settings["learning_rate"] * (0.1 + 0.45 * (1 + math.cos(math.pi * spent)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        errors.append((answer.detach().clamp(-1, 1) - truth).square().mean())
        if time.monotonic() - said > 5:
            said = time.monotonic()
            save(decoder, optimizer, step, options.work)
            psnr = 10 * math.log10(4 / float(torch.stack(errors).mean()))
            print(f"decoder: step {step} of {batch}, {spent:.0%} of the time, psnr {psnr:.2f} dB", flush=True)
            errors.clear()
    save(decoder, optimizer, step, options.work)


def save(decoder: Decoder, optimizer: torch.optim.Optimizer, step: int, work: Path) -> None:
    """Writes decoder.pt in one move."""
    torch.save(
        {"decoder": decoder.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, work / "decoder.tmp"
    )
    os.replace(work / "decoder.tmp", work / "decoder.pt")


if __name__ == "__main__":
    main()
