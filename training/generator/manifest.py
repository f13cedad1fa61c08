"""Writes manifest.toml of an exported model: what it is, its defaults, and the sha256 of every file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

HEAD = """\
name = "{name}"
version = "{version}"
kind = "GENERATIVE"
task = "text-to-image"
license = "Apache-2.0"
license_note = "Trained on art under MIT, Apache-2.0 and CC-BY-4.0; credits are in NOTICE."
origin = "Trained by training/generator."
description = "{description}"
precision = "fp32"

[defaults]
num_inference_steps = {steps}
guidance_scale = {guidance}
width = 256
height = 256
noise_schedule = "flow_match_euler"
max_tokens = 16

[tensors]
inputs = [
  {{ name = "sample", dtype = "float32", shape = ["B", 12, 16, 16] }},
  {{ name = "timestep", dtype = "float32", shape = ["B"] }},
  {{ name = "encoder_hidden_states", dtype = "float32", shape = ["B", 16, 384] }},
]
outputs = [{{ name = "out_sample", dtype = "float32", shape = ["B", 12, 16, 16] }}]
{preview}
[[files]]
path = "text_encoder/model.onnx"
sha256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
source = {{ type = "model", model = "minilm", path = "model.onnx" }}

[[files]]
path = "tokenizer/tokenizer.json"
sha256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
source = {{ type = "model", model = "minilm", path = "tokenizer.json" }}
"""

FILE = """
[[files]]
path = "{path}"
sha256 = "{sha256}"
source = {{ type = "repository" }}
"""

BORROWED = """
[[files]]
path = "{path}"
sha256 = "{sha256}"
source = {{ type = "model", model = "{model}", path = "{path}" }}
"""

COMMITTED = ("model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "unet/model.onnx")
# What a student takes from its teacher.
SHARED = (
    "lexicon.json",
    "vae_decoder/config.json",
    "vae_decoder/model.onnx",
    "vae_encoder/config.json",
    "vae_encoder/model.onnx",
)


def hash_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


PREVIEW = """
# Four by four points a cell, fitted by training/generator/preview_map.py.
{table}
"""


def write_manifest(output: Path, version: str, config: dict[str, Any], *, student: bool, preview: str = "") -> None:
    """Writes `output`/manifest.toml. A student draws in few steps and takes the autoencoder and the lexicon from its
    teacher's folder, which lies beside it. `preview`: the table of the map for previews, which can be fitted to an
    entry alone."""
    teacher = output.parent / "diptych-icons"
    described = "Small icons and emoji-like drawings from a short phrase, 256 x 256 px"
    sampling = config["sampling"]
    steps, guidance = (config["distillation"]["steps"], 1.0) if student else (sampling["steps"], sampling["guidance"])
    text = HEAD.format(
        name=output.name,
        version=version,
        steps=steps,
        guidance=guidance,
        preview=PREVIEW.format(table=preview) if preview else "",
        description=f"{described}; {steps} steps without guidance." if student else f"{described}.",
    )
    own = COMMITTED if student else (*COMMITTED, *SHARED)
    text += "".join(FILE.format(path=path, sha256=hash_of(output / path)) for path in own)
    if student:
        text += "".join(
            BORROWED.format(path=path, sha256=hash_of(teacher / path), model=teacher.name) for path in SHARED
        )
    (output / "manifest.toml").write_text(text)
