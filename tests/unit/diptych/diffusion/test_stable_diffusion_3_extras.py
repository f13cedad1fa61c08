"""Stable Diffusion 3 with ControlNets and with adapters merged: as diffusers draws it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers_twin import Twin, psnr
from PIL import Image
from safetensors.torch import save_file
from toy_families import Toys, write_controlnet, write_sd3_controlnet

from diptych.diffusion import Defaults, Pipeline, RowSpec, open_pipeline
from diptych.diffusion.latents import draw_noise
from diptych.diffusion.row import Control
from diptych.errors import FailedPrecondition
from diptych.export import ImportOptions, import_model
from diptych.images import Pixels

LINES = np.zeros((64, 64, 3), np.uint8)
LINES[10:50, 20] = LINES[30, 5:60] = 255
SPEC = RowSpec("a red apple", 64, 64, 5, 4, 5.0, "flow_match_euler", negative_prompt="green")
HELD = replace(SPEC, controls=(Control("edges", LINES, 0.8),))
QUERY = "transformer_blocks.1.attn.to_q"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One that is told nothing of the prompt's pooled vector, and one that shares the denoiser's places."""
    root = tmp_path_factory.mktemp("nets")
    told = {"force_zeros_for_pooled_projection": False, "use_pos_embed": False}
    return {
        "edges": write_sd3_controlnet(root / "edges"),
        "depth": write_sd3_controlnet(root / "depth", **told),
    }


@pytest.fixture(scope="module")
def held(
    toys: Toys, nets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pipeline, Twin]]:
    """A model with both, and its twin."""
    models = tmp_path_factory.mktemp("models")
    folder = import_model(toys.source("sd3"), models, ImportOptions("sd3-held", controlnets=nets))
    pipeline = open_pipeline(folder, Defaults(4, 5.0), threads=2)
    yield pipeline, Twin(toys.source("sd3"))
    pipeline.close()


def drawn(pipeline: Pipeline, spec: RowSpec) -> Pixels:
    row = pipeline.prepare(spec)
    while not row.finished:
        pipeline.step([row])
    return pipeline.finish(row)


@pytest.mark.parametrize("kind", ["edges", "depth"])
def test_a_constrained_picture_is_that_of_diffusers(
    held: tuple[Pipeline, Twin], nets: dict[str, Path], kind: str
) -> None:
    pipeline, twin = held
    pipe = diffusers.StableDiffusion3ControlNetPipeline(
        **twin.parts, controlnet=diffusers.SD3ControlNetModel.from_pretrained(nets[kind])
    )
    pipe.set_progress_bar_config(disable=True)
    with patch.object(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode()):
        (theirs,) = pipe(
            SPEC.prompt,
            negative_prompt="green",
            control_image=Image.fromarray(LINES),
            width=64,
            height=64,
            num_inference_steps=4,
            guidance_scale=5.0,
            controlnet_conditioning_scale=0.8,
            latents=torch.from_numpy(draw_noise(5, (16, 8, 8)))[None],
            output_type="np",
        ).images
    ours = drawn(pipeline, replace(SPEC, controls=(Control(kind, LINES, 0.8),)))
    assert pipeline.control_kinds == ("depth", "edges")
    assert psnr(ours, (theirs * 255 + 0.5).astype(np.uint8)) >= 50
    assert psnr(ours, drawn(pipeline, SPEC)) < 40, "the constraint is not seen in the picture"


def test_company_changes_nothing_and_sizes_may_differ_from_the_native(held: tuple[Pipeline, Twin]) -> None:
    pipeline, twin = held
    assert psnr(drawn(pipeline, SPEC), twin.draw(SPEC, SPEC.noise_schedule)) >= 50
    rows = [pipeline.prepare(spec) for spec in (SPEC, HELD, replace(HELD, seed=9))]
    while not rows[0].finished:
        pipeline.step(rows)
    np.testing.assert_array_equal(pipeline.finish(rows[1]), drawn(pipeline, HELD))
    wide = replace(HELD, width=96, height=48, controls=(Control("edges", np.repeat(LINES, 2, 1)[:48, :96], 0.8),))
    assert drawn(pipeline, wide).shape == (48, 96, 3)


def test_nets_that_do_not_belong_to_it_are_refused(toys: Toys, nets: dict[str, Path], tmp_path: Path) -> None:
    def imported(family: str = "sd3", **controlnets: Path) -> None:
        import_model(toys.source(family), tmp_path / "models", ImportOptions("refused", controlnets=controlnets))

    with pytest.raises(FailedPrecondition, match="edges is a ControlNetModel; one for Stable"):
        imported(edges=write_controlnet(tmp_path / "unet"))
    with pytest.raises(FailedPrecondition, match="edges is a SD3ControlNetModel"):
        imported("sd", edges=nets["edges"])
    with pytest.raises(FailedPrecondition, match="depth, edges have 2, 1 layers"):
        imported(depth=write_sd3_controlnet(tmp_path / "deep", num_layers=2), edges=nets["edges"])
    with pytest.raises(FailedPrecondition, match="1 further channels"):
        imported(edges=write_sd3_controlnet(tmp_path / "masked", extra_conditioning_channels=1))
    assert not (tmp_path / "models/refused").exists()


def test_adapters_are_merged_into_the_denoiser_and_the_text_encoders(toys: Toys, tmp_path: Path) -> None:
    """What diffusers draws once the same has been added to its own weights."""
    torch.manual_seed(3)
    down, up = torch.randn(4, 32), torch.randn(32, 4)
    tensors = {
        f"{base}.{name}": tensor.clone()
        for base in (f"transformer.{QUERY}", f"text_encoder.{TEXT}", f"text_encoder_2.{TEXT}")
        for name, tensor in (("lora_A.weight", down), ("lora_B.weight", up))
    }
    save_file(tensors, tmp_path / "ink.safetensors")
    options = ImportOptions("ink", loras=((tmp_path / "ink.safetensors", 0.5),))
    pipeline = open_pipeline(
        import_model(toys.source("sd3"), tmp_path / "models", options), Defaults(4, 5.0), threads=1
    )
    twin = Twin(toys.source("sd3"))
    with torch.no_grad():
        twin.parts["transformer"].get_submodule(QUERY).weight += 0.5 * up @ down
        for part in ("text_encoder", "text_encoder_2"):
            (layer,) = [own for name, own in twin.parts[part].named_modules() if name.endswith(TEXT[11:])]
            layer.weight += 0.5 * up @ down
    ours = drawn(pipeline, SPEC)
    pipeline.close()
    assert psnr(ours, twin.draw(SPEC, SPEC.noise_schedule)) >= 40
    with toys.pipeline("sd3") as plain:
        assert psnr(ours, drawn(plain, SPEC)) < 40
