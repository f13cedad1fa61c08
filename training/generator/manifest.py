"""Writes manifest.toml of the exported model: what it is, its defaults, and the sha256 of every file.

python -m training.generator.manifest --output models/diptych-icons
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

HEAD = """\
name = "diptych-icons"
version = "{version}"
kind = "GENERATIVE"
task = "text-to-image"
license = "Apache-2.0"
license_note = "Trained on art under MIT, Apache-2.0 and CC-BY-4.0; credits are in NOTICE."
origin = "Trained by training/generator."
description = "Small icons and emoji-like drawings from a short phrase, 256 x 256 px."
precision = "fp32"

[defaults]
num_inference_steps = 20
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

COMMITTED = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "unet/model.onnx",
    "vae_decoder/config.json",
    "vae_decoder/model.onnx",
    "vae_encoder/config.json",
    "vae_encoder/model.onnx",
)


def write_manifest(output: Path, version: str, guidance: float) -> None:
    """Writes `output`/manifest.toml for the files that lie there."""
    entries = [
        FILE.format(path=path, sha256=hashlib.sha256((output / path).read_bytes()).hexdigest()) for path in COMMITTED
    ]
    (output / "manifest.toml").write_text(HEAD.format(version=version, guidance=guidance) + "".join(entries))


def main() -> None:
    """Writes the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("models/diptych-icons"))
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--guidance", type=float, default=3.0)
    options = parser.parse_args()
    write_manifest(options.output, options.version, options.guidance)


if __name__ == "__main__":
    main()
