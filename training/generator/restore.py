"""Fills a work folder from a published model, so that training goes on where its weights were left.

    python -m training.generator.restore --model models/diptych-icons --work .build/generator

Writes code.pt, decoder.pt and checkpoint.pt; the optimisers begin anew. The exporter renames, turns and reshapes
weights, so the way back is learned from it: a denoiser of random numbers is exported, and each of its parameters is
looked up where it went.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.generator.decoder import Decoder
from training.generator.denoiser import build_denoiser
from training.generator.export import Velocity, example_inputs, write_graph
from training.generator.latents import PatchCode
from training.generator.prepare import read_config
from training.generator.storage import read_weights


@dataclass(frozen=True)
class Origin:
    """The initializer that holds a parameter, and whether it lies there turned."""

    name: str
    turned: bool


def find_origins(config: dict[str, Any]) -> dict[str, Origin]:
    """For each parameter of the denoiser, where an exported graph keeps it. ValueError when one cannot be found."""
    torch.manual_seed(1)
    model = build_denoiser(config["denoiser"])
    for parameter in model.parameters():
        parameter.data.normal_()
    asked = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unet.onnx"
        write_graph(Velocity(model.eval()), example_inputs(config), "out_sample", path)
        stored = read_weights(path)
    by_values = {array.astype(np.float32).tobytes(): name for name, array in stored.items()}
    origins = {}
    for name, values in asked.items():
        turned = values.ndim == 2 and values.T.tobytes() in by_values
        key = values.T.tobytes() if turned else values.tobytes()
        if key not in by_values:
            raise ValueError(f"the exported graph does not hold {name} as it is; restore cannot read such graphs")
        origins[name] = Origin(by_values[key], turned)
    return origins


def read_denoiser(path: Path, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The denoiser's parameters out of a published graph, as float32."""
    stored = read_weights(path)
    shapes = {name: p.shape for name, p in build_denoiser(config["denoiser"]).named_parameters()}
    weights = {}
    for name, origin in find_origins(config).items():
        values = np.asarray(stored[origin.name], np.float32)
        weights[name] = torch.from_numpy((values.T if origin.turned else values).reshape(shapes[name]).copy())
    return weights


def read_decoder(model: Path, config: dict[str, Any]) -> Decoder:
    """The decoder of a published model, with the latent code that it shares with the encoder."""
    latents = config["latents"]
    decoding = read_weights(model / "vae_decoder/model.onnx")
    encoding = read_weights(model / "vae_encoder/model.onnx")
    rows = [len(decoding[f"body.{layer}.weight"]) for layer in (0, 4, 8)]
    widths = (rows[0], rows[1] // 4, rows[2] // 4)  # as published, whatever the recipe says by now
    decoder = Decoder(PatchCode(latents["patch"], latents["channels"]), latents["channels"], widths)
    state = {name: torch.from_numpy(decoding[name].copy()) for name in decoder.state_dict() if name in decoding}
    state["linear.forward_matrix"] = torch.from_numpy(encoding["linear.forward_matrix"].copy())
    (mean,) = (values for values in encoding.values() if values.shape == (3 * latents["patch"] ** 2, 1, 1))
    state["linear.mean"] = torch.from_numpy(mean.reshape(-1).copy())
    decoder.load_state_dict(state)
    return decoder


def main() -> None:
    """Writes the work folder's three files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/diptych-icons"))
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    options = parser.parse_args()
    config = read_config()
    options.work.mkdir(parents=True, exist_ok=True)
    weights = read_denoiser(options.model / "unet/model.onnx", config)
    decoder = read_decoder(options.model, config)
    torch.save(decoder.linear.state_dict(), options.work / "code.pt")
    torch.save({"decoder": decoder.state_dict()}, options.work / "decoder.pt")
    torch.save({"model": weights, "ema": weights}, options.work / "checkpoint.pt")
    print(f"{sum(w.numel() for w in weights.values()) / 1e6:.1f} million weights restored to {options.work}")


if __name__ == "__main__":
    main()
