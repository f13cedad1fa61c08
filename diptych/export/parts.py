"""The torch parts of a diffusers folder, loaded from safetensors alone."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from diptych.errors import DataCorrupted, FailedPrecondition
from diptych.repository.verify import check_content

_SERVED = {
    "UNet2DConditionModel": "diffusers.models.unets.unet_2d_condition",
    "SD3Transformer2DModel": "diffusers.models.transformers.transformer_sd3",
    "ControlNetModel": "diffusers.models.controlnets.controlnet",
    "SD3ControlNetModel": "diffusers.models.controlnets.controlnet_sd3",
    "AutoencoderKL": "diffusers.models.autoencoders.autoencoder_kl",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "CLIPVisionModelWithProjection": "transformers",
    "T5EncoderModel": "transformers",
}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack")


def load_part(folder: Path, part: str) -> Any:
    """The module in `folder`/`part`, float32, ready to be called.

    FailedPrecondition when it has no safetensors or is of a kind not served, DataCorrupted when a file is not what
    its name says.
    """
    directory = folder / part if part else folder
    label = part or folder.name
    config = read_json(directory / "config.json", f"{label}/config.json")
    name = _class_name(config)
    if name not in _SERVED:
        raise FailedPrecondition(
            f"{label} is a {name or 'module without a name'}; served are {', '.join(_SERVED)}",
            reason="UNSUPPORTED_MODEL",
        )
    variant = check_weights(directory, label)
    module = getattr(import_module(_SERVED[name]), name)
    arguments: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "torch_dtype": torch.float32}
    if _SERVED[name] == "transformers":
        arguments["dtype"] = arguments.pop("torch_dtype")
        arguments["attn_implementation"] = "eager"
    else:
        arguments["low_cpu_mem_usage"] = False  # It would want a package that is not needed here.
    try:
        with _without_bars():
            loaded: nn.Module = module.from_pretrained(directory, variant=variant, **arguments)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DataCorrupted(f"{label} cannot be loaded: {str(error)[:200]}", reason="UNREADABLE_WEIGHTS") from error
    return loaded.eval().requires_grad_(False)


@contextmanager
def _without_bars() -> Iterator[None]:
    """While it lasts, transformers shows no bar: who imports a model is told its parts by name."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def check_weights(directory: Path, label: str) -> str | None:
    """The variant of the weights to take, such as `fp16`, None for the plain ones; raises unless all are safetensors
    by content."""
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        pickles = [path.name for path in sorted(directory.iterdir()) if path.suffix in _PICKLES]
        held = f"its weights are in {pickles[0]}, a pickle, which could run code" if pickles else "it has no weights"
        raise FailedPrecondition(
            f"{label} has no safetensors: {held}; save the model again with safe_serialization=True",
            reason="NO_SAFETENSORS",
        )
    for path in files:
        check_content(path, label=f"{label}/{path.name}")
    variants = {_variant(path.name) for path in files}
    return None if None in variants else sorted(name for name in variants if name)[0]


def read_json(path: Path, label: str) -> Mapping[str, Any]:
    """The JSON object in a file; FailedPrecondition when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FailedPrecondition(f"the model has no {label}", reason="FILE_MISSING") from error
    except ValueError as error:
        raise DataCorrupted(f"{label} is no JSON text", reason="CONTENT_REFUSED") from error
    if not isinstance(content, dict):
        raise FailedPrecondition(f"{label} holds no JSON object", reason="UNSUPPORTED_MODEL")
    return content


def _class_name(config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures") or [""]
    return str(config.get("_class_name") or architectures[0])


def _variant(name: str) -> str | None:
    """`fp16` of `diffusion_pytorch_model.fp16.safetensors` and of `model.fp16-00001-of-00002.safetensors`."""
    pieces = name.removesuffix(".safetensors").split(".")
    return pieces[1].split("-")[0] if len(pieces) > 1 else None
