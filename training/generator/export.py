"""Writes the trained parts as an ONNX folder that the generator serves.

    python -m training.generator.export --work .build/generator --output models/diptych-icons

The folder has the ecosystem's layout for diffusion models. Large weights are stored as float16 and widened at load, so
all arithmetic stays float32. Prints the largest difference between PyTorch and ONNX Runtime, and whether the rows of a
batch equal the rows computed alone.
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
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from training.generator.decoder import load_decoder
from training.generator.latents import PatchCode
from training.generator.manifest import write_manifest
from training.generator.prepare import read_config
from training.generator.train import load_denoiser

TIME_LAYERS = ("time_embedding.", "add_embedding.proj")
SMALLEST_STORED_AS_HALF = 2048  # numbers; smaller tensors are not worth a node


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


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its large float32 weights stored as float16 behind a Cast to float32."""
    graph = model.graph
    casts, kept = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < SMALLEST_STORED_AS_HALF:
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name + "_half"))
        casts.append(helper.make_node("Cast", [tensor.name + "_half"], [tensor.name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*casts, *nodes])
    return model


def write_graph(module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path, *, half: bool) -> None:
    """Exports `module` with a free batch size to `path`."""
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
    onnx.save(halve(model) if half else model, path)


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
    distance = np.abs(expected - together).max()
    apart = max(np.abs(together - alone).max(), np.abs(pairs - alone).max())
    print(f"{path.parent.name}: {path.stat().st_size / 1e6:.2f} MB, PyTorch - ONNX {distance:.2e}, ", end="")
    print(f"rows of {len(expected)} and of 2 - rows alone {apart:.1e}")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a small JSON file with a line end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_configs(output: Path, config: dict[str, Any]) -> None:
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
    for name in ("vae_decoder", "vae_encoder"):
        write_json(
            output / name / "config.json", {"_class_name": "AutoencoderKL", "_diffusers_version": version, **vae}
        )
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0).save_pretrained(output / "scheduler")


def main() -> None:
    """Exports, checks, and writes the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--output", type=Path, default=Path("models/diptych-icons"))
    parser.add_argument("--version", default="0.1.0", help="of the weights, for the manifest")
    options = parser.parse_args()
    output: Path = options.output
    config = read_config()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    channels, cells = config["latents"]["channels"], config["denoiser"]["sample_size"]
    decoder = load_decoder(options.work, config["decoder"], channels)[0].eval().requires_grad_(False)
    encoder = Encoder(decoder.linear, config["data"]["render"] // config["data"]["canvas"])
    velocity = Velocity(load_denoiser(options.work))
    for weight in velocity.parameters():  # what is stored is what is compared
        weight.data = weight.data.half().float() if weight.numel() >= SMALLEST_STORED_AS_HALF else weight.data
    latents = torch.randn(8, channels, cells, cells)
    states = torch.randn(8, config["data"]["tokens"], config["denoiser"]["cross_attention_dim"]) * 0.4
    asked = {"sample": latents, "timestep": torch.linspace(50, 1000, 8), "encoder_hidden_states": states}
    size = config["data"]["render"]
    for name, module, inputs, answer, half in (
        ("unet", velocity, asked, "out_sample", True),
        ("vae_decoder", decoder, {"latent_sample": latents}, "sample", False),
        ("vae_encoder", encoder, {"sample": torch.rand(8, 3, size, size) * 2 - 1}, "latent_sample", False),
    ):
        path = output / name / "model.onnx"
        write_graph(module, inputs, answer, path, half=half)
        check(module, inputs, path)
    write_configs(output, config)
    write_manifest(output, options.version, config["sampling"]["guidance"])


if __name__ == "__main__":
    main()
