"""A text-to-image model of the true architecture with a few channels and fixed weights, in the ecosystem's layout.

64 x 64 pixels, 4 latent channels of 8 x 8 cells, 8 text tokens. It draws nothing anyone would recognise, quickly.
"""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

NAME = "tiny"
SIDE = 64
TOKENS = 8
_CELLS = 8
_CHANNELS = 4
_WIDTH = 32
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_WORDS = [
    "a",
    "an",
    "the",
    "on",
    "with",
    "red",
    "green",
    "blue",
    "yellow",
    "big",
    "apple",
    "cat",
    "sun",
    "tree",
    "house",
]
_UNET = {
    "sample_size": _CELLS,
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": _WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
    "resnet_time_scale_shift": "scale_shift",
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 4,
}
_VAE = {
    "sample_size": SIDE,
    "latent_channels": _CHANNELS,
    "block_out_channels": (8, 8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
    "shift_factor": 0.1,
}
_MANIFEST = """\
name = "tiny"
version = "0.0.1"
kind = "GENERATIVE"
task = "text-to-image"
license = "Apache-2.0"
origin = "Random weights of a fixed seed."
description = "Coloured noise for tests."

[defaults]
num_inference_steps = 4
guidance_scale = 3.0
"""


class _TextEncoder(nn.Module):
    """Token and place embeddings and one layer of self-attention."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, _WIDTH)
        self.places = nn.Embedding(TOKENS, _WIDTH)
        self.mix = nn.Linear(_WIDTH, 3 * _WIDTH)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.words(input_ids) + self.places.weight
        query, key, value = self.mix(hidden).chunk(3, -1)
        return hidden + scaled_dot_product_attention(query, key, value, attn_mask=attention_mask[:, None, :] > 0)


class _Graph(nn.Module):
    """A method of a module as a module of its own."""

    def __init__(self, owner: nn.Module, call: Any) -> None:
        super().__init__()
        self.owner = owner
        self.call = call

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.call(self.owner, *inputs)


def write_tiny_model(root: Path) -> Path:
    """The folder of models `root` with the model `tiny` in it."""
    folder = root / NAME
    seed = torch.random.get_rng_state()
    torch.manual_seed(5)
    tokenizer = _tokenizer()
    unet, vae, text = UNet2DConditionModel(**_UNET), AutoencoderKL(**_VAE), _TextEncoder(tokenizer.get_vocab_size())
    torch.random.set_rng_state(seed)
    latents, ids = torch.zeros(2, _CHANNELS, _CELLS, _CELLS), torch.ones(1, TOKENS, dtype=torch.int64)
    states = torch.zeros(2, TOKENS, _WIDTH)
    _export(
        folder / "unet",
        _Graph(unet, lambda owner, *inputs: owner(*inputs, return_dict=False)[0]),
        {"sample": latents, "timestep": torch.ones(2), "encoder_hidden_states": states},
        "out_sample",
    )
    _export(
        folder / "vae_decoder",
        _Graph(vae, lambda owner, z: owner.decode(z).sample),
        {"latent_sample": latents},
        "sample",
    )
    pixels = torch.zeros(2, 3, SIDE, SIDE)
    mean = _Graph(vae, lambda owner, x: owner.encode(x).latent_dist.mean)
    _export(folder / "vae_encoder", mean, {"sample": pixels}, "latent_sample")
    _export(
        folder / "text_encoder", text, {"input_ids": ids, "attention_mask": ids}, "last_hidden_state", batched=False
    )
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0).save_pretrained(folder / "scheduler")
    (folder / "tokenizer").mkdir()
    tokenizer.save(str(folder / "tokenizer/tokenizer.json"))
    parts = ("unet", "vae_decoder", "vae_encoder", "text_encoder", "tokenizer", "scheduler")
    index = {"_class_name": "DiptychTextToImagePipeline", **{part: ["diptych", part] for part in parts}}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet/config.json").write_text(json.dumps(_UNET))
    for part in ("vae_decoder", "vae_encoder"):
        (folder / part / "config.json").write_text(json.dumps(_VAE))
    write_manifest(folder)
    return root


def write_manifest(folder: Path) -> None:
    """The manifest of the files that `folder` holds now."""
    lines = [_MANIFEST]
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".onnx", ".json"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(
                f'[[files]]\npath = "{path.relative_to(folder).as_posix()}"\nsha256 = "{digest}"\n'
                'source = { type = "repository" }\n'
            )
    (folder / "manifest.toml").write_text("\n".join(lines))


def _export(folder: Path, module: nn.Module, inputs: dict[str, Tensor], output: str, *, batched: bool = True) -> None:
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        # Tracing warns of every shape it freezes; the old exporter is the one that takes two seconds, not twenty.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(folder / "model.onnx"),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={name: {0: "batch"} for name in (*inputs, output)} if batched else None,
            dynamo=False,
            opset_version=17,
        )


def _tokenizer() -> Tokenizer:
    vocabulary = {word: index for index, word in enumerate([*_SPECIAL, *_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer
