"""ControlNets: as in diffusers, alone as in company, and merged adapters seen in the picture."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers_twin import Twin, psnr
from PIL import Image
from safetensors.torch import save_file
from toy_families import Toys

from diptych.diffusion import Defaults, Pipeline, RowSpec, open_pipeline
from diptych.diffusion.latents import draw_noise
from diptych.diffusion.row import Control
from diptych.export import ImportOptions, import_model
from diptych.images import Pixels

LINES = np.zeros((64, 64, 3), np.uint8)
LINES[10:50, 20] = LINES[30, 5:60] = 255
SPEC = RowSpec("a red apple", 64, 64, 5, 4, 5.0, "ddim", negative_prompt="green")
HELD = replace(SPEC, controls=(Control("edges", LINES, 0.8),))


@pytest.fixture(scope="module")
def held(toys: Toys) -> Iterator[tuple[Pipeline, Twin, Path]]:
    """A model with two ControlNets, its twin, and the first ControlNet's folder."""
    with toys.pipeline("sd-controlled", threads=2) as pipeline:
        yield pipeline, Twin(toys.source("sd")), toys.controlnet()


def drawn(pipeline: Pipeline, spec: RowSpec) -> Pixels:
    row = pipeline.prepare(spec)
    while not row.finished:
        pipeline.step([row])
    return pipeline.finish(row)


@pytest.mark.filterwarnings("ignore")
def test_a_constrained_picture_is_that_of_diffusers(held: tuple[Pipeline, Twin, Path]) -> None:
    pipeline, twin, net = held
    pipe = diffusers.StableDiffusionControlNetPipeline(
        **{**twin.parts, "scheduler": diffusers.DDIMScheduler.from_config(twin.config)},
        controlnet=diffusers.ControlNetModel.from_pretrained(net),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    (theirs,) = pipe(
        SPEC.prompt,
        Image.fromarray(LINES),
        negative_prompt="green",
        num_inference_steps=4,
        guidance_scale=5.0,
        controlnet_conditioning_scale=0.8,
        latents=torch.from_numpy(draw_noise(5, (4, 8, 8)))[None],
        output_type="np",
    ).images
    ours = drawn(pipeline, HELD)
    assert pipeline.control_kinds == ("depth", "edges")
    assert psnr(ours, (theirs * 255 + 0.5).astype(np.uint8)) >= 50
    assert psnr(ours, drawn(pipeline, SPEC)) < 40, "the constraint is not seen in the picture"


def test_without_constraints_it_draws_as_without_controlnets(held: tuple[Pipeline, Twin, Path], toys: Toys) -> None:
    with toys.pipeline("sd", threads=2) as plain:
        assert psnr(drawn(held[0], SPEC), drawn(plain, SPEC)) >= 60


def test_two_constraints_add_up(held: tuple[Pipeline, Twin, Path]) -> None:
    half = (Control("edges", LINES, 0.4), Control("depth", LINES, 0.4))
    assert psnr(drawn(held[0], replace(SPEC, controls=half)), drawn(held[0], HELD)) >= 50


@pytest.mark.filterwarnings("ignore")
def test_merged_adapters_and_skipped_layers_are_seen_in_the_picture(toys: Toys, tmp_path: Path) -> None:
    """What diffusers draws once the same has been added to its own weights."""
    base = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v"
    torch.manual_seed(3)
    down, up = torch.randn(4, 32), torch.randn(16, 4)
    save_file({f"unet.{base}.lora_A.weight": down, f"unet.{base}.lora_B.weight": up}, tmp_path / "ink.safetensors")
    options = ImportOptions("ink", loras=((tmp_path / "ink.safetensors", 0.3),), clip_skip=1)
    pipeline = open_pipeline(import_model(toys.source("sd"), tmp_path / "models", options), Defaults(4, 5.0), threads=1)
    twin = Twin(toys.source("sd"))
    text = twin.parts["text_encoder"]
    object.__setattr__(text, "text_model", text)  # Where diffusers still looks for the last norm.
    with torch.no_grad():
        twin.parts["unet"].get_submodule(base).weight += 0.3 * up @ down
    unguided = replace(SPEC, guidance_scale=1.0)  # diffusers skips no layers for negative prompts.
    ours = drawn(pipeline, unguided)
    pipeline.close()
    assert psnr(ours, twin.draw(unguided, "pndm", clip_skip=1)) >= 40
    with toys.pipeline("sd") as plain:
        assert psnr(ours, drawn(plain, unguided)) < 40
