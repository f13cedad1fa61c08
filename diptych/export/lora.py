"""LoRA adapters (Hu et al. 2021) added to the weights they were trained for.

Read are safetensors files in diffusers' own styles (peft's and the older ones) and in kohya's, with diffusers' or the
original names of the blocks of Stable Diffusion XL and 3.
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
    ("base_model.model.", ""),
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
# Stable Diffusion 3's original names within a block, for the stream of the picture and for that of the text: where
# queries, keys and values were one matrix, the modules it is divided among.
_JOINT = {
    "x": {
        "attn_qkv": ("attn_to_q", "attn_to_k", "attn_to_v"),
        "attn_proj": ("attn_to_out_0",),
        "attn2_qkv": ("attn2_to_q", "attn2_to_k", "attn2_to_v"),
        "attn2_proj": ("attn2_to_out_0",),
        "mlp_fc1": ("ff_net_0_proj",),
        "mlp_fc2": ("ff_net_2",),
        "adaLN_modulation_1": ("norm1_linear",),
    },
    "context": {
        "attn_qkv": ("attn_add_q_proj", "attn_add_k_proj", "attn_add_v_proj"),
        "attn_proj": ("attn_to_add_out",),
        "mlp_fc1": ("ff_context_net_0_proj",),
        "mlp_fc2": ("ff_context_net_2",),
    },
}
_JOINT_BLOCK = re.compile(r"(?:diffusion_model_)?joint_blocks_(\d+)_(x|context)_block_(.*)")
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
            owners = [own] if own is not None else [flat[one] for one in _joint_names(name) if one in flat]
            for key, down, up, scale in deltas if owners else ():
                delta = (up @ down) * scale
                if delta.shape != (sum(len(own.weight) for own in owners), owners[0].weight[0].numel()):
                    raise FailedPrecondition(
                        f"{key} was trained for other sizes than {part} has; it belongs to another model",
                        reason="LORA_MISMATCH",
                    )
                for own, share in zip(owners, delta.chunk(len(owners)), strict=True):
                    own.weight.data += share.reshape(own.weight.shape)
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
        alphas = {key.removesuffix(".alpha"): value for key, value in tensors.items() if key.endswith(".alpha")}
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
            entry = (f"{file}: {key}", *_matrices(f"{file}: {key}", down, tensors[up_key], weight, alphas.get(base)))
            self.deltas.setdefault(part, {}).setdefault(name, []).append(entry)
        unknown = sorted(set(tensors) - used)
        if unknown or not used:
            found = unknown[0] if unknown else "nothing"
            raise FailedPrecondition(
                f"{file} holds {found}, which is no plain LoRA; served are pairs of a down and an up matrix",
                reason="LORA_UNKNOWN",
            )


def _matrices(key: str, down: Tensor, up: Tensor, weight: float, alpha: Tensor | None) -> tuple[Tensor, Tensor, float]:
    """Both as matrices (rank, in) and (out, rank) in float32, and by how much their product counts."""
    rank = len(down) if down.ndim else 0
    if not rank or up.ndim < 2 or up[0].numel() != rank or (alpha is not None and alpha.numel() != 1):
        raise FailedPrecondition(
            f"{key} and its counterpart are no pair of matrices with an alpha; the file is spoilt",
            reason="LORA_MISMATCH",
        )
    scale = weight * (rank if alpha is None else float(alpha)) / rank
    return down.to(torch.float32).flatten(1), up.to(torch.float32).flatten(1), scale


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


def _joint_names(name: str) -> list[str]:
    """diffusers' names for a module of Stable Diffusion 3 that has the original one, in the order of its rows."""
    match = _JOINT_BLOCK.fullmatch(name)
    if match is None:
        return []
    return [f"transformer_blocks_{match[1]}_{inner}" for inner in _JOINT[match[2]].get(match[3], ())]


def _inner(name: str) -> Any:
    return _RESNET.get(name, name)
