"""A sheet of pictures straight from a checkpoint, while a run goes on or before anything is exported.

    python -m training.generator.look --encoder E --tokenizer T --guidance 3 --guidance 4.5 --output sheet.png
    python -m training.generator.look --encoder E --tokenizer T --name student --steps 8 --guidance 1

Every second prompt of prompts.txt, averaged weights, seeds by place; one block of rows for each guidance scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from training.generator.condition import TextEncoder
from training.generator.decoder import load_decoder
from training.generator.denoiser import load_denoiser, place, velocity_of
from training.generator.prepare import HERE, read_config
from training.generator.sheets import grid, save

COLUMNS, SIDE = 12, 96


def denoised(
    model: UNet2DConditionModel, states: Tensor, empty: Tensor, noise: Tensor, *, steps: int, guidance: float
) -> Tensor:
    """Latents after Euler steps of even length, as serving takes them."""
    both, latents = torch.cat([states, empty.expand_as(states)]), noise
    for number in range(steps):
        sigma = torch.full((len(noise),), 1 - number / steps, device=noise.device)
        if guidance > 1:
            told, untold = velocity_of(model, latents.repeat(2, 1, 1, 1), sigma.repeat(2), both).chunk(2)
            velocity = untold + guidance * (told - untold)
        else:
            velocity = velocity_of(model, latents, sigma, states)
        latents = latents - velocity / steps
    return latents


@torch.inference_mode()
def main() -> None:
    """Draws the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--name", default="checkpoint")
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, action="append")
    parser.add_argument("--every", type=int, default=2, help="take every so manieth prompt")
    parser.add_argument("--output", type=Path, default=Path("sheet.png"))
    options = parser.parse_args()
    config, device = read_config(), options.device
    prompts = (HERE / "prompts.txt").read_text().splitlines()[:: options.every]
    encode = TextEncoder(options.encoder, options.tokenizer, config["data"]["tokens"])
    states = torch.from_numpy(np.stack([encode(text) for text in ("", *prompts)])).to(device)
    shape = (config["denoiser"]["in_channels"], config["denoiser"]["sample_size"], config["denoiser"]["sample_size"])
    noise = [np.random.default_rng(seed).standard_normal(shape, np.float32) for seed in range(len(prompts))]
    first = torch.from_numpy(np.stack(noise)).to(device)
    model = place(load_denoiser(options.work / f"{options.name}.pt"), device)
    decoder, _ = load_decoder(options.work, config["decoder"], config["latents"]["channels"])
    decoder.to(device).eval()
    pictures: list[np.ndarray] = []
    for guidance in options.guidance or [config["sampling"]["guidance"]]:
        latents = denoised(model, states[1:], states[:1], first, steps=options.steps, guidance=guidance)
        pixels = (decoder(latents).clamp(-1, 1) + 1) * 127.5 + 0.5
        pictures.extend(pixels.permute(0, 2, 3, 1).byte().cpu().numpy())
    save(grid(pictures, COLUMNS, SIDE), options.output)
    print(f"{options.output}: {len(pictures)} pictures", flush=True)


if __name__ == "__main__":
    main()
