"""Adapters in every style of names are added to the weights they belong to."""

from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from toy_families import Toys
from transformers import CLIPTextModel

from diptych.errors import FailedPrecondition
from diptych.export.lora import Adapters

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONVOLUTION = "down_blocks.0.resnets.0.conv1"
PROJECTION = "text_model.encoder.layers.1.self_attn.q_proj"


@pytest.fixture
def unet(toys: Toys) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(toys.source("sd") / "unet")


def pair(down: tuple[int, ...], up: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(down), torch.randn(up)


def merged(tmp_path: Path, tensors: dict[str, torch.Tensor], weight: float, part: str, module: torch.nn.Module) -> None:
    save_file(tensors, tmp_path / "lora.safetensors")
    adapters = Adapters.read([(tmp_path / "lora.safetensors", weight)])
    adapters.merge_into(part, module)
    adapters.check_all_merged()


@pytest.mark.parametrize(
    ("base", "down_name", "up_name", "module"),
    [
        (f"unet.{QUERY}", ".lora_A.weight", ".lora_B.weight", QUERY),
        (f"base_model.model.{QUERY}", ".lora_A.weight", ".lora_B.weight", QUERY),
        (f"unet.{QUERY}", ".lora.down.weight", ".lora.up.weight", QUERY),
        (QUERY.replace(".to_q", ".processor.to_q"), "_lora.down.weight", "_lora.up.weight", QUERY),
        (OUT.replace(".to_out.0", ".processor.to_out"), "_lora.down.weight", "_lora.up.weight", OUT),
        ("lora_unet_" + QUERY.replace(".", "_"), ".lora_down.weight", ".lora_up.weight", QUERY),
        # Of one layer a level, input_blocks.1 is the first with attention.
        ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", ".lora_down.weight", ".lora_up.weight", QUERY),
    ],
)
def test_every_style_of_names_finds_its_layer(
    unet: UNet2DConditionModel, tmp_path: Path, base: str, down_name: str, up_name: str, module: str
) -> None:
    down, up = pair((4, 16), (16, 4))
    before = unet.get_submodule(module).weight.detach().clone()
    others = {name: weight.clone() for name, weight in unet.named_parameters() if not name.startswith(module)}
    merged(tmp_path, {base + down_name: down, base + up_name: up}, 0.5, "unet", unet)
    assert torch.allclose(unet.get_submodule(module).weight, before + 0.5 * up @ down, atol=1e-5)
    assert all((weight == others[name]).all() for name, weight in unet.named_parameters() if name in others)


def test_alpha_scales_and_convolutions_are_merged(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    down, up = pair((4, 16, 3, 3), (16, 4, 1, 1))
    before = unet.get_submodule(CONVOLUTION).weight.detach().clone()
    base = "lora_unet_" + CONVOLUTION.replace(".", "_")
    tensors = {f"{base}.lora_down.weight": down, f"{base}.lora_up.weight": up, f"{base}.alpha": torch.tensor(2.0)}
    merged(tmp_path, tensors, 1.0, "unet", unet)
    expected = before + 0.5 * torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    assert torch.allclose(unet.get_submodule(CONVOLUTION).weight, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (f"text_encoder.{PROJECTION}", (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")),
        ("lora_te_" + PROJECTION.replace(".", "_"), (".lora_down.weight", ".lora_up.weight")),
        ("lora_te1_" + PROJECTION.replace(".", "_"), (".lora_down.weight", ".lora_up.weight")),
    ],
)
def test_text_encoders_are_adapted_too(toys: Toys, tmp_path: Path, base: str, names: tuple[str, str]) -> None:
    text = CLIPTextModel.from_pretrained(toys.source("sd") / "text_encoder")
    (layer,) = [own for name, own in text.named_modules() if name.endswith("encoder.layers.1.self_attn.q_proj")]
    before = layer.weight.detach().clone()
    down, up = pair((2, 32), (32, 2))
    merged(tmp_path, {base + names[0]: down, base + names[1]: up}, 1.0, "text_encoder", text)
    assert torch.allclose(layer.weight, before + up @ down, atol=1e-5)


@pytest.mark.parametrize(
    ("base", "modules"),
    [
        ("lora_unet_joint_blocks_0_x_block_attn_qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
        ("lora_unet_joint_blocks_0_context_block_attn_qkv", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
        ("lora_unet_joint_blocks_0_x_block_attn2_qkv", ("attn2.to_q", "attn2.to_k", "attn2.to_v")),
        ("lora_unet_joint_blocks_0_context_block_attn_proj", ("attn.to_add_out",)),
        ("lora_unet_joint_blocks_0_x_block_mlp_fc1", ("ff.net.0.proj",)),
        ("lora_unet_joint_blocks_0_context_block_mlp_fc2", ("ff_context.net.2",)),
        ("diffusion_model.joint_blocks.0.x_block.adaLN_modulation.1", ("norm1.linear",)),
    ],
)
def test_original_names_of_stable_diffusion_3_are_divided_among_its_modules(
    toys: Toys, tmp_path: Path, base: str, modules: tuple[str, ...]
) -> None:
    transformer = SD3Transformer2DModel.from_pretrained(toys.source("sd3") / "transformer")
    names = [f"transformer_blocks.0.{module}.weight" for module in modules]
    before = {name: weight.detach().clone() for name, weight in transformer.named_parameters()}
    rows, columns = before[names[0]].shape
    down, up = pair((4, columns), (rows * len(names), 4))
    merged(tmp_path, {f"{base}.lora_down.weight": down, f"{base}.lora_up.weight": up}, 0.5, "transformer", transformer)
    after = dict(transformer.named_parameters())
    for number, name in enumerate(names):
        share = up[number * rows : (number + 1) * rows]
        assert torch.allclose(after[name], before[name] + 0.5 * share @ down, atol=1e-5)
    assert all((weight == before[name]).all() for name, weight in after.items() if name not in names)


def test_adapters_of_another_model_and_of_another_kind_are_refused(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    down, up = pair((4, 16), (16, 4))
    base = "unet.down_blocks.7.attentions.0.transformer_blocks.0.attn1.to_q"
    with pytest.raises(FailedPrecondition, match="1 of 1"):
        merged(tmp_path, {f"{base}.lora_A.weight": down, f"{base}.lora_B.weight": up}, 1.0, "unet", unet)
    with pytest.raises(FailedPrecondition, match="other sizes"):
        wide = {f"unet.{QUERY}.lora_A.weight": torch.randn(4, 99), f"unet.{QUERY}.lora_B.weight": up}
        merged(tmp_path, wide, 1.0, "unet", unet)
    with pytest.raises(FailedPrecondition, match="hada_w1_a"):
        merged(tmp_path, {"lora_unet_conv_in.hada_w1_a": down}, 1.0, "unet", unet)
    (tmp_path / "lora.pt").write_bytes(b"\x80\x02")
    with pytest.raises(FailedPrecondition, match="safetensors"):
        Adapters.read([(tmp_path / "lora.pt", 1.0)])
