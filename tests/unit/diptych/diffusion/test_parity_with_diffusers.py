"""Every family, noise schedule and mode gives the picture that diffusers' own pipeline gives from the same noise."""

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers_twin import Twin, psnr
from toy_families import Toys

from diptych.diffusion import Pipeline, RowSpec
from diptych.diffusion.schedule_names import SCHEDULES
from diptych.images import Pixels

LEAST_DECIBELS = 40.0
PICTURE = np.kron(np.random.default_rng(3).integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
MASK = np.zeros((64, 64), np.float32)
MASK[16:48, 8:56] = 1
BASE = RowSpec("a red apple (cat)", 64, 64, 5, 4, 5.0, "", negative_prompt="green")
MODES = {
    "text": BASE,
    "picture": replace(BASE, init_image=PICTURE, strength=0.5),
    "mask": replace(BASE, init_image=PICTURE, strength=0.5, mask=MASK),
    "new in mask": replace(BASE, init_image=PICTURE, strength=1.0, mask=MASK),
}
DISCRETE = [name for name, kind in SCHEDULES.items() if not kind.flow]
FLOW = [name for name, kind in SCHEDULES.items() if kind.flow]
CASES = {
    "sd": (DISCRETE, ("text", "picture", "mask", "new in mask")),
    "sd-v": (DISCRETE, ("text", "picture", "mask")),
    "sd-turbo": (["euler", "euler_ancestral"], ("text", "picture")),
    "sd-inpaint": (DISCRETE, ("mask", "new in mask")),
    "lcm": (["lcm", "tcd", "euler"], ("text", "picture", "mask")),
    "sdxl": (DISCRETE, ("text", "picture", "mask")),
    "sdxl-turbo": (["euler_ancestral"], ("text", "picture")),
    "sd3": (FLOW, ("text", "picture", "mask", "new in mask")),
}


class Pair:
    """Ours and diffusers', of one family."""

    def __init__(self, pipeline: Pipeline, twin: Twin) -> None:
        self.pipeline = pipeline
        self.twin = twin

    def ours(self, spec: RowSpec) -> Pixels:
        row = self.pipeline.prepare(spec)
        while not row.finished:
            self.pipeline.step([row])
        return self.pipeline.finish(row)

    def theirs(self, spec: RowSpec) -> Pixels:
        return self.twin.draw(spec, self.pipeline.default_schedule)


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest, toys: Toys) -> Iterator[tuple[str, Pair]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with toys.pipeline(request.param) as pipeline:
        yield request.param, Pair(pipeline, Twin(toys.source(request.param)))
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore")
def test_the_pictures_are_those_of_diffusers(pair: tuple[str, Pair]) -> None:
    family, both = pair
    schedules, modes = CASES[family]
    short = {}
    for mode in modes:
        for schedule in schedules:
            spec = replace(MODES[mode], noise_schedule=schedule)
            ours = both.ours(spec)
            assert ours.std() > 5, "a blank picture proves nothing"
            if (found := psnr(ours, both.theirs(spec))) < LEAST_DECIBELS:
                short[mode, schedule] = round(found, 1)
    assert not short


@pytest.mark.filterwarnings("ignore")
def test_other_sizes_are_drawn_alike(pair: tuple[str, Pair]) -> None:
    family, both = pair
    if family not in ("sd", "sdxl", "sd3"):
        pytest.skip("the graphs are those of its relatives")
    spec = replace(BASE, width=96, height=48, noise_schedule=both.pipeline.default_schedule)
    assert psnr(both.ours(spec), both.theirs(spec)) >= LEAST_DECIBELS


@pytest.mark.filterwarnings("ignore")
def test_an_empty_negative_prompt_and_no_guidance_mean_what_they_mean_there(pair: tuple[str, Pair]) -> None:
    family, both = pair
    mode = "new in mask" if family == "sd-inpaint" else "text"
    for changed in ({"negative_prompt": ""}, {"guidance_scale": 1.0}):
        spec = replace(MODES[mode], noise_schedule=both.pipeline.default_schedule, **changed)
        assert psnr(both.ours(spec), both.theirs(spec)) >= LEAST_DECIBELS


def test_the_models_own_schedule_is_the_default(toys: Toys) -> None:
    own = {"sd": "pndm", "sd-v": "ddim", "sd-turbo": "euler", "lcm": "lcm", "sdxl-turbo": "euler_ancestral"}
    for family, schedule in own.items():
        config = json.loads((toys.source(family) / "scheduler/scheduler_config.json").read_text())
        assert SCHEDULES[schedule].kind == config["_class_name"]
        with toys.pipeline(family) as pipeline:
            assert pipeline.default_schedule == schedule
            assert pipeline.schedule_names == tuple(sorted(DISCRETE))
