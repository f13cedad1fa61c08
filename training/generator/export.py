"""Writes the trained parts as an ONNX folder that the generator serves.

    python -m training.generator.export --work .build/generator --output models/diptych-icons

The folder has the ecosystem's layout for diffusion models. Prints how far ONNX Runtime with the weights as stored is
from PyTorch, and whether the rows of a batch equal the rows computed alone.

    python -m training.generator.export --student --output models/diptych-icons-turbo

writes the few-step student, which takes everything but its denoiser from the model it was distilled from.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from diptych.repository import ModelRepository
from training.generator.decoder import load_decoder
from training.generator.denoiser import load_denoiser
from training.generator.latents import PatchCode
from training.generator.manifest import write_manifest
from training.generator.prepare import read_config
from training.generator.preview_map import fitted_to, table
from training.generator.storage import compress

TIME_LAYERS = ("time_embedding.", "add_embedding.proj")


class RowLinear(nn.Module):
    """A linear layer for (B, C) inputs written as a 1 x 1 convolution.

    A matrix product of one row takes another path through the runtime than one of many rows and rounds differently;
    convolutions go row by row, so a row's result does not depend on its company, to the bit.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight[:, :, None, None])
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, C') of (B, C)."""
        return conv2d(x[:, :, None, None], self.weight, self.bias)[:, :, 0, 0]


class RowPooling(nn.Module):
    """diffusers' attention pooling of (B, L, C) text states to (B, C), each row by operations of its own."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.query = RowLinear(cast(nn.Linear, pool.q_proj))
        self.key, self.value = cast(nn.Linear, pool.k_proj), cast(nn.Linear, pool.v_proj)
        self.position = cast(nn.Parameter, pool.positional_embedding)
        self.heads = cast(int, pool.num_heads)

    def forward(self, states: Tensor) -> Tensor:
        """(B, C) of (B, L, C)."""
        rows, length, width = states.shape
        weights = torch.full((1, 1, length), 1 / length)
        mean = torch.matmul(weights.expand(rows, 1, length), states)[:, 0] + self.position
        query = self.query(mean).view(rows, self.heads, 1, -1)
        seen = torch.cat([mean[:, None], states], 1)
        key = self.key(seen).view(rows, length + 1, self.heads, -1).permute(0, 2, 3, 1)
        value = self.value(seen).view(rows, length + 1, self.heads, -1).transpose(1, 2)
        attention = torch.softmax(torch.matmul(query, key) / math.sqrt(width / self.heads), -1)
        return torch.matmul(attention, value).reshape(rows, width)


class Velocity(nn.Module):
    """The denoiser as a plain function of three tensors; layers that see one vector a row become `RowLinear`."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser
        text = denoiser.get_submodule("add_embedding")
        text.pool = RowPooling(text.get_submodule("pool"))
        for name, module in list(denoiser.named_modules()):
            if isinstance(module, nn.Linear) and name.startswith(TIME_LAYERS) | ("time_emb_proj" in name):
                owner, _, attribute = name.rpartition(".")
                setattr(denoiser.get_submodule(owner), attribute, RowLinear(module))

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        """(B, C, H, W) velocity."""
        velocity: Tensor = self.denoiser(sample, timestep, encoder_hidden_states, return_dict=False)[0]
        return velocity


class Encoder(nn.Module):
    """(B, 3, 256, 256) pixels in -1..1 -> latents."""

    def __init__(self, code: PatchCode, factor: int) -> None:
        super().__init__()
        self.linear = code
        self.factor = factor

    def forward(self, sample: Tensor) -> Tensor:
        """Latents of the area-averaged picture."""
        return self.linear.encode(avg_pool2d(sample, self.factor))


def write_graph(
    module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path, precision: str = "float32"
) -> None:
    """Exports `module` with a free batch size to `path`, its large weights stored as `precision`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    batch = torch.export.Dim("batch", min=1, max=64)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "model.onnx"
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            raw,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            dynamo=True,
            external_data=False,
            opset_version=18,
            verbose=False,
        )
        model = onnx.load(raw)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    onnx.save(compress(model, precision), path)


def session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(module: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    """Prints how far ONNX Runtime is from PyTorch, and how far batched rows are from rows alone."""
    running = session(path)
    feeds = {name: value.numpy() for name, value in inputs.items()}
    with torch.inference_mode():
        expected = module(*inputs.values()).numpy()
    (together,) = running.run(None, feeds)
    alone = np.concatenate(
        [running.run(None, {k: v[i : i + 1] for k, v in feeds.items()})[0] for i in range(len(expected))]
    )
    pairs = np.concatenate(
        [running.run(None, {k: v[i : i + 2] for k, v in feeds.items()})[0] for i in range(0, len(expected), 2)]
    )
    largest = np.abs(expected - together).max()
    share = np.sqrt(np.square(expected - together).mean() / np.square(expected).mean())
    apart = max(np.abs(together - alone).max(), np.abs(pairs - alone).max())
    print(
        f"{path.parent.name}: {path.stat().st_size / 1e6:.2f} MB, PyTorch - ONNX {largest:.1e} ({share:.2%}), ", end=""
    )
    print(f"rows of {len(expected)} and of 2 - rows alone {apart:.1e}")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a small JSON file with a line end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_configs(output: Path, config: dict[str, Any], *, student: bool) -> None:
    """The JSON files that tell a loader what the graphs are."""
    version = "0.42.0"
    channels = config["latents"]["channels"]
    write_json(
        output / "model_index.json",
        {
            "_class_name": "DiptychTextToImagePipeline",
            "_diffusers_version": version,
            "text_encoder": ["onnxruntime", "OnnxRuntimeModel"],
            "tokenizer": ["tokenizers", "Tokenizer"],
            "unet": ["onnxruntime", "OnnxRuntimeModel"],
            "vae_decoder": ["onnxruntime", "OnnxRuntimeModel"],
            "vae_encoder": ["onnxruntime", "OnnxRuntimeModel"],
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        },
    )
    write_json(
        output / "unet/config.json",
        {"_class_name": "UNet2DConditionModel", "_diffusers_version": version, **config["denoiser"]},
    )
    vae = {
        "latent_channels": channels,
        "sample_size": config["data"]["render"],
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
    }
    for name in () if student else ("vae_decoder", "vae_encoder"):
        write_json(
            output / name / "config.json", {"_class_name": "AutoencoderKL", "_diffusers_version": version, **vae}
        )
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0).save_pretrained(output / "scheduler")


def example_inputs(config: dict[str, Any]) -> dict[str, Tensor]:
    """Inputs of the denoiser by name, eight random rows."""
    channels, cells = config["latents"]["channels"], config["denoiser"]["sample_size"]
    states = torch.randn(8, config["data"]["tokens"], config["denoiser"]["cross_attention_dim"]) * 0.4
    return {
        "sample": torch.randn(8, channels, cells, cells),
        "timestep": torch.linspace(50, 1000, 8),
        "encoder_hidden_states": states,
    }


def write_denoiser(checkpoint: Path, output: Path, config: dict[str, Any], precision: str) -> None:
    """Exports the averaged denoiser of a checkpoint."""
    velocity = Velocity(load_denoiser(checkpoint))
    path = output / "unet/model.onnx"
    write_graph(velocity, example_inputs(config), "out_sample", path, precision)
    check(velocity, example_inputs(config), path)


def write_autoencoder(work: Path, output: Path, config: dict[str, Any]) -> None:
    """Exports the decoder and the linear encoder."""
    decoder, _ = load_decoder(work, config["decoder"], config["latents"]["channels"])
    decoder.eval().requires_grad_(False)
    encoder = Encoder(decoder.linear, config["data"]["render"] // config["data"]["canvas"])
    size = config["data"]["render"]
    sample = {"sample": torch.rand(8, 3, size, size) * 2 - 1}
    latents = {"latent_sample": example_inputs(config)["sample"]}
    write_graph(decoder, latents, "sample", output / "vae_decoder/model.onnx")
    check(decoder, latents, output / "vae_decoder/model.onnx")
    write_graph(encoder, sample, "latent_sample", output / "vae_encoder/model.onnx")
    check(encoder, sample, output / "vae_encoder/model.onnx")


def main() -> None:
    """Exports, checks, and writes the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--output", type=Path, default=Path("models/diptych-icons"))
    parser.add_argument("--student", action="store_true", help="the few-step student")
    parser.add_argument("--precision", choices=("float32", "float16", "int8"), default="int8")
    parser.add_argument("--version", default="0.3.1", help="of the weights, for the manifest")
    options = parser.parse_args()
    output: Path = options.output
    config = read_config()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    checkpoint = options.work / ("student.pt" if options.student else "checkpoint.pt")
    write_denoiser(checkpoint, output, config, options.precision)
    if not options.student:
        write_autoencoder(options.work, output, config)
    write_configs(output, config, student=options.student)
    write_manifest(output, options.version, config, student=options.student)
    # A student's latents are its teacher's, and so is the map.
    known = ModelRepository([output.parent])
    drawn_by = "diptych-icons" if options.student else output.name
    known.pull(drawn_by)
    preview = table(fitted_to(known.open(drawn_by)))
    write_manifest(output, options.version, config, student=options.student, preview=preview)


if __name__ == "__main__":
    main()
