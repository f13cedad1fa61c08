"""IP-Adapters: as in diffusers, alone as in company, and not there where nobody asks for them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers_twin import Twin, psnr
from PIL import Image
from safetensors.torch import save_file
from toy_families import Toys, write_controlnet, write_ip_adapter

from diptych.diffusion import Defaults, Pipeline, RowSpec, open_pipeline
from diptych.diffusion.references import Reference
from diptych.errors import FailedPrecondition
from diptych.export import ImportOptions, import_model
from diptych.images import Pixels

PICTURE = np.kron(np.random.default_rng(5).integers(0, 256, (6, 9, 3)), np.ones((12, 12, 1))).astype(np.uint8)
SPEC = RowSpec("a red apple", 64, 64, 5, 4, 5.0, "ddim", negative_prompt="green")
# Stable Diffusion XL's first upward block has the layers of style (InstantStyle), here as there.
STYLE = {"up": {"block_0": [0.0, 0.8]}}


@dataclass
class Referenced:
    """A model with an IP-Adapter, its twin, and which of both it is."""

    pipeline: Pipeline
    twin: Twin
    xl: bool

    def ours(self, **changed: Any) -> Pixels:
        row = self.pipeline.prepare(replace(SPEC, **changed))
        while not row.finished:
            self.pipeline.step([row])
        return self.pipeline.finish(row)


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def referenced(
    request: pytest.FixtureRequest, toys: Toys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Referenced]:
    """Stable Diffusion with a plain adapter and a ControlNet beside it, XL with a Plus."""
    root, xl = tmp_path_factory.mktemp("referenced"), request.param == "sdxl"
    file = write_ip_adapter(root / "adapter", xl=xl, plus=xl)
    nets = {} if xl else {"edges": write_controlnet(root / "edges")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    source = toys.source(request.param)
    made = import_model(source, root / "models", ImportOptions("referenced", ip_adapter=file, controlnets=nets))
    pipeline, twin = open_pipeline(made, Defaults(4, 5.0), threads=2), Twin(source)
    twin.dress = lambda pipe: pipe.load_ip_adapter(str(file.parent), subfolder="", weight_name=file.name)
    yield Referenced(pipeline, twin, xl)
    pipeline.close()
    torch.set_num_threads(threads)


def theirs(both: Referenced, scale: Any, spec: RowSpec) -> Pixels:
    load = both.twin.dress

    def dress(pipe: Any) -> None:
        load(pipe)
        pipe.set_ip_adapter_scale(scale)

    both.twin.dress = dress
    try:
        return both.twin.draw(spec, both.pipeline.default_schedule, ip_adapter_image=Image.fromarray(PICTURE))
    finally:
        both.twin.dress = load


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_a_picture_guides_as_in_diffusers(referenced: Referenced, guidance: float) -> None:
    spec = replace(SPEC, guidance_scale=guidance)
    ours = referenced.ours(guidance_scale=guidance, reference=Reference(PICTURE, 0.8))
    assert psnr(ours, theirs(referenced, 0.8, spec)) >= 40
    assert psnr(ours, referenced.ours(guidance_scale=guidance)) < 35, "the reference is not seen in the picture"


@pytest.mark.filterwarnings("ignore")
def test_style_alone_goes_to_the_layers_of_style(referenced: Referenced) -> None:
    ours = referenced.ours(reference=Reference(PICTURE, 0.8, style=True))
    whole = referenced.ours(reference=Reference(PICTURE, 0.8))
    if not referenced.xl:  # No such layers are known there.
        assert np.array_equal(ours, whole)
        return
    assert psnr(ours, theirs(referenced, STYLE, SPEC)) >= 40
    assert psnr(ours, whole) < 40


def test_without_reference_it_draws_as_without_adapter(referenced: Referenced, toys: Toys) -> None:
    with toys.pipeline("sdxl" if referenced.xl else "sd", threads=2) as plain:
        row = plain.prepare(SPEC)
        while not row.finished:
            plain.step([row])
        assert psnr(referenced.ours(), plain.finish(row)) >= 60
        assert (plain.takes_references, referenced.pipeline.takes_references) == (False, True)


def test_company_changes_no_bit(referenced: Referenced) -> None:
    chance = np.random.default_rng(1)
    references = [None, Reference(PICTURE, 0.5), Reference(PICTURE[::-1].copy(), 1.5, style=True)]
    specs = [
        replace(SPEC, seed=seed, reference=references[seed % 3], guidance_scale=1.0 + seed % 2 * 3) for seed in range(7)
    ]
    rows = [referenced.pipeline.prepare(spec) for spec in specs]
    while running := [row for row in rows if not row.finished]:
        chance.shuffle(running)  # type: ignore[arg-type]
        referenced.pipeline.step(running[: chance.integers(1, 6)])
    for spec, row in zip(specs, rows, strict=True):
        alone = referenced.ours(**{key: value for key, value in vars(spec).items()})
        assert referenced.pipeline.finish(row).tobytes() == alone.tobytes()


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_adapter_of_this_model_is_refused(toys: Toys, tmp_path: Path) -> None:
    file = write_ip_adapter(tmp_path / "xl", xl=True)
    strange, alone = tmp_path / "strange.safetensors", tmp_path / "alone.safetensors"
    save_file({"unet.weight": torch.ones(1)}, strange)
    alone.write_bytes(file.read_bytes())
    for given, words in ((file, "does not fit"), (strange, "no IP-Adapter"), (alone, "image_encoder")):
        with pytest.raises(FailedPrecondition, match=words):
            import_model(toys.source("sd"), tmp_path / "models", ImportOptions("no", ip_adapter=given))
    with pytest.raises(FailedPrecondition, match="for UNets"):
        import_model(toys.source("sd3"), tmp_path / "models", ImportOptions("no", ip_adapter=file))
