"""For every family a row's bytes are the same alone and in company, whoever comes and goes."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from toy_families import Toys

from diptych.diffusion import Pipeline, Row, RowSpec
from diptych.diffusion.schedule_names import SCHEDULES

PICTURE = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
MASK = np.zeros((64, 64), np.float32)
MASK[16:48, 8:56] = 1
COMPANIES = 25


@pytest.fixture(scope="module", params=["sd", "sd-inpaint", "lcm", "sdxl", "sd3"])
def drawing(request: pytest.FixtureRequest, toys: Toys) -> Iterator[Pipeline]:
    with toys.pipeline(request.param, threads=2) as pipeline:
        yield pipeline


def some_spec(chance: random.Random, pipeline: Pipeline) -> RowSpec:
    schedule = chance.choice(pipeline.schedule_names)
    return RowSpec(
        prompt=chance.choice(["a red apple", "a blue cat", "the sun (tree:1.4)", ""]),
        negative_prompt=chance.choice(["", "green"]),
        width=64,
        height=64,
        seed=chance.randrange(2**64),
        num_inference_steps=chance.randint(1, 4),
        guidance_scale=chance.choice([1.0, 3.0]),
        noise_schedule=schedule,
        init_image=PICTURE if chance.random() < 0.3 else None,
        strength=chance.choice([0.5, 1.0]),
    )


def company(pipeline: Pipeline, specs: list[RowSpec], chance: random.Random) -> list[Row]:
    """All rows drawn; each joins at some step, and some leave before they are finished."""
    rows = [pipeline.prepare(spec) for spec in specs]
    waiting, running = rows[:], []
    while waiting or running:
        joining = chance.randint(0 if running else 1, 3)
        running, waiting = running + waiting[:joining], waiting[joining:]
        chance.shuffle(running)
        running = [row for row in running if not row.finished]
        if running:
            pipeline.step(running)
        running = [row for row in running if chance.random() > 0.05]
    return rows


def test_company_changes_no_bit(drawing: Pipeline) -> None:
    alone: dict[int, tuple[RowSpec, list[bytes]]] = {}
    for number in range(COMPANIES):
        chance = random.Random(number)
        # Some come again in other company: their solo walk is known.
        specs = [some_spec(chance, drawing) for _ in range(chance.randint(1, 3))]
        specs += [spec for spec, _ in chance.sample(list(alone.values()), min(len(alone), 3))]
        for spec, row in zip(specs, company(drawing, specs, chance), strict=True):
            if id(spec) not in alone:
                alone[id(spec)] = (spec, solo_walk(drawing, spec))
            walk = alone[id(spec)][1]
            assert row.latents.tobytes() in walk, (spec.noise_schedule, spec.guidance_scale)
            if row.finished:
                assert row.latents.tobytes() == walk[-1]


def solo_walk(pipeline: Pipeline, spec: RowSpec) -> list[bytes]:
    """The latents after each step, alone."""
    row = pipeline.prepare(spec)
    walk = [row.latents.tobytes()]
    while not row.finished:
        pipeline.step([row])
        walk.append(row.latents.tobytes())
    return walk


@pytest.mark.parametrize("name", [name for name, kind in SCHEDULES.items() if not kind.flow])
def test_every_schedule_repeats_its_seed_and_takes_a_single_step(toys: Toys, name: str) -> None:
    with toys.pipeline("sd") as pipeline:
        spec = RowSpec("a red apple", 64, 64, 2**64 - 1, 1, 3.0, name)
        walks = [solo_walk(pipeline, spec) for _ in range(2)]
        assert walks[0] == walks[1]
        assert np.isfinite(np.frombuffer(walks[0][-1], np.float32)).all()
