"""The parts of diffusion models as plain functions of tensors, with the names of the ecosystem's ONNX layout."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diptych.export.graph import Graph
from diptych.export.ip_adapter import Installed

BATCH, SIDES = {0: "batch"}, {0: "batch", 2: "height", 3: "width"}
# Batch, and the sides in units of the smallest ones: one for tracing, one to compare on.
TRACED, OTHER = (2, 4, 4), (3, 2, 6)


class Calls(nn.Module):
    """A module called in a way of its own."""

    def __init__(self, owner: nn.Module, call: Any) -> None:
        super().__init__()
        self.owner = owner
        self.call = call

    def forward(self, *inputs: Tensor) -> Any:
        """What `call` gives for the owner and the inputs."""
        return self.call(self.owner, *inputs)


def unet(
    model: nn.Module, *, tokens: int, residuals_of: nn.Module | None = None, adapter: Installed | None = None
) -> Graph:
    """The denoiser of Stable Diffusion 1.x, 2.x, XL and of latent consistency models.

    `residuals_of`: a ControlNet, whose kind of outputs it shall then take too; `adapter`: an IP-Adapter inside it.
    """
    config: Any = model.config
    extras = _unet_extras(config, tokens)
    if adapter is not None:
        extras |= {"image_tokens": (adapter.tokens, adapter.width), "image_scales": (len(adapter.layers),)}
    shapes = {} if residuals_of is None else _residual_shapes(residuals_of, extras, _step(config))
    names = ("sample", "timestep", *extras, *shapes)

    def call(owner: nn.Module, *inputs: Tensor) -> Tensor:
        given = dict(zip(names, inputs, strict=True))
        residuals = [given[name] for name in shapes]
        added: dict[str, Any] = {name: given[name] for name in ("text_embeds", "time_ids") if name in given}
        if adapter is not None:
            adapter.gate.scales = given["image_scales"]
            added["image_embeds"] = [given["image_tokens"][:, None]]
        answer: Tensor = owner(
            given["sample"],
            given["timestep"],
            encoder_hidden_states=given["encoder_hidden_states"],
            timestep_cond=given.get("timestep_cond"),
            added_cond_kwargs=added or None,
            down_block_additional_residuals=tuple(residuals[:-1]) or None,
            mid_block_additional_residual=residuals[-1] if residuals else None,
            return_dict=False,
        )[0]
        return answer

    def inputs(batch: int, height: int, width: int) -> dict[str, Tensor]:
        step = _step(config)
        sides = (height * step, width * step)
        return {
            "sample": torch.randn(batch, config.in_channels, *sides),
            "timestep": torch.linspace(1, 999, batch),
            **{name: torch.randn(batch, *shape) for name, shape in extras.items()},
            **{
                name: torch.randn(batch, channels, sides[0] // part, sides[1] // part) * 0.1
                for name, (channels, part) in shapes.items()
            },
        }

    axes = {
        "sample": SIDES,
        "timestep": BATCH,
        **dict.fromkeys(extras, BATCH),
        **{name: {0: "batch", 2: _part("height", part), 3: _part("width", part)} for name, (_, part) in shapes.items()},
        "out_sample": SIDES,
    }
    return Graph("unet", Calls(model, call), inputs(*TRACED), ("out_sample",), axes, inputs(*OTHER))


def controlnet(model: nn.Module, kind: str, *, tokens: int) -> Graph:
    """A ControlNet: what it adds to the denoiser, not yet weighted."""
    config: Any = model.config
    extras = {name: shape for name, shape in _unet_extras(config, tokens).items() if name != "timestep_cond"}
    shapes = _residual_shapes(model, extras, _step(config))
    factor = 2 ** (len(config.conditioning_embedding_out_channels) - 1)

    def call(
        owner: nn.Module, sample: Tensor, timestep: Tensor, picture: Tensor, *others: Tensor
    ) -> tuple[Tensor, ...]:
        return _call_controlnet(owner, sample, timestep, picture, dict(zip(extras, others, strict=True)))

    def inputs(batch: int, height: int, width: int) -> dict[str, Tensor]:
        step = _step(config)
        height, width = height * step, width * step
        return {
            "sample": torch.randn(batch, config.in_channels, height, width),
            "timestep": torch.linspace(1, 999, batch),
            "controlnet_cond": torch.rand(batch, 3, height * factor, width * factor),
            **{name: torch.randn(batch, *shape) for name, shape in extras.items()},
        }

    axes = {
        "sample": SIDES,
        "timestep": BATCH,
        "controlnet_cond": {0: "batch", 2: "picture_height", 3: "picture_width"},
        **dict.fromkeys(extras, BATCH),
        **{name: {0: "batch", 2: _part("height", part), 3: _part("width", part)} for name, (_, part) in shapes.items()},
    }
    return Graph(f"controlnet/{kind}", Calls(model, call), inputs(*TRACED), tuple(shapes), axes, inputs(*OTHER))


def vae_decoder(model: nn.Module) -> Graph:
    """Latents to pixels in -1..1."""
    channels = int(model.config.latent_channels)  # type: ignore[union-attr,arg-type]
    one, other = torch.randn(1, channels, 8, 8), torch.randn(1, channels, 4, 12)
    call = Calls(model, lambda owner, latents: owner.decode(latents, return_dict=False)[0])
    axes = {"latent_sample": SIDES, "sample": {0: "batch", 2: "sample_height", 3: "sample_width"}}
    return Graph("vae_decoder", call, {"latent_sample": one}, ("sample",), axes, {"latent_sample": other})


def vae_encoder(model: nn.Module, factor: int) -> Graph:
    """Pixels in -1..1 to the mean of their latents' distribution."""
    one, other = (torch.rand(1, 3, height * factor, width * factor) * 2 - 1 for height, width in ((8, 8), (4, 12)))
    call = Calls(model, lambda owner, pixels: owner.encode(pixels).latent_dist.mean)
    axes = {"sample": {0: "batch", 2: "sample_height", 3: "sample_width"}, "latent_sample": SIDES}
    return Graph("vae_encoder", call, {"sample": one}, ("latent_sample",), axes, {"sample": other})


def clip_states(model: nn.Module, part: str, *, clip_skip: int) -> Graph:
    """CLIP's last states; with `clip_skip` those of so many layers earlier, normed as the last ones are."""

    def call(owner: Any, ids: Tensor) -> Tensor:
        answer = owner(ids, output_hidden_states=True)
        if not clip_skip:
            return answer.last_hidden_state  # type: ignore[no-any-return]
        inner = getattr(owner, "text_model", owner)
        return inner.final_layer_norm(answer.hidden_states[-1 - clip_skip])  # type: ignore[no-any-return]

    return _text(model, part, call, ("last_hidden_state",), int(model.config.max_position_embeddings))  # type: ignore[union-attr,arg-type]


def clip_penultimate(model: nn.Module, part: str, *, clip_skip: int) -> Graph:
    """CLIP's states before its last layer (`clip_skip` earlier still), and a projected pooled vector if it has one."""
    layer = int(model.config.num_hidden_layers) - 1 - clip_skip  # type: ignore[union-attr,arg-type]
    projects = hasattr(model, "text_projection")

    def call(owner: Any, ids: Tensor) -> tuple[Tensor, ...]:
        answer = owner(ids, output_hidden_states=True)
        states = answer.hidden_states[layer]
        return (states, answer.text_embeds) if projects else (states,)

    names = (f"hidden_states.{layer}", *(("text_embeds",) if projects else ()))
    return _text(model, part, call, names, int(model.config.max_position_embeddings))  # type: ignore[union-attr,arg-type]


def t5_states(model: nn.Module, part: str, *, tokens: int) -> Graph:
    """T5's states of a prompt filled up to `tokens`; as diffusers has it, the padding is not masked."""
    return _text(model, part, lambda owner, ids: owner(ids).last_hidden_state, ("last_hidden_state",), tokens)


def _text(model: nn.Module, part: str, call: Any, outputs: Sequence[str], tokens: int) -> Graph:
    words = int(model.config.vocab_size)  # type: ignore[union-attr,arg-type]
    one, other = (torch.randint(0, words, (1, tokens)) for _ in range(2))
    return Graph(part, Calls(model, call), {"input_ids": one}, tuple(outputs), {}, {"input_ids": other})


def _unet_extras(config: Any, tokens: int) -> dict[str, tuple[int, ...]]:
    """Inputs beside sample and timestep, and their shapes without the batch axis."""
    extras: dict[str, tuple[int, ...]] = {"encoder_hidden_states": (tokens, config.cross_attention_dim)}
    if config.get("time_cond_proj_dim"):
        extras["timestep_cond"] = (config.time_cond_proj_dim,)
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        extras |= {"text_embeds": (pooled,), "time_ids": (6,)}
    return extras


def _residual_shapes(model: nn.Module, extras: dict[str, tuple[int, ...]], step: int) -> dict[str, tuple[int, int]]:
    """What a ControlNet gives, by name: channels, and by how much smaller than the latents."""
    config: Any = model.config
    factor = 2 ** (len(config.conditioning_embedding_out_channels) - 1)
    given = {name: torch.zeros(1, *shape) for name, shape in extras.items() if name != "timestep_cond"}
    with torch.inference_mode():
        outputs = _call_controlnet(
            model,
            torch.zeros(1, config.in_channels, step, step),
            torch.ones(1),
            torch.zeros(1, 3, step * factor, step * factor),
            given,
        )
    *down, mid = ((output.shape[1], step // output.shape[2]) for output in outputs)
    names = {f"down_block_additional_residual_{index}": shape for index, shape in enumerate(down)}
    return {**names, "mid_block_additional_residual": mid}


def _call_controlnet(
    model: nn.Module, sample: Tensor, timestep: Tensor, picture: Tensor, given: dict[str, Tensor]
) -> tuple[Tensor, ...]:
    added = {name: given[name] for name in ("text_embeds", "time_ids") if name in given}
    down, mid = model(
        sample,
        timestep,
        encoder_hidden_states=given["encoder_hidden_states"],
        controlnet_cond=picture,
        added_cond_kwargs=added or None,
        return_dict=False,
    )
    return (*down, mid)


def _step(config: Any) -> int:
    """The smallest side of latents that every level of the UNet can halve."""
    return int(2 ** (len(config.block_out_channels) - 1))


def _part(side: str, part: int) -> str:
    return side if part == 1 else f"{side}_{part}"
