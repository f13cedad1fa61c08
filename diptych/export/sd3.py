"""The denoiser of Stable Diffusion 3 (Esser et al. 2024) and its ControlNets as plain functions of tensors."""

from typing import Any

import torch
from torch import Tensor, nn

from diptych.export.graph import Graph
from diptych.export.modules import BATCH, OTHER, SIDES, TRACED, Calls

RESIDUAL = "block_controlnet_hidden_states"


def transformer(model: nn.Module, *, tokens: int, residuals: int = 0) -> Graph:
    """The denoiser: two streams, text and picture, that attend to one another.

    `residuals`: how many tensors it takes of ControlNets, each for some of its blocks.
    """
    config: Any = model.config
    names = residual_names(residuals)
    width = config.num_attention_heads * config.attention_head_dim

    def call(
        owner: nn.Module, sample: Tensor, states: Tensor, pooled: Tensor, timestep: Tensor, *residuals: Tensor
    ) -> Tensor:
        answer: Tensor = owner(
            hidden_states=sample,
            encoder_hidden_states=states,
            pooled_projections=pooled,
            timestep=timestep,
            block_controlnet_hidden_states=list(residuals) or None,
            return_dict=False,
        )[0]
        return answer

    def inputs(batch: int, height: int, width_: int) -> dict[str, Tensor]:
        cells = height * width_
        return {
            **_inputs(config, tokens, batch, height, width_),
            **{name: torch.randn(batch, cells, width) * 0.1 for name in names},
        }

    axes = {**_axes(), **_residual_axes(names, config), "out_hidden_states": SIDES}
    return Graph("transformer", Calls(model, call), inputs(*TRACED), ("out_hidden_states",), axes, inputs(*OTHER))


def controlnet(model: Any, kind: str, denoiser: Any, *, tokens: int, offset: float) -> Graph:
    """A ControlNet: what it adds to the denoiser, not yet weighted. Its picture is given as latents.

    `offset` is the shift of the autoencoder times its scale: nets that see no pooled text were trained on latents
    without the shift, so it is added again.
    """
    config: Any = model.config
    if model.pos_embed is None:  # Some share the denoiser's.
        model.pos_embed = model._get_pos_embed_from_transformer(denoiser)
    blind = bool(config.force_zeros_for_pooled_projection)
    names = residual_names(config.num_layers)

    def call(
        owner: nn.Module, sample: Tensor, states: Tensor, pooled: Tensor, timestep: Tensor, picture: Tensor
    ) -> tuple[Tensor, ...]:
        answer = owner(
            hidden_states=sample,
            encoder_hidden_states=states if config.joint_attention_dim is not None else None,
            pooled_projections=torch.zeros_like(pooled) if blind else pooled,
            timestep=timestep,
            controlnet_cond=picture + offset if blind else picture,
            return_dict=False,
        )[0]
        return tuple(answer)

    def inputs(batch: int, height: int, width: int) -> dict[str, Tensor]:
        common = _inputs(denoiser.config, tokens, batch, height, width)
        return {**common, "controlnet_cond": torch.randn_like(common["hidden_states"])}

    axes = {**_axes(), **_residual_axes(names, config), "controlnet_cond": SIDES}
    return Graph(f"controlnet/{kind}", Calls(model, call), inputs(*TRACED), names, axes, inputs(*OTHER))


def residual_names(count: int) -> tuple[str, ...]:
    """Names of what ControlNets add."""
    return tuple(f"{RESIDUAL}_{number}" for number in range(count))


def _inputs(config: Any, tokens: int, batch: int, height: int, width: int) -> dict[str, Tensor]:
    sides = (height * config.patch_size, width * config.patch_size)
    return {
        "hidden_states": torch.randn(batch, config.in_channels, *sides),
        "encoder_hidden_states": torch.randn(batch, tokens, config.joint_attention_dim),
        "pooled_projections": torch.randn(batch, config.pooled_projection_dim),
        "timestep": torch.linspace(1, 999, batch),
    }


def _axes() -> dict[str, dict[int, str]]:
    others = ("encoder_hidden_states", "pooled_projections", "timestep")
    return {"hidden_states": SIDES, **dict.fromkeys(others, BATCH)}


def _residual_axes(names: tuple[str, ...], config: Any) -> dict[str, dict[int, str]]:
    """One row for each patch: `cells_2` are the cells of sides half as long."""
    return {name: {0: "batch", 1: f"cells_{config.patch_size}"} for name in names}
