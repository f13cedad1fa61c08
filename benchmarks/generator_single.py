"""One picture, from noise to clean latents: diffusers' loop in PyTorch against ours, on the same weights.

What torch.compile makes is kept in TORCHINDUCTOR_CACHE_DIR, by default below the user's cache: the first run takes an
hour of a busy CPU, later ones a minute.

Two denoisers with random weights, which do not change speed: the default model's, and one of Stable Diffusion's form at
a quarter of its width. Both loops get the text states ready-made and stop before the decoder.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from benchmarks.generator_report import Line, Outcome, Verdict
from benchmarks.measuring import percentile
from diptych.diffusion import Defaults, Pipeline, RowSpec, open_pipeline
from diptych.diffusion.latents import draw_noise
from diptych.repository import ModelRepository
from diptych.repository.repository import LocalModel

STEPS = 20
GUIDANCE = 4.5
TARGET = 1.3
PROMPT = "a smiling sun"
MID = {
    "sample_size": 32,
    "in_channels": 12,
    "out_channels": 12,
    "block_out_channels": (80, 160, 320, 320),
    "layers_per_block": 2,
    "cross_attention_dim": 384,
    "attention_head_dim": 8,
    "norm_num_groups": 16,
}


async def measure(given: argparse.Namespace) -> list[Outcome]:
    """Milliseconds a picture, and how far ours is ahead, for each denoiser."""
    threads = given.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    default = ModelRepository().open("diptych-icons")
    icons = json.loads(default.path("unet/config.json").read_text())
    outcomes = []
    for name, config in (("the default model's denoiser", icons), ("a quarter of Stable Diffusion's width", MID)):
        torch.manual_seed(1)
        unet = UNet2DConditionModel.from_config(dict(config)).eval().requires_grad_(False)
        with tempfile.TemporaryDirectory() as folder:
            pipeline = pipeline_of(unet, default, Path(folder), threads)
            outcomes.append(_compare(name, unet, pipeline, given))
            pipeline.close()
    return outcomes


def _compare(name: str, unet: torch.nn.Module, pipeline: Pipeline, given: argparse.Namespace) -> Outcome:
    states = [torch.from_numpy(np.array(row_state)) for row_state in _states(pipeline, ("", PROMPT))]
    loops: dict[str, Callable[[int], np.ndarray[Any, Any]]] = {
        "ours": lambda seed: draw(pipeline, seed),
        "diffusers, eager": lambda seed: _diffusers(unet, states, _shape(pipeline), seed),
    }
    remarks = [] if given.compile else ["torch.compile was left out"]
    if given.compile:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path.home() / ".cache/diptych/inductor"))
        compiled = torch.compile(unet)
        try:
            _diffusers(compiled, states, _shape(pipeline), 0)
            loops["diffusers, torch.compile"] = lambda seed: _diffusers(compiled, states, _shape(pipeline), seed)
        except RuntimeError as error:  # What the compiler lacks here is told, and the rest is measured.
            remarks.append(f"torch.compile does not work here: {type(error).__name__}: {str(error).splitlines()[0]}")
    results = {label: loop(1) for label, loop in loops.items()}
    taken: dict[str, list[float]] = {label: [] for label in loops}
    for run in range(given.runs):
        for label, loop in loops.items():  # In turn, so that whatever else the machine does hits all alike.
            began = time.perf_counter()
            loop(run)
            taken[label].append(1e3 * (time.perf_counter() - began))
    ours = percentile(taken["ours"], 0.5)
    lines: list[Line] = [
        {
            "loop": label,
            "p50, ms": percentile(values, 0.5),
            "fastest, ms": min(values),
            "ours is faster by": percentile(values, 0.5) / ours,
            "largest difference": float(np.abs(results[label] - results["ours"]).max()),
        }
        for label, values in taken.items()
    ]
    weights = sum(parameter.numel() for parameter in unet.parameters())
    ahead = percentile(taken["diffusers, eager"], 0.5) / ours
    return Outcome(
        f"one picture, {STEPS} guided steps, {name} ({weights / 1e6:.0f} M weights)",
        lines,
        [Verdict("faster than diffusers eager", f"{ahead:.2f} times", f"{TARGET} times", ahead >= TARGET)],
        remarks,
    )


def draw(pipeline: Pipeline, seed: int) -> np.ndarray[Any, Any]:
    width, height = pipeline.sizes.native
    row = pipeline.prepare(RowSpec(PROMPT, width, height, seed, STEPS, GUIDANCE, pipeline.default_schedule))
    while not row.finished:
        pipeline.step([row])
    return row.latents


def _diffusers(unet: Any, states: list[torch.Tensor], shape: tuple[int, int, int], seed: int) -> np.ndarray[Any, Any]:
    """The loop of diffusers' own pipelines: the guidance pair in one call, its scheduler's step."""
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / STEPS, STEPS))
    latents = torch.from_numpy(draw_noise(seed, shape))[None]
    text = torch.stack(states)
    with torch.inference_mode():
        for timestep in scheduler.timesteps:
            pair = unet(torch.cat([latents] * 2), timestep.expand(2), text, return_dict=False)[0]
            negative, positive = pair.chunk(2)
            latents = scheduler.step(negative + GUIDANCE * (positive - negative), timestep, latents)[0]
    result: np.ndarray[Any, Any] = latents[0].numpy()
    return result


def _states(pipeline: Pipeline, prompts: tuple[str, ...]) -> list[np.ndarray[Any, Any]]:
    """(T, D) text states, as the rows carry them."""
    width, height = pipeline.sizes.native
    rows = [
        pipeline.prepare(RowSpec(prompt, width, height, 0, 1, 1.0, pipeline.default_schedule)) for prompt in prompts
    ]
    return [row.conditions[0]["encoder_hidden_states"] for row in rows]


def _shape(pipeline: Pipeline) -> tuple[int, int, int]:
    width, height = pipeline.sizes.native
    row = pipeline.prepare(RowSpec("", width, height, 0, 1, 1.0, pipeline.default_schedule))
    channels, rows, columns = row.latents.shape
    return channels, rows, columns


def pipeline_of(unet: Any, default: LocalModel, folder: Path, threads: int) -> Pipeline:
    """The default model with `unet` in the place of its own."""
    for part in ("text_encoder", "tokenizer", "scheduler", "model_index.json"):
        (folder / part).symlink_to(default.directory / part)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").unlink()
    index.pop("vae_encoder", None)
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet").mkdir()
    (folder / "unet/config.json").write_text(json.dumps(dict(unet.config), default=str))
    cells, channels = unet.config.sample_size, unet.config.in_channels
    # No picture is decoded here, but a pipeline asks its decoder how large they would be.
    (folder / "vae_decoder").mkdir()
    (folder / "vae_decoder/config.json").symlink_to(default.directory / "vae_decoder/config.json")
    blank = {"latent_sample": torch.zeros(1, channels, cells, cells)}
    _export(_Enlarged(), folder / "vae_decoder/model.onnx", blank, "sample")
    _export(
        _Plain(unet),
        folder / "unet/model.onnx",
        {
            "sample": torch.zeros(2, channels, cells, cells),
            "timestep": torch.ones(2),
            "encoder_hidden_states": torch.zeros(2, 16, unet.config.cross_attention_dim),
        },
        "out_sample",
    )
    return open_pipeline(folder, Defaults(STEPS, GUIDANCE), threads=threads)


class _Plain(torch.nn.Module):
    """A denoiser as a function of tensors alone."""

    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.unet(*inputs, return_dict=False)[0]


class _Enlarged(torch.nn.Module):
    """The first three channels of latents, sixteen times as large."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(latents[:, :3], scale_factor=16.0)


def _export(module: torch.nn.Module, path: Path, inputs: Mapping[str, torch.Tensor], output: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Tracing warns of every shape that it freezes.
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={name: {0: "batch"} for name in (*inputs, output)},
            dynamo=False,
            opset_version=17,
        )
