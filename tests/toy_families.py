"""Models of the true architectures with a few channels and fixed weights, as diffusers saves them.

64 x 64 pixels, latents of 8 x 8 cells. They draw nothing anyone would recognise, quickly.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_sd3 import SD3ControlNetModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from diptych.diffusion import Defaults, Pipeline, open_pipeline
from diptych.export import ImportOptions, import_model

SIDE = 64
WIDTH = 32
_WORDS = ("a", "red", "green", "blue", "apple", "cat", "the", "sun", "tree", "house", "on")
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
_UNET: Mapping[str, Any] = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}
_SD3_TRANSFORMER: Mapping[str, Any] = {
    "sample_size": 8,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": 2 * WIDTH,
    "caption_projection_dim": WIDTH,
    "pooled_projection_dim": 2 * WIDTH,
    "pos_embed_max_size": 16,
    "qk_norm": "rms_norm",
    "dual_attention_layers": (0,),
}
_XL = {
    "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
    "cross_attention_dim": 2 * WIDTH,
}


def write_family(folder: Path, family: str) -> Path:
    """`folder`, a diffusers folder of the toy `family` now: one of FAMILIES."""
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    index, parts = FAMILIES[family]()
    torch.random.set_rng_state(state)
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    index |= {name: [type(part).__module__.split(".")[0], type(part).__name__] for name, part in parts.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


class Toys:
    """Each family written and imported once, when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = root / "models"

    def source(self, family: str) -> Path:
        """The diffusers folder."""
        folder = self.root / "diffusers" / family
        return folder if folder.is_dir() else write_family(folder, family)

    def model(self, family: str) -> Path:
        """The imported folder. A family that differs from another by its noise schedule alone is not exported again."""
        folder = self.models / family
        if folder.is_dir():
            return folder
        like = _LIKE.get(family)
        if like is None:
            source, options = family, ImportOptions(family)
            if family == "sd-controlled":
                nets = dict.fromkeys(("edges", "depth"), self.controlnet())
                source, options = "sd", ImportOptions(family, controlnets=nets)
            # Threads would only wait for one another at this size.
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            import_model(self.source(source), self.models, options)
            torch.set_num_threads(threads)
            return folder
        shutil.copytree(self.model(like), folder)
        shutil.copytree(self.source(family) / "scheduler", folder / "scheduler", dirs_exist_ok=True)
        return folder

    def controlnet(self) -> Path:
        """The folder of the ControlNet that `sd-controlled` has for edges and for depth."""
        folder = self.root / "controlnet"
        return folder if folder.is_dir() else write_controlnet(folder)

    @contextmanager
    def pipeline(self, family: str, threads: int = 1) -> Iterator[Pipeline]:
        """The open pipeline."""
        opened = open_pipeline(self.model(family), Defaults(4, 5.0), threads=threads)
        try:
            yield opened
        finally:
            opened.close()


_LIKE = {"sd-v": "sd", "sd-turbo": "sd", "sdxl-turbo": "sdxl"}


def write_controlnet(folder: Path, *, xl: bool = False) -> Path:
    """`folder`, a toy ControlNet now that fits the UNets here; its own layers are not nought, as fresh ones are."""
    state = torch.random.get_rng_state()
    torch.manual_seed(11)
    config = {key: value for key, value in {**_UNET, **(_XL if xl else {})}.items() if key not in _NO_CONTROL}
    net = ControlNetModel(**config, conditioning_embedding_out_channels=(8, 8, 8, 8))
    for weight in net.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    torch.random.set_rng_state(state)
    net.save_pretrained(folder)
    return folder


def write_sd3_controlnet(folder: Path, **options: Any) -> Path:
    """`folder`, a toy ControlNet now that fits the transformer here."""
    state = torch.random.get_rng_state()
    torch.manual_seed(12)
    config = {**_SD3_TRANSFORMER, "num_layers": 1, "dual_attention_layers": (), **options}
    net = SD3ControlNetModel(**config)
    for weight in net.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    torch.random.set_rng_state(state)
    net.save_pretrained(folder)
    return folder


def write_ip_adapter(folder: Path, *, xl: bool = False, plus: bool = False) -> Path:
    """The file of a toy IP-Adapter in `folder` for the UNets here, its vision encoder beside it."""
    state = torch.random.get_rng_state()
    torch.manual_seed(13)
    config = {**_UNET, **(_XL if xl else {})}
    width, seen = int(config["cross_attention_dim"]), 24
    unet = UNet2DConditionModel(**config)
    vision = CLIPVisionConfig(
        hidden_size=seen, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4, image_size=32, patch_size=8,
        projection_dim=20,
    )  # fmt: skip
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
    tensors: dict[str, torch.Tensor] = {}
    layers = [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(layers):
        for kind in ("to_k_ip", "to_v_ip"):
            inner = unet.get_submodule(name).inner_dim
            tensors[f"ip_adapter.{2 * number + 1}.{kind}.weight"] = torch.randn(inner, width) * 0.3
    shapes = _plus_projection(seen, width) if plus else {"proj": (4 * width, 20), "norm": (width,)}
    for name, shape in shapes.items():
        tensors[f"image_proj.{name}.weight"] = torch.randn(shape) * 0.3 + (1 if len(shape) == 1 else 0)
        if "to_" not in name and not name.endswith((".1.1", ".1.3")):
            tensors[f"image_proj.{name}.bias"] = torch.randn(shape[0]) * 0.1
    if plus:
        tensors["image_proj.latents"] = torch.randn(1, 5, 64)
    torch.random.set_rng_state(state)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "adapter.safetensors")
    return folder / "adapter.safetensors"


def _plus_projection(seen: int, width: int, inner: int = 64) -> dict[str, tuple[int, ...]]:
    """The weights of an IP-Adapter Plus, by the names that it was published with."""
    shapes: dict[str, tuple[int, ...]] = {"proj_in": (inner, seen), "proj_out": (width, inner), "norm_out": (width,)}
    for layer in range(4):
        attention, feed = f"layers.{layer}.0", f"layers.{layer}.1"
        shapes |= {f"{attention}.norm1": (inner,), f"{attention}.norm2": (inner,), f"{feed}.0": (inner,)}
        shapes |= {
            f"{attention}.to_q": (64, inner),
            f"{attention}.to_kv": (128, inner),
            f"{attention}.to_out": (inner, 64),
        }
        shapes |= {f"{feed}.1": (4 * inner, inner), f"{feed}.3": (inner, 4 * inner)}
    return shapes


_NO_CONTROL = ("sample_size", "out_channels", "up_block_types")


def _pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte pair vocabulary: letters, and the words above put together from the left."""
    letters = sorted({letter for word in _WORDS for letter in word} | set("abcdefghijklmnopqrstuvwxyz0123456789,.:()-"))
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                pieces.append("".join(pair))
            parts = ["".join(pair), *parts[2:]]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, merges


def _clip_tokenizer(pad: str = "<|endoftext|>") -> CLIPTokenizer:
    vocabulary, merges = _pieces()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=77)


def _clip(kind: type[Any] = CLIPTextModel, *, layers: int = 3) -> Any:
    vocabulary, _ = _pieces()
    config = CLIPTextConfig(
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=layers,
        num_attention_heads=4,
        vocab_size=len(vocabulary),
        projection_dim=WIDTH,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    return kind(config)


def _vae(**options: Any) -> AutoencoderKL:
    return AutoencoderKL(
        **{
            "sample_size": SIDE,
            "latent_channels": 4,
            "block_out_channels": (8, 8, 8, 8),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "norm_num_groups": 4,
            "scaling_factor": 0.5,
            **options,
        }
    )


def _sd(
    scheduler: Any, pipeline: str = "StableDiffusionPipeline", **unet: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    parts = {
        "tokenizer": _clip_tokenizer(),
        "text_encoder": _clip(),
        "unet": UNet2DConditionModel(**{**_UNET, **unet}),
        "vae": _vae(),
        "scheduler": scheduler,
    }
    return {"_class_name": pipeline}, parts


def _sdxl(scheduler: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    index, parts = _sd(scheduler, "StableDiffusionXLPipeline", **_XL)
    parts |= {"tokenizer_2": _clip_tokenizer(pad="a"), "text_encoder_2": _clip(CLIPTextModelWithProjection)}
    return {**index, "force_zeros_for_empty_prompt": True}, parts


def _sd3() -> tuple[dict[str, Any], dict[str, Any]]:
    tokens = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in _WORDS), *"abcdefghijklmnopqrstuvwxyz"]
    t5 = T5Config(d_model=2 * WIDTH, d_ff=37, d_kv=8, num_layers=2, num_heads=4, vocab_size=160)
    transformer = SD3Transformer2DModel(**_SD3_TRANSFORMER)
    parts = {
        "tokenizer": _clip_tokenizer(),
        "tokenizer_2": _clip_tokenizer(pad="a"),
        "tokenizer_3": T5Tokenizer(vocab=[(token, -float(rank)) for rank, token in enumerate(tokens)]),
        "text_encoder": _clip(CLIPTextModelWithProjection),
        "text_encoder_2": _clip(CLIPTextModelWithProjection),
        "text_encoder_3": T5EncoderModel(t5),
        "transformer": transformer,
        "vae": _vae(latent_channels=16, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0),
    }
    return {"_class_name": "StableDiffusion3Pipeline"}, parts


FAMILIES: Mapping[str, Callable[[], tuple[dict[str, Any], dict[str, Any]]]] = {
    "sd": lambda: _sd(PNDMScheduler(**_BETAS, skip_prk_steps=True, steps_offset=1)),
    "sd-v": lambda: _sd(DDIMScheduler(**_BETAS, prediction_type="v_prediction", clip_sample=False, steps_offset=1)),
    "sd-turbo": lambda: _sd(EulerDiscreteScheduler(**_BETAS, timestep_spacing="trailing")),
    "sd-inpaint": lambda: _sd(
        PNDMScheduler(**_BETAS, skip_prk_steps=True, steps_offset=1), "StableDiffusionInpaintPipeline", in_channels=9
    ),
    "lcm": lambda: _sd(LCMScheduler(**_BETAS), "LatentConsistencyModelPipeline", time_cond_proj_dim=32),
    "sdxl": lambda: _sdxl(EulerDiscreteScheduler(**_BETAS, steps_offset=1, timestep_spacing="leading")),
    "sdxl-turbo": lambda: _sdxl(EulerAncestralDiscreteScheduler(**_BETAS, timestep_spacing="trailing")),
    "sd3": _sd3,
}
