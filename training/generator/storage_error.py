"""How far pictures of an exported denoiser are from those of the float32 weights that it was made from.

    python -m training.generator.storage_error --model models/diptych-icons --encoder E --tokenizer T

Needs the checkpoint. Draws the first prompts of prompts.txt with both, from the same noise, as the manifest says.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import tomllib
from pathlib import Path

import numpy as np

from training.generator.denoiser import load_denoiser
from training.generator.export import Velocity, example_inputs, write_graph
from training.generator.prepare import HERE, read_config
from training.generator.sampling import Sampler, add_arguments, find

PROMPTS = 16


def psnr(one: np.ndarray, other: np.ndarray) -> list[float]:
    """dB of each of (B, H, W, 3) uint8 pictures."""
    errors = np.square(one.astype(float) - other).mean((1, 2, 3))
    return [float(value) for value in 10 * np.log10(255**2 / np.maximum(errors, 1e-9))]


def main() -> None:
    """Prints mean and least PSNR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--checkpoint", type=Path, default=Path(".build/generator/checkpoint.pt"))
    options = parser.parse_args()
    config = read_config()
    prompts = (HERE / "prompts.txt").read_text().splitlines()[:PROMPTS]
    defaults = tomllib.loads((options.model / "manifest.toml").read_text())["defaults"]
    steps, guidance = defaults["num_inference_steps"], defaults["guidance_scale"]
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / options.model.name
        shutil.copytree(options.model, whole)
        (whole / "vae_decoder").mkdir(exist_ok=True)
        shutil.copy(find(options.model, "vae_decoder/model.onnx"), whole / "vae_decoder/model.onnx")
        (whole / "manifest.toml").write_text("files = []\n")
        velocity = Velocity(load_denoiser(options.checkpoint))
        write_graph(velocity, example_inputs(config), "out_sample", whole / "unet/model.onnx")
        drawn = [
            Sampler(path, options.encoder, options.tokenizer)(
                prompts, range(len(prompts)), steps=steps, guidance=guidance
            )
            for path in (options.model, whole)
        ]
    found = psnr(*drawn)
    print(f"{len(prompts)} pictures, {steps} steps: mean {np.mean(found):.1f} dB, least {min(found):.1f} dB")


if __name__ == "__main__":
    main()
