"""The model families that are served, and what sets them apart.

What a denoiser takes beside latents, timestep and text is read from its graph (see `conditioning`); a family says the
rest: its folders, which text states it was trained on, and how its sigmas run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diptych.errors import FailedPrecondition


@dataclass(frozen=True)
class Family:
    """One kind of model. `pipelines`: the `_class_name`s of its `model_index.json`, as diffusers names pipelines."""

    title: str
    pipelines: tuple[str, ...]
    denoiser: str = "unet"
    encoders: tuple[str, ...] = ("text_encoder",)
    # Of every CLIP encoder the states before its last layer, and the pooled ones beside them.
    penultimate: bool = False
    even_sigmas: bool = False
    # As diffusers' pipelines have it whatever the model's configuration says: latents are not clipped, and (1.x, 2.x)
    # timesteps are counted from one.
    fixed_schedule: Mapping[str, Any] = field(default_factory=dict)
    # Tokens of a T5 encoder, whose own window is open.
    t5_length: int = 256
    # Whether a torch folder of it can be made into ONNX here.
    exported: bool = True
    num_inference_steps: int = 30
    guidance_scale: float = 7.5


_SD = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
_XL = ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline")
_SD3 = ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline")
_ONNX = tuple(f"{prefix}{name}" for prefix in ("Onnx", "ORT") for name in (*_SD, *_XL, *_SD3))

FAMILIES = (
    Family("Diptych", ("DiptychTextToImagePipeline",), even_sigmas=True, exported=False),
    Family(
        "Stable Diffusion 1.x and 2.x, SD-Turbo",
        (*_SD, *(name for name in _ONNX if name.endswith(_SD)), "StableDiffusionControlNetPipeline"),
        fixed_schedule={"clip_sample": False, "steps_offset": 1},
    ),
    Family(
        "latent consistency models",
        ("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"),
        fixed_schedule={"clip_sample": False},
        num_inference_steps=4,
        guidance_scale=8.5,
    ),
    Family(
        "Stable Diffusion XL, SDXL-Turbo",
        (*_XL, *(name for name in _ONNX if name.endswith(_XL)), "StableDiffusionXLControlNetPipeline"),
        encoders=("text_encoder", "text_encoder_2"),
        penultimate=True,
        fixed_schedule={"clip_sample": False},
        guidance_scale=5.0,
    ),
    Family(
        "Stable Diffusion 3.x",
        (*_SD3, *(name for name in _ONNX if name.endswith(_SD3)), "StableDiffusion3ControlNetPipeline"),
        denoiser="transformer",
        encoders=("text_encoder", "text_encoder_2", "text_encoder_3"),
        penultimate=True,
        num_inference_steps=28,
        guidance_scale=7.0,
    ),
)


def family_of(index: Mapping[str, Any]) -> Family:
    """The family of the model with this `model_index.json`; FailedPrecondition lists what is served."""
    wanted = str(index.get("_class_name", ""))
    for family in FAMILIES:
        if wanted in family.pipelines:
            return family
    served = "; ".join(f"{family.title} ({family.pipelines[0]})" for family in FAMILIES)
    raise FailedPrecondition(
        f"models of the pipeline {wanted or 'without a _class_name'} are not served; served: {served}",
        reason="UNSUPPORTED_MODEL",
    )
