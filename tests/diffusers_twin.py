"""diffusers' own pipelines on the same folder, given the same noise: what our pictures are compared with."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any
from unittest.mock import patch

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image

from diptych.diffusion import RowSpec
from diptych.diffusion.latents import draw_noise, paste
from diptych.diffusion.schedule_names import SCHEDULES

_TEXT = {"StableDiffusionInpaintPipeline": "StableDiffusionPipeline"}
_PICTURE = {
    "StableDiffusionPipeline": "StableDiffusionImg2ImgPipeline",
    "LatentConsistencyModelPipeline": "StableDiffusionImg2ImgPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusion3Pipeline": "StableDiffusion3Img2ImgPipeline",
}
_MASK = {
    "StableDiffusionPipeline": "StableDiffusionInpaintPipeline",
    "LatentConsistencyModelPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionInpaintPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLInpaintPipeline",
    "StableDiffusion3Pipeline": "StableDiffusion3InpaintPipeline",
}


class Twin:
    """A diffusers folder, its parts loaded once, to be drawn with by diffusers; `dress` gets each pipeline first."""

    def __init__(self, folder: Path) -> None:
        self.index = json.loads((folder / "model_index.json").read_text())
        self.parts = {
            name: getattr(diffusers if entry[0] == "diffusers" else transformers, entry[1]).from_pretrained(
                folder / name
            )
            for name, entry in self.index.items()
            if isinstance(entry, list)
        }
        self.dress: Callable[[Any], None] = lambda pipe: None
        # Of diffusers' pipelines some see to it that latents are not clipped, and some do not.
        flow = type(self.parts["scheduler"]).__name__.startswith("FlowMatch")
        self.config = {**self.parts["scheduler"].config, **({} if flow else {"clip_sample": False})}

    def draw(self, spec: RowSpec, default_schedule: str, **options: Any) -> np.ndarray:
        """(height, width, 3) uint8, rounded as ours are: what diffusers makes of `spec`."""
        name = self.index["_class_name"]
        names = {**_TEXT, name: _TEXT.get(name, name)} if spec.init_image is None else _PICTURE
        if name == "LatentConsistencyModelPipeline" and spec.noise_schedule != "lcm":
            names = {**names, name: names.get("StableDiffusionPipeline", "StableDiffusionPipeline")}
        kind = getattr(diffusers, (_MASK if spec.mask is not None else names)[name])
        pipe = self._pipeline(kind, spec.noise_schedule, default_schedule)
        cells = self.parts["vae"].config.latent_channels, spec.height // 8, spec.width // 8
        noise = torch.from_numpy(draw_noise(spec.seed, cells))[None]
        arguments: dict[str, Any] = {
            "prompt": spec.prompt,
            "num_inference_steps": spec.num_inference_steps,
            "guidance_scale": spec.guidance_scale,
            "generator": torch.Generator().manual_seed(spec.seed),
            "output_type": "np",
            **options,
        }
        if "negative_prompt" in signature(kind.__call__).parameters:
            arguments["negative_prompt"] = spec.negative_prompt or None
        if spec.init_image is None or spec.mask is not None:
            arguments |= {"width": spec.width, "height": spec.height}
        if spec.init_image is None:
            arguments["latents"] = noise
        else:
            arguments |= {"image": Image.fromarray(spec.init_image), "strength": spec.strength}
        if spec.mask is not None:
            arguments["mask_image"] = Image.fromarray((spec.mask * 255).astype(np.uint8))
        with _same_noise(kind.__module__, noise):
            (drawn,) = pipe(**arguments).images
        pixels = (drawn * 255 + 0.5).astype(np.uint8)
        return pixels if spec.mask is None or spec.init_image is None else paste(pixels, spec.init_image, spec.mask)

    def _pipeline(self, kind: Any, schedule: str, default_schedule: str) -> Any:
        parts = {
            **self.parts,
            "scheduler": SCHEDULES[schedule].build(self.config, as_it_is=schedule == default_schedule),
        }
        takes = signature(kind.__init__).parameters
        extras = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        extras |= {"force_zeros_for_empty_prompt": self.index.get("force_zeros_for_empty_prompt", True)}
        extras |= {"add_watermarker": False}
        pipe = kind(**parts, **{name: value for name, value in extras.items() if name in takes})
        if self.index["_class_name"].startswith("LatentConsistency"):
            # Stable Diffusion's pipelines would count its timesteps from one.
            pipe.scheduler = SCHEDULES[schedule].build(self.config, as_it_is=schedule == default_schedule)
        pipe.set_progress_bar_config(disable=True)
        self.dress(pipe)
        return pipe


@contextmanager
def _same_noise(module: str, noise: torch.Tensor) -> Iterator[None]:
    """Noise as ours, and of an encoded picture the mean, as ours."""

    def mean(output: Any, generator: Any = None, sample_mode: str = "") -> torch.Tensor:
        return output.latent_dist.mode() if hasattr(output, "latent_dist") else output.latents

    with patch.multiple(
        sys.modules[module], randn_tensor=lambda *_, **__: noise.clone(), retrieve_latents=mean, create=True
    ):
        yield


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal to noise ratio in dB of two pictures, 99 when they are equal."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))
