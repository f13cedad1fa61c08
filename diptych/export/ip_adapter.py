"""IP-Adapters (Ye et al. 2023): a picture beside the prompt, seen by attention layers of its own.

The adapter's weights go into the UNet, which then takes `image_tokens` and, for every layer, how much of them to heed.
What makes tokens of a picture, CLIP's vision encoder and the adapter's projection, becomes a graph of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych.errors import FailedPrecondition
from diptych.export.graph import Graph
from diptych.export.parts import load_part
from diptych.repository.verify import check_content

PART = "image_encoder"
# Of Stable Diffusion XL's layers those that give a picture its style (Wang et al. 2024, InstantStyle).
_STYLE_LAYERS = "up_blocks.0.attentions.1."


@dataclass(frozen=True, eq=False)
class Installed:
    """An adapter inside a UNet: `tokens` of `width` numbers a picture, and the names of the layers that see them."""

    encoder: nn.Module
    projection: nn.Module
    layers: Sequence[str]
    tokens: int
    width: int
    gate: "Gate"

    @property
    def style_layers(self) -> list[int]:
        """Those that take style alone; all of them where no such are known."""
        styled = [number for number, name in enumerate(self.layers) if name.startswith(_STYLE_LAYERS)]
        return styled if self.gate.knows_style and styled else list(range(len(self.layers)))


class Gate(nn.Module):
    """How much each sample heeds the picture in each layer, (B, layers); set before every call."""

    def __init__(self, *, knows_style: bool) -> None:
        super().__init__()
        self.knows_style = knows_style
        self.scales = torch.zeros(1, 1)

    def forward(self, embeds: list[Tensor]) -> list[Tensor]:
        """Tokens as they are: they were projected when the picture was read."""
        return embeds


class _Gated(nn.Module):
    """The values that a layer takes from the picture, weighted."""

    def __init__(self, values: nn.Module, gate: Gate, layer: int) -> None:
        super().__init__()
        self.values = values
        self.layer = layer
        object.__setattr__(self, "gate", gate)  # The UNet's own submodule already.

    def forward(self, tokens: Tensor) -> Tensor:
        scales: Tensor = self.gate.scales[:, self.layer]  # type: ignore[union-attr,index]
        weighted: Tensor = self.values(tokens) * scales[:, None, None, None]
        return weighted


def install(unet: Any, file: Path, folders: Sequence[Path]) -> Installed:
    """The adapter in `file` put into `unet`, with the first vision encoder that lies in one of `folders`.

    FailedPrecondition for a file that is no IP-Adapter for this UNet, or without vision encoder.
    """
    state = _read(file)
    encoders = [folder for folder in folders if (folder / "config.json").is_file()]
    if not encoders:
        raise FailedPrecondition(
            f"there is no {PART} for {file.name}; put CLIP's vision encoder, safetensors and config.json, into "
            f"{folders[0].parent.name}/{PART}",
            reason="FILE_MISSING",
        )
    encoder = load_part(encoders[0].parent, encoders[0].name)
    try:
        unet._load_ip_adapter_weights([state], low_cpu_mem_usage=False)
    except (KeyError, RuntimeError, ValueError) as error:
        raise FailedPrecondition(
            f"{file.name} does not fit this model: {str(error)[:200]}", reason="ADAPTER_MISMATCH"
        ) from error
    projection = unet.encoder_hid_proj.image_projection_layers[0].eval().requires_grad_(False)
    gate = Gate(knows_style=unet.config.addition_embed_type == "text_time")
    unet.encoder_hid_proj = gate
    layers = [name for name, own in unet.attn_processors.items() if hasattr(own, "to_v_ip")]
    for number, name in enumerate(layers):
        own = unet.attn_processors[name]
        own.to_v_ip[0] = _Gated(own.to_v_ip[0], gate, number)
    size = encoder.config.image_size
    with torch.inference_mode():
        _, tokens, width = _tokens(encoder, projection, torch.zeros(1, 3, size, size))[0].shape
    return Installed(encoder, projection, layers, tokens, width, gate)


def image_encoder(adapter: Installed) -> Graph:
    """A picture as tokens, and the tokens that stand for no picture."""
    size = int(adapter.encoder.config.image_size)  # type: ignore[union-attr,arg-type]
    one, other = torch.randn(1, 3, size, size), torch.randn(1, 3, size, size)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.projection = adapter.encoder, adapter.projection

        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            return _tokens(self.encoder, self.projection, pixels)

    outputs = ("image_tokens", "no_image_tokens")
    return Graph(PART, Whole(), {"pixel_values": one}, outputs, {}, {"pixel_values": other})


def settings(adapter: Installed) -> dict[str, Any]:
    """What the served model has to know: size of the picture, number of layers, which of them take style."""
    return {
        "image_size": int(adapter.encoder.config.image_size),  # type: ignore[union-attr,arg-type]
        "num_layers": len(adapter.layers),
        "style_layers": adapter.style_layers,
    }


def _tokens(encoder: Any, projection: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    if type(projection).__name__ == "ImageProjection":
        embeds = encoder(pixels).image_embeds
        return projection(embeds), projection(torch.zeros_like(embeds))
    # The finer adapters look at the patches; no picture is a picture of zeros to them.
    states, none = (
        encoder(given, output_hidden_states=True).hidden_states[-2] for given in (pixels, torch.zeros_like(pixels))
    )
    return projection(states), projection(none)


def _read(file: Path) -> dict[str, dict[str, Tensor]]:
    if file.suffix != ".safetensors" or not file.is_file():
        raise FailedPrecondition(f"there is no safetensors file {file.name}; give one", reason="NO_SAFETENSORS")
    check_content(file, label=file.name)
    state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, tensor in load_file(file).items():
        part, _, name = key.partition(".")
        if part not in state:
            raise FailedPrecondition(f"{file.name} holds {key}, which is no IP-Adapter's", reason="ADAPTER_MISMATCH")
        state[part][name] = tensor.to(torch.float32)
    if (
        not all(state.values())
        or any("lora" in key for key in state["ip_adapter"])
        or _is_for_faces(state["image_proj"])
    ):
        raise FailedPrecondition(
            f"{file.name} is an adapter for faces, or none; served are IP-Adapter, its Plus and its Full",
            reason="UNSUPPORTED_MODEL",
        )
    return state


def _is_for_faces(projection: Mapping[str, Tensor]) -> bool:
    """Whether it wants what a face recogniser says instead of a picture."""
    if "proj.weight" in projection:
        return False
    return "perceiver_resampler.proj_in.weight" in projection or "norm.weight" in projection
