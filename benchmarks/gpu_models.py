"""Denoisers of full size with random weights, or of a few channels: speed does not ask what weights mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diptych.export import modules, sd3
from diptych.export.graph import Graph

_XL_UNET = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
}


def precision_on(device: str) -> torch.dtype:
    """What denoisers are timed in: half precision on a GPU."""
    return torch.float16 if device == "cuda" else torch.float32


@dataclass(frozen=True)
class Denoiser:
    """A denoiser to time: `make` builds it where torch's default device is, `inputs` are those of a batch, `graph` is
    what its ONNX export takes. `side`: pixels a side of the pictures it draws; `compiles_blocks`: its blocks are
    compiled one by one, instead of the whole."""

    name: str
    side: int
    make: Callable[[], nn.Module]
    inputs: Callable[[int], Mapping[str, Tensor]]
    graph: Callable[[nn.Module], Graph]
    compiles_blocks: bool = False


def denoisers(*, toy: bool) -> list[Denoiser]:
    """Stable Diffusion 1.5 and XL, and a transformer of 12 billion weights (with `toy`: of a few thousand)."""
    return [_sd(toy), _sdxl(toy), _transformer(toy)]


def _sd(toy: bool) -> Denoiser:
    """The configuration of Stable Diffusion 1.5 (Rombach et al. 2022)."""
    config: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
    if toy:
        config |= {"sample_size": 8, "cross_attention_dim": 32, "attention_head_dim": 4, "layers_per_block": 1}
        config |= {"block_out_channels": (16, 32), "norm_num_groups": 8}
        config |= {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
        config |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
    return _unet("sd15", config)


def _sdxl(toy: bool) -> Denoiser:
    """The configuration of Stable Diffusion XL (Podell et al. 2023)."""
    config = _XL_UNET | {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
    if toy:
        config |= {
            "sample_size": 8,
            "block_out_channels": (16, 16, 32),
            "cross_attention_dim": 32,
            "attention_head_dim": (2, 2, 4),
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 80,
            "transformer_layers_per_block": (1, 1, 2),
            "layers_per_block": 1,
            "norm_num_groups": 8,
        }
    return _unet("sdxl", config)


def _unet(name: str, config: Mapping[str, Any]) -> Denoiser:
    def inputs(batch: int) -> Mapping[str, Tensor]:
        side = config["sample_size"]
        given = {
            "sample": torch.randn(batch, 4, side, side),
            "timestep": torch.full((batch,), 500.0),
            "encoder_hidden_states": torch.randn(batch, 77, config["cross_attention_dim"]),
        }
        if config.get("addition_embed_type"):
            pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
            given |= {"text_embeds": torch.randn(batch, pooled), "time_ids": torch.full((batch, 6), 1024.0)}
        return given

    return Denoiser(
        name,
        8 * config["sample_size"],
        lambda: UNet2DConditionModel(**config),
        inputs,
        lambda module: modules.unet(module, tokens=77),
    )


def _transformer(toy: bool) -> Denoiser:
    """The denoiser of Stable Diffusion 3.5 Large (Esser et al. 2024), with half as many blocks again: 12 billion
    weights."""
    config: dict[str, Any] = {
        "sample_size": 128,
        "num_layers": 57,
        "num_attention_heads": 38,
        "caption_projection_dim": 38 * 64,
        "out_channels": 16,
        "pos_embed_max_size": 192,
        "qk_norm": "rms_norm",
    }
    tokens, width = 333, 4096
    if toy:
        tokens, width = 16, 32
        config |= {"sample_size": 8, "num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2}
        config |= {"caption_projection_dim": 16, "joint_attention_dim": width, "pos_embed_max_size": 16}
        config |= {"pooled_projection_dim": 32}

    def inputs(batch: int) -> Mapping[str, Tensor]:
        side = config["sample_size"]
        return {
            "hidden_states": torch.randn(batch, 16, side, side),
            "encoder_hidden_states": torch.randn(batch, tokens, width),
            "pooled_projections": torch.randn(batch, config.get("pooled_projection_dim", 2048)),
            "timestep": torch.full((batch,), 500.0),
        }

    return Denoiser(
        "sd3-12b",
        8 * config["sample_size"],
        lambda: SD3Transformer2DModel(**config),
        inputs,
        lambda module: sd3.transformer(module, tokens=tokens),
        compiles_blocks=True,
    )
