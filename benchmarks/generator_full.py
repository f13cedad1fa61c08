"""A model of full size with random weights, made for the generator's benchmark: as diffusers saves it, imported, and in
half precision.

    python -m benchmarks.generator_full --work DIR [--toy] [--compile]

Writes DIR/diffusers, DIR/models/sd15 and DIR/half: Stable Diffusion 1.5 (Rombach et al. 2022), or with --toy a few
channels of it. Speed does not ask what weights mean; the last layers are scaled so that predictions and pixels are as
large as those of a trained model, for pictures are compared too. --compile fills torch.compile's cache.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from benchmarks.generator_subject import HALVED, NAME, STEPS, Theirs
from diptych.engines.base import Array
from diptych.engines.onnx import OnnxEngine
from diptych.export import ImportOptions, import_model
from diptych.export.build_cuda import fuse_for_cuda
from diptych.export.build_graph import fuse, simplify
from diptych.export.build_precision import to_half
from diptych.export.weights import store_weights

UNET: Mapping[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
VAE: Mapping[str, Any] = {
    "sample_size": 512,
    "latent_channels": 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "scaling_factor": 0.18215,
}
TEXT: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "vocab_size": 49408,
}
_TOY_UNET: Mapping[str, Any] = {
    "sample_size": 8,
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
    "layers_per_block": 1,
    "block_out_channels": (16, 16, 32, 32),
    "norm_num_groups": 8,
}
_TOY_VAE: Mapping[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (8, 8, 8, 8),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
_TOY_TEXT = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}


def main() -> None:
    """Makes what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where everything is written")
    parser.add_argument("--toy", action="store_true", help="a few channels: shows that it works")
    parser.add_argument("--compile", action="store_true", help="draw once with torch.compile, which fills its cache")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where to compile for")
    given = parser.parse_args()
    work: Path = given.work
    _tell(f"in {work}")
    if not (work / "diffusers/model_index.json").is_file():
        shapes = [UNET, VAE, TEXT]
        if given.toy:
            shapes = [{**UNET, **_TOY_UNET}, {**VAE, **_TOY_VAE}, {**TEXT, **_TOY_TEXT}]
        write_pipeline(work / "diffusers", *shapes)
        _tell("diffusers' folder written")
    if not (work / "models" / NAME).is_dir():
        options = ImportOptions(NAME, num_inference_steps=STEPS, guidance_scale=7.5)
        import_model(work / "diffusers", work / "models", options, progress=_tell)
    for part in HALVED:
        if not (work / "half" / part / "model.onnx").is_file():
            _halve(work / "models" / NAME / part / "model.onnx", work / "half" / part)
            _tell(f"{part} in half precision")
    if given.compile:
        Theirs(work, given.device, compiled=True).draw("", 0, 2)
        _tell("compiled")


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def write_pipeline(
    folder: Path, unet_shape: Mapping[str, Any], vae_shape: Mapping[str, Any], text_shape: Mapping[str, Any]
) -> None:
    """Writes `folder` as diffusers does, in half precision: a model of these shapes, its weights random."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = CLIPTextModel(CLIPTextConfig(**text_shape, **ends))
    unet = UNet2DConditionModel(**unet_shape).eval()
    places = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(**{**vae_shape, **places}).eval()
    channels = int(unet.config["in_channels"])
    with torch.inference_mode():
        noise = torch.randn(2, channels, 32, 32)
        states = torch.randn(2, 77, int(unet.config["cross_attention_dim"]))
        _scale(unet.conv_out, unet(noise, torch.tensor([500.0, 100.0]), states).sample, 1.0)
        _scale(vae.decoder.conv_out, vae.decode(noise / vae.config["scaling_factor"]).sample, 0.4)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    kind: Any = StableDiffusionPipeline
    whole: Any = kind(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(**betas, steps_offset=1, timestep_spacing="leading"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    whole.to(torch.float16).save_pretrained(folder)


def _scale(layer: Any, answer: torch.Tensor, wanted: float) -> None:
    layer.weight.mul_(wanted / answer.std())
    layer.bias.zero_()


def _tokenizer() -> CLIPTokenizer:
    """Letters for words."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="<|endoftext|>", model_max_length=77)


def _halve(source: Path, folder: Path) -> None:
    """Writes `folder`/model.onnx: the graph fused, in half precision, as `diptych models build` makes it; and in
    cuda.onnx the same with what CUDA alone has operations for."""
    model = simplify(source, folder)
    fuse(model, _inputs(source), folder)
    model = to_half(model, folder)
    for_cuda = onnx.ModelProto()
    for_cuda.CopyFrom(model)
    if fuse_for_cuda(for_cuda):
        store_weights(for_cuda, folder / "cuda.onnx")
    store_weights(model, folder / "model.onnx")  # Last, for it says that both are there.


def _inputs(source: Path) -> dict[str, Array]:
    """Something small that the graph takes."""
    engine = OnnxEngine(source, providers=["CPUExecutionProvider"], keep_memory=False)
    chance, free = np.random.default_rng(0), {"batch": 2}
    inputs = {}
    for spec in engine.inputs:
        shape = [size if isinstance(size, int) else free.get(size, 16) for size in spec.shape]
        inputs[spec.name] = chance.uniform(0, 30, shape).astype(spec.dtype)
    engine.close()
    return inputs


if __name__ == "__main__":
    main()
