"""Pictures from an exported folder with ONNX Runtime and NumPy alone: the reference that serving must agree with.

    python -m training.generator.sampling --prompt "a red apple icon" --seed 1 --output apple.png \
        --encoder model.onnx --tokenizer tokenizer.json
"""

from __future__ import annotations

import argparse
import itertools
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from training.generator.condition import TextEncoder
from training.generator.prepare import read_config

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class Sampler:
    """Draws with the graphs of `folder`; sentences are embedded by the files given."""

    def __init__(self, folder: Path, encoder: Path, tokenizer: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        providers = ["CPUExecutionProvider"]
        self.unet = onnxruntime.InferenceSession(str(folder / "unet/model.onnx"), options, providers=providers)
        self.decoder = onnxruntime.InferenceSession(
            str(find(folder, "vae_decoder/model.onnx")), options, providers=providers
        )
        self.embed = TextEncoder(encoder, tokenizer, read_config()["data"]["tokens"])
        self.shape = tuple(self.unet.get_inputs()[0].shape[1:])

    def __call__(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int = 20, guidance: float = 4.5, rows: int = 8
    ) -> Pixels:
        """(B, 256, 256, 3) pictures, one for each prompt and seed; `rows` of them at a time."""
        parts = []
        for start in range(0, len(prompts), rows):
            chosen = slice(start, start + rows)
            states = np.stack([self.embed(prompt) for prompt in prompts[chosen]])
            noise = np.stack(
                [np.random.default_rng(seed).standard_normal(self.shape, np.float32) for seed in seeds[chosen]]
            )
            parts.append(self.decode(self.denoise(states, noise, steps, guidance)))
        return np.concatenate(parts)

    def denoise(self, states: Floats, noise: Floats, steps: int, guidance: float) -> Floats:
        """Latents after `steps` Euler steps with evenly spaced noise levels from 1 to 0."""
        sigmas = np.append(np.linspace(1, 1 / steps, steps), 0.0)
        free = np.broadcast_to(self.embed(""), states.shape)
        both = np.concatenate([states, free]) if guidance > 1 else states
        latents = noise
        for now, after in itertools.pairwise(sigmas):
            sample = np.concatenate([latents, latents]) if guidance > 1 else latents
            level = np.full(len(sample), now * 1000, np.float32)
            feeds = {"sample": sample, "timestep": level, "encoder_hidden_states": both}
            (velocity,) = self.unet.run(None, feeds)
            if guidance > 1:
                told, untold = np.split(velocity, 2)
                velocity = untold + np.float32(guidance) * (told - untold)
            latents = latents + np.float32(after - now) * velocity
        return np.asarray(latents, dtype=np.float32)

    def decode(self, latents: Floats) -> Pixels:
        """(B, 256, 256, 3) pixels of latents."""
        (values,) = self.decoder.run(None, {"latent_sample": latents})
        return np.asarray((np.clip(values, -1, 1) + 1) * 127.5 + 0.5, dtype=np.uint8).transpose(0, 2, 3, 1)


def find(folder: Path, path: str) -> Path:
    """A file of a model's folder, or of the model beside it from which its manifest borrows the file."""
    for entry in tomllib.loads((folder / "manifest.toml").read_text())["files"]:
        if entry["path"] == path and entry["source"]["type"] == "model":
            return folder.parent / str(entry["source"]["model"]) / path
    return folder / path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that name the model's files."""
    parser.add_argument("--model", type=Path, default=Path("models/diptych-icons"))
    parser.add_argument("--encoder", type=Path, required=True, help="the text encoder's ONNX file")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")


def main() -> None:
    """Draws one picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=read_config()["sampling"]["guidance"])
    parser.add_argument("--output", type=Path, default=Path("picture.png"))
    options = parser.parse_args()
    sampler = Sampler(options.model, options.encoder, options.tokenizer)
    (picture,) = sampler([options.prompt], [options.seed], steps=options.steps, guidance=options.guidance)
    Image.fromarray(picture).save(options.output)


if __name__ == "__main__":
    main()
