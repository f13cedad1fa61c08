"""A pipeline from a folder in the ecosystem's ONNX layout.

model_index.json
unet/model.onnx  config.json            sample, timestep, encoder_hidden_states -> velocity
vae_decoder/model.onnx  config.json     latent_sample -> sample, RGB in -1..1
vae_encoder/model.onnx                  optional: sample -> latent_sample
text_encoder/model.onnx
tokenizer/tokenizer.json
scheduler/scheduler_config.json
"""

import json
import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from diptych.diffusion.conditioning import Conditioner
from diptych.diffusion.denoiser import Denoiser
from diptych.diffusion.latents import Autoencoder
from diptych.diffusion.pipeline import Defaults, Pipeline
from diptych.engines import Engine, open_engine
from diptych.engines.base import Precision
from diptych.engines.select import EngineChoice
from diptych.errors import FailedPrecondition

# A denoiser call is filled up to one sample a thread (see Denoiser), so more threads than this only burn power.
_MOST_THREADS = 8
_GRAPH = "model.onnx"


def open_pipeline(
    directory: Path,
    defaults: Defaults,
    *,
    engine: EngineChoice = "auto",
    threads: int = 0,
    precision: Precision = "fp32",
) -> Pipeline:
    """The pipeline of the model in `directory`; `threads` for each graph, 0 for as many as this process may use.

    FailedPrecondition names what is missing or not served, DataCorrupted a graph that cannot be read.
    """
    index = _read(directory, "model_index.json")
    threads = threads or min(_usable_cores(), _MOST_THREADS)

    def graph(part: str) -> Engine:
        return open_engine(directory / part / _GRAPH, choice=engine, threads=threads, precision=precision)

    denoiser = Denoiser(graph("unet"), least_batch=max(2, threads))
    vae = _read(directory, "vae_decoder/config.json")
    sample_size = _value(_read(directory, "unet/config.json"), "sample_size", "unet/config.json")
    height, width = sample_size if isinstance(sample_size, list) else (sample_size, sample_size)
    return Pipeline(
        conditioner=Conditioner(
            _tokenizer(directory / "tokenizer/tokenizer.json"), graph("text_encoder"), length=_text_length(denoiser)
        ),
        denoiser=denoiser,
        autoencoder=Autoencoder(
            graph("vae_decoder"),
            graph("vae_encoder") if "vae_encoder" in index else None,
            scaling_factor=float(_value(vae, "scaling_factor", "vae_decoder/config.json")),
            shift_factor=float(vae.get("shift_factor") or 0.0),
        ),
        scheduler_config=_read(directory, "scheduler/scheduler_config.json"),
        defaults=defaults,
        latent_size=(int(height), int(width)),
    )


def _usable_cores() -> int:
    # The affinity knows of containers and taskset; not every system has it.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text_length(denoiser: Denoiser) -> int:
    if isinstance(denoiser.text_length, int):
        return denoiser.text_length
    raise FailedPrecondition(
        "the denoiser does not say how many text tokens it takes; export it with a fixed number",
        reason="UNSUPPORTED_MODEL",
    )


def _tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise _missing("tokenizer/tokenizer.json")
    return Tokenizer.from_file(str(path))


def _read(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    if not path.is_file():
        raise _missing(name)
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise FailedPrecondition(f"{name} holds no JSON object; pull its model again", reason="UNSUPPORTED_MODEL")
    return content


def _value(content: dict[str, Any], key: str, name: str) -> Any:
    if key not in content:
        raise FailedPrecondition(f"{name} lacks {key}; add it", reason="UNSUPPORTED_MODEL")
    return content[key]


def _missing(name: str) -> FailedPrecondition:
    return FailedPrecondition(f"the model has no {name}; pull it again", reason="FILE_MISSING")
