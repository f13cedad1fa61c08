"""One picture with the denoiser as it was exported, and as `diptych models build` fuses it for ONNX Runtime.

The denoisers of `generator_single`, drawn with in turn; and how far a row's latents move when others share its calls.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from benchmarks.generator_report import Line, Outcome
from benchmarks.generator_single import GUIDANCE, MID, PROMPT, STEPS, draw, pipeline_of
from benchmarks.measuring import percentile
from diptych.diffusion import Defaults, Pipeline, RowSpec, open_pipeline
from diptych.engines.select import Built
from diptych.export.build_graph import fuse, simplify
from diptych.repository import ModelRepository

GRAPH = "unet/model.onnx"


async def measure(given: argparse.Namespace) -> list[Outcome]:
    """Milliseconds a picture, plain and built, for each denoiser."""
    threads = given.threads or os.cpu_count() or 1
    default = ModelRepository().open("diptych-icons")
    icons = json.loads(default.path("unet/config.json").read_text())
    outcomes = []
    for name, config in (("the default model's denoiser", icons), ("a quarter of Stable Diffusion's width", MID)):
        torch.manual_seed(1)
        unet = UNet2DConditionModel.from_config(dict(config)).eval().requires_grad_(False)
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work)
            plain = pipeline_of(unet, default, folder, threads)
            file = folder / "built.onnx"
            counts = _build(folder, _inputs(unet.config), file)
            built = open_pipeline(
                folder,
                Defaults(STEPS, GUIDANCE),
                threads=threads,
                built={GRAPH: Built(file, "onnxruntime", "fp32")},
            )
            outcomes.append(_compare(name, plain, built, counts, given.runs))
            plain.close()
            built.close()
    return outcomes


def _inputs(config: Any) -> dict[str, np.ndarray[Any, Any]]:
    chance, cells = np.random.default_rng(0), config.sample_size
    return {
        "sample": chance.standard_normal((2, config.in_channels, cells, cells)).astype(np.float32),
        "timestep": np.array([500, 500], np.float32),
        "encoder_hidden_states": chance.standard_normal((2, 16, config.cross_attention_dim)).astype(np.float32),
    }


def _build(folder: Path, inputs: dict[str, np.ndarray[Any, Any]], target: Path) -> dict[str, int]:
    """Writes the fused graph; how many of each operation it has."""
    model = simplify(folder / GRAPH, folder / "scratch")
    counts = fuse(model, inputs, folder / "scratch")
    onnx.save(model, target)
    return counts


def _compare(name: str, plain: Pipeline, built: Pipeline, counts: dict[str, int], runs: int) -> Outcome:
    ways = {"as exported": plain, "built": built}
    results = {label: draw(pipeline, 1) for label, pipeline in ways.items()}
    taken: dict[str, list[float]] = {label: [] for label in ways}
    for run in range(runs):
        for label, pipeline in ways.items():
            began = time.perf_counter()
            draw(pipeline, run)
            taken[label].append(1e3 * (time.perf_counter() - began))
    usual = percentile(taken["as exported"], 0.5)
    lines: list[Line] = [
        {
            "denoiser": label,
            "p50, ms": percentile(values, 0.5),
            "fastest, ms": min(values),
            "faster by": usual / percentile(values, 0.5),
            "largest difference": float(np.abs(results[label] - results["as exported"]).max()),
            "moved by company": _moved(ways[label], results[label]),
        }
        for label, values in taken.items()
    ]
    found = ", ".join(f"{count} {operation}" for operation, count in counts.items())
    return Outcome(f"one picture, {STEPS} guided steps, built: {name}", lines, remarks=[f"fused: {found}"])


def _moved(pipeline: Pipeline, alone: np.ndarray[Any, Any]) -> float:
    """How far the latents of seed 1 are from themselves alone when two others share every call."""
    width, height = pipeline.sizes.native
    specs = [RowSpec(PROMPT, width, height, seed, STEPS, GUIDANCE, pipeline.default_schedule) for seed in (2, 1, 3)]
    rows = [pipeline.prepare(spec) for spec in specs]
    for _ in range(STEPS):
        pipeline.step(rows)
    return float(np.abs(rows[1].latents - alone).max())
