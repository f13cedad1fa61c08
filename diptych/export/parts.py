"""The torch parts of a diffusers folder, loaded from safetensors alone."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
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
# What diffusers and transformers raise at configurations and weights that do not go together.
_UNLOADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ImportError,
    MemoryError,
    SafetensorError,
)
# Beyond the largest vocabulary and the deepest network: each layer is built before the weights are looked at.
_LARGEST_SIZE, _MOST_LAYERS = 1 << 20, 1000
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
    check_sizes(config, f"{label}/config.json")
    try:
        _check_weight(module, config, directory, label)
        with _without_bars():
            loaded, found = module.from_pretrained(directory, variant=variant, output_loading_info=True, **arguments)
    except _UNLOADABLE as error:
        fault = f"{type(error).__name__}: {error}"
        raise DataCorrupted(f"{label} cannot be loaded: {fault[:200]}", reason="UNREADABLE_WEIGHTS") from error
    if lacking := sorted(found["missing_keys"]):
        # They would be drawn at random.
        raise DataCorrupted(
            f"{label} lacks {len(lacking)} of its weights, such as {lacking[0]}; get the model again, or save it whole",
            reason="UNREADABLE_WEIGHTS",
        )
    return loaded.eval().requires_grad_(False)


def check_sizes(config: Mapping[str, Any], label: str) -> None:
    """Refuses numbers beyond all reason, before anything is made of them."""
    if large := next(_too_large(config), ""):
        raise DataCorrupted(f"{label} says {large}, which no model has", reason="CONTENT_REFUSED")


def _check_weight(module: Any, config: Mapping[str, Any], directory: Path, label: str) -> None:
    """Refuses a configuration of more numbers than the weights beside it can hold, before memory is taken for them."""
    with torch.device("meta"):  # Shapes without numbers.
        if hasattr(module, "config_class") and module.config_class is not None:
            empty = module(module.config_class.from_dict(dict(config)))
        else:
            empty = module.from_config(dict(config))
    wanted = sum(parameter.numel() for parameter in empty.parameters())
    held = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
    if wanted > held:  # A number takes a byte at least.
        raise DataCorrupted(
            f"{label}/config.json is that of a network of {wanted} numbers; its weights are {held} bytes",
            reason="CONTENT_REFUSED",
        )


def _too_large(value: Any, key: str = "") -> Iterator[str]:
    """What of a configuration is, as `key value`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _too_large(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _too_large(inner, key)
    elif isinstance(value, int) and value > (_MOST_LAYERS if "layers" in key else _LARGEST_SIZE):
        yield f"{key[:40]} {value:.3g}"


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
    by content that lie in the folder."""
    if not directory.is_dir():
        raise FailedPrecondition(f"the model has no folder {label}", reason="FILE_MISSING")
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
    variant = None if None in variants else sorted(name for name in variants if name)[0]
    # Others' indices may lie there without their files.
    for path in directory.glob(f"*.safetensors.index.{variant}.json" if variant else "*.safetensors.index.json"):
        _check_shards(path, {file.name for file in files}, f"{label}/{path.name}")
    return variant


def _check_shards(path: Path, files: set[str], label: str) -> None:
    """Refuses an index that names a file that is not one of `files`."""
    shards = read_json(path, label).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise DataCorrupted(f"{label} has no weight_map of file names", reason="CONTENT_REFUSED")
    if others := sorted(set(shards.values()) - files):
        raise DataCorrupted(
            f"{label} names {others[0][:100]!r}, which is no safetensors file beside it; get the model again",
            reason="FILE_MISSING",
        )


def read_json(path: Path, label: str) -> Mapping[str, Any]:
    """The JSON object in a file; FailedPrecondition when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise FailedPrecondition(f"the model has no {label}", reason="FILE_MISSING") from error
    except (ValueError, RecursionError) as error:
        raise DataCorrupted(f"{label} is no JSON text", reason="CONTENT_REFUSED") from error
    if not isinstance(content, dict):
        raise FailedPrecondition(f"{label} holds no JSON object", reason="UNSUPPORTED_MODEL")
    return content


def class_of(index: Mapping[str, Any], part: str) -> str:
    """The class of a pipeline's part as its `model_index.json` has it, `[library, class]`; empty for a part that it
    lacks."""
    match index.get(part):
        case [str(), str(name)]:
            return name
        case _:
            return ""


def _class_name(config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures") or [""]
    return str(config.get("_class_name") or architectures[0])


def _variant(name: str) -> str | None:
    """`fp16` of `diffusion_pytorch_model.fp16.safetensors` and of `model.fp16-00001-of-00002.safetensors`."""
    pieces = name.removesuffix(".safetensors").split(".")
    return pieces[1].split("-")[0] if len(pieces) > 1 else None
