"""LoRA adapters (Hu et al. 2021) added to the weights they were trained for.

Read are safetensors files in diffusers' own styles (peft's and the older ones) and in kohya's, with diffusers' or the
original names of Stable Diffusion XL's blocks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych.errors import FailedPrecondition
from diptych.repository.verify import check_content

_DOWN_UP = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora_A.default.weight", ".lora_B.default.weight"),
    (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    ("_lora.down.weight", "_lora.up.weight"),
    (".lora_down.weight", ".lora_up.weight"),
)
# The first that fits says which part an adapter belongs to; the empty one stands for the denoiser.
_PREFIXES = (
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder.", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te1_", "text_encoder"),
    ("lora_te_", "text_encoder"),
    ("unet.", ""),
    ("transformer.", ""),
    ("lora_unet_", ""),
    ("lora_transformer_", ""),
    ("", ""),
)
_RESNET = {
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ORIGINAL = re.compile(r"(input|middle|output)_blocks?_(\d+)_(.*)")


@dataclass
class Adapters:
    """Adapters by part and by module name with underscores for dots; each is added once."""

    deltas: dict[str, dict[str, list[tuple[str, Tensor, Tensor, float]]]] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, files: Sequence[tuple[Path, float]]) -> "Adapters":
        """The adapters in `files`, each with its weight; FailedPrecondition names a key that is no plain LoRA."""
        adapters = cls()
        for path, weight in files:
            if path.suffix != ".safetensors" or not path.is_file():
                raise FailedPrecondition(f"there is no safetensors file {path.name}; give one", reason="NO_SAFETENSORS")
            check_content(path, label=path.name)
            adapters._add(path.name, load_file(path), weight)
        return adapters

    def merge_into(self, part: str, module: nn.Module) -> None:
        """Adds what belongs to `part` to the module's weights, in place."""
        known = self.deltas.get("" if part in ("unet", "transformer") else part, {})
        if not known:
            return
        by_name = {name: own for name, own in module.named_modules() if isinstance(own, nn.Linear | nn.Conv2d)}
        flat = {name.replace(".", "_"): own for name, own in by_name.items()}
        # Text encoders have lost a level of names over the years.
        flat |= {f"text_model_{name}": own for name, own in list(flat.items()) if part.startswith("text_encoder")}
        layers = int(getattr(module.config, "layers_per_block", 2) or 2) if part == "unet" else 2
        for name, deltas in known.items():
            own = flat.get(name) or flat.get(f"{name}_0") or flat.get(_diffusers_name(name, layers))
            if own is None:
                continue
            for key, down, up, scale in deltas:
                delta = (up.flatten(1) @ down.flatten(1)) * scale
                if delta.numel() != own.weight.numel():
                    raise FailedPrecondition(
                        f"{key} was trained for other sizes than {part} has; it belongs to another model",
                        reason="LORA_MISMATCH",
                    )
                own.weight.data += delta.reshape(own.weight.shape)
                self.merged.add(key)

    def check_all_merged(self) -> None:
        """FailedPrecondition unless every adapter found its module."""
        every = {key for part in self.deltas.values() for deltas in part.values() for key, *_ in deltas}
        if left := sorted(every - self.merged):
            raise FailedPrecondition(
                f"{len(left)} of {len(every)} adapters fit no part of this model, such as {left[0]}; "
                "they belong to another model",
                reason="LORA_MISMATCH",
            )

    def _add(self, file: str, tensors: dict[str, Tensor], weight: float) -> None:
        alphas = {key.removesuffix(".alpha"): float(value) for key, value in tensors.items() if key.endswith(".alpha")}
        used = {f"{base}.alpha" for base in alphas}
        for key, down in tensors.items():
            pair = next((pair for pair in _DOWN_UP if key.endswith(pair[0])), None)
            if pair is None:
                continue
            base = key.removesuffix(pair[0])
            up_key = base + pair[1]
            if up_key not in tensors:
                raise FailedPrecondition(f"{file} lacks {up_key}", reason="LORA_MISMATCH")
            used |= {key, up_key}
            prefix, part = next(one for one in _PREFIXES if base.startswith(one[0]))
            name = base.removeprefix(prefix).replace(".processor.", ".").replace(".", "_")
            rank = down.shape[0]
            scale = weight * alphas.get(base, rank) / rank
            entry = (f"{file}: {key}", down.to(torch.float32), tensors[up_key].to(torch.float32), scale)
            self.deltas.setdefault(part, {}).setdefault(name, []).append(entry)
        if unknown := sorted(set(tensors) - used):
            raise FailedPrecondition(
                f"{file} holds {unknown[0]}, which is no plain LoRA; served are pairs of a down and an up matrix",
                reason="LORA_UNKNOWN",
            )


def _diffusers_name(name: str, layers: int) -> str:
    """diffusers' name for a module of a UNet that has the original one; `layers` is its `layers_per_block`."""
    match = _ORIGINAL.fullmatch(name)
    if match is None:
        return name
    side, number, rest = match[1], int(match[2]), match[3]
    if side == "middle":
        return f"mid_block_{'attentions_0' if number == 1 else f'resnets_{number // 2}'}_{_inner(rest)}"
    block, layer = divmod(number - 1 if side == "input" else number, layers + 1)
    kind, _, inner = rest.partition("_")
    place = f"{'down' if side == 'input' else 'up'}_blocks_{block}"
    if side == "input" and layer == layers:
        return f"{place}_downsamplers_0_conv"
    if inner == "conv":
        return f"{place}_upsamplers_0_conv"
    return f"{place}_{'attentions' if kind == '1' else 'resnets'}_{layer}_{_inner(inner)}"


def _inner(name: str) -> Any:
    return _RESNET.get(name, name)
