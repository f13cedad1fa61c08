"""What the generator's benchmark draws with: the default model, or one made by `benchmarks.generator_full`."""

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diptych.diffusion import Defaults, Pipeline, PreviewMap, RowSpec, open_pipeline
from diptych.diffusion.latents import draw_noise
from diptych.engines.select import ONNX, Built
from diptych.images import Pixels
from diptych.repository import ModelRepository
from diptych.repository.manifest import read_manifest
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2
from services.generator.models import GeneratorModel

NAME = "sd15"
STEPS = 20
MAX_ROWS = 8
# Parts of a model of full size that run in half precision.
HALVED = ("unet", "vae_decoder", "text_encoder")


@dataclass
class Stage:
    """A pipeline, the threads it runs on, the clock of a stream, and pictures a second once they were measured."""

    model: GeneratorModel
    worker: Worker
    decoding: Worker
    began: float = 0.0
    capacity: float = 0.0

    @property
    def pipeline(self) -> Pipeline:
        """The model's."""
        return self.model.pipeline

    def now(self) -> float:
        """Seconds since the stream began."""
        return time.perf_counter() - self.began


_opened: list[Stage] = []


def open_subject(given: argparse.Namespace) -> Pipeline:
    """The pipeline of the model that is asked for."""
    threads = given.threads or os.cpu_count() or 1
    folder: Path | None = given.model
    if folder is None:
        local = ModelRepository().open("diptych-icons")
        directory, manifest, built = local.directory, local.manifest, {}
    else:
        directory = folder / "models" / NAME
        manifest = read_manifest(directory)
        half = {f"{part}/model.onnx": folder / "half" / part / "model.onnx" for part in HALVED}
        half["unet/model.onnx"] = given.unet or half["unet/model.onnx"]
        built = {name: Built(path, ONNX, "fp16") for name, path in half.items()} if given.half else {}
    preview = manifest.preview
    return open_pipeline(
        directory,
        Defaults.from_table(manifest.defaults),
        threads=threads,
        preview_map=PreviewMap(preview.weights, preview.bias) if preview else None,
        batch_sizes=given.sizes,
        built=built,
    )


async def open_stage(given: argparse.Namespace) -> Stage:
    """The same on threads of its own, opened once; a model of full size warm for calls of 1 to `MAX_ROWS` rows on the
    thread that makes them."""
    if _opened:
        return _opened[0]
    pipeline = await asyncio.to_thread(open_subject, given)
    tell(f"open: {pipeline.engines['unet'].provider}, {pipeline.precision}")
    stage = Stage(GeneratorModel(image_pb2.ModelRef(name="subject"), pipeline), Worker("steps"), Worker("decode"))
    for count in range(1, MAX_ROWS + 1 if given.model else 2):
        began = time.perf_counter()
        await stage.worker.run(pipeline.warm_up, (count,))
        tell(f"warm for {count} rows: {time.perf_counter() - began:.1f} s")
    for number, worker in enumerate((stage.worker, stage.worker, stage.decoding, stage.decoding)):
        # With a text of its own, for those that were encoded are remembered.
        await worker.run(ours(pipeline), f"warm {number}", number, 1)
    _opened.append(stage)
    return stage


async def close_stage() -> None:
    """Ends what `open_stage` opened, if it did."""
    while _opened:
        stage = _opened.pop()
        await stage.worker.close()
        await stage.decoding.close()
        stage.pipeline.close()


def tell(text: str) -> None:
    """Progress, at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def spec_of(pipeline: Pipeline, prompt: str, seed: int, steps: int) -> RowSpec:
    """A picture by the model's defaults."""
    width, height = pipeline.sizes.native
    return RowSpec(prompt, width, height, seed, steps, pipeline.defaults.guidance_scale, pipeline.default_schedule)


class Theirs:
    """diffusers' pipeline with the weights of a model of full size; on a GPU in half precision, channels last."""

    def __init__(self, work: Path, device: str, *, compiled: bool = False) -> None:
        from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

        self._device = device
        dtype = torch.float16 if device == "cuda" else torch.float32
        kind: Any = StableDiffusionPipeline
        self.pipe: Any = kind.from_pretrained(work / "diffusers", torch_dtype=dtype)
        self.pipe.set_progress_bar_config(disable=True)
        self.pipe.to(device)
        for part in (self.pipe.unet, self.pipe.vae):
            part.to(memory_format=torch.channels_last)
        self.guidance = 7.5
        if compiled:
            # With CUDA graphs, as ours are recorded too.
            self.pipe.unet = torch.compile(self.pipe.unet, mode="reduce-overhead" if device == "cuda" else "default")

    def exact(self) -> None:
        """From now on in single precision, without shortcuts: the picture that both are compared with."""
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.pipe.to(torch.float32)

    def draw(self, prompt: str, seed: int, steps: int) -> Pixels:
        """The picture, rounded as ours are, from the noise that ours begins with."""
        cells = self.pipe.unet.config.sample_size
        noise = torch.from_numpy(draw_noise(seed, (self.pipe.unet.config.in_channels, cells, cells)))[None]
        with torch.inference_mode():
            (drawn,) = self.pipe(
                prompt,
                num_inference_steps=steps,
                guidance_scale=self.guidance,
                latents=noise.to(self._device, self.pipe.vae.dtype),
                output_type="np",
            ).images
        return np.asarray(drawn * 255 + 0.5).astype(np.uint8)


def ours(pipeline: Pipeline) -> Callable[[str, int, int], Pixels]:
    """The same of ours: text to pixels, alone."""

    def draw(prompt: str, seed: int, steps: int) -> Pixels:
        row = pipeline.prepare(spec_of(pipeline, prompt, seed, steps))
        while not row.finished:
            pipeline.step([row])
        return pipeline.finish(row)

    return draw
