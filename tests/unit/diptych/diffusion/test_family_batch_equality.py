"""For every family a row's bytes are the same alone and in company, whoever comes and goes."""

import random
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pytest
from toy_families import Toys

from diptych.diffusion import Pipeline, Row, RowSpec
from diptych.diffusion.row import Control
from diptych.diffusion.schedule_names import SCHEDULES

PICTURE = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
MASK = np.zeros((64, 64), np.float32)
MASK[16:48, 8:56] = 1
LINES = np.zeros((64, 64, 3), np.uint8)
LINES[10:50, 20] = LINES[30, 5:60] = 255
FAMILIES = ["sd", "sd-controlled", "sd-inpaint", "lcm", "sdxl", "sd3"]
COMPANIES = 200
SPECS = 52


class Alone:
    """A pipeline, specs of every kind that it draws, and the latents that each has after every step alone."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        chance = random.Random(5)
        self.specs = [some_spec(chance, pipeline, number) for number in range(SPECS)]

    @cached_property
    def walks(self) -> list[list[bytes]]:
        return [solo_walk(self.pipeline, spec) for spec in self.specs]

    @cached_property
    def pictures(self) -> list[bytes]:
        rows = [self.pipeline.prepare(spec) for spec in self.specs]
        for row in rows:
            while not row.finished:
                self.pipeline.step([row])
        return [self.pipeline.finish(row).tobytes() for row in rows]


@pytest.fixture(scope="module", params=FAMILIES)
def alone(request: pytest.FixtureRequest, toys: Toys) -> Iterator[Alone]:
    with toys.pipeline(request.param, threads=2) as pipeline:
        yield Alone(pipeline)


def some_spec(chance: random.Random, pipeline: Pipeline, number: int) -> RowSpec:
    mode = chance.choice(["words", "words", "words", "picture", "mask"])
    held = bool(pipeline.control_kinds) and chance.random() < 0.5
    scale = chance.choice([0.5, 1.0])
    return RowSpec(
        prompt=chance.choice(["a red apple", "a blue cat", "the sun (tree:1.4)", ""]),
        negative_prompt=chance.choice(["", "green"]),
        width=64,
        height=64,
        seed=chance.randrange(2**64),
        num_inference_steps=chance.randint(1, 4),
        guidance_scale=chance.choice([1.0, 3.0]),
        noise_schedule=pipeline.schedule_names[number % len(pipeline.schedule_names)],
        init_image=None if mode == "words" else PICTURE,
        strength=chance.choice([0.5, 1.0]),
        mask=MASK if mode == "mask" else None,
        controls=(Control(chance.choice(pipeline.control_kinds), LINES, scale),) if held else (),
    )


def company(pipeline: Pipeline, specs: list[RowSpec], chance: random.Random) -> list[tuple[Row, int]]:
    """All rows and the steps they took: each joins at some step, is left out of some, and some leave before the end."""
    rows = [pipeline.prepare(spec) for spec in specs]
    taken = dict.fromkeys(rows, 0)
    waiting, running = rows[:], []
    while waiting or running:
        joining = chance.randint(0 if running else 1, 3)
        running, waiting = running + waiting[:joining], waiting[joining:]
        chance.shuffle(running)
        running = [row for row in running if not row.finished]
        if stepping := running[: chance.randint(1, 8)]:
            pipeline.step(stepping)
        for row in stepping:
            taken[row] += 1
        running = [row for row in running if chance.random() > 0.03]
    return list(taken.items())


def test_company_changes_no_bit(alone: Alone) -> None:
    """Two hundred schedules of joining and leaving."""
    finished = 0
    for number in range(COMPANIES):
        chance = random.Random(number)
        chosen = [chance.randrange(SPECS) for _ in range(chance.randint(2, 4))]
        rows = company(alone.pipeline, [alone.specs[one] for one in chosen], chance)
        for one, (row, steps) in zip(chosen, rows, strict=True):
            assert row.latents.tobytes() == alone.walks[one][steps], alone.specs[one]
            if row.finished and row.spec.mask is not None and number % 5 == 0:
                assert alone.pipeline.finish(row).tobytes() == alone.pictures[one]
            finished += row.finished
    assert finished > COMPANIES


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
