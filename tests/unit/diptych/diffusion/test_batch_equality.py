"""A batched result equals the solo result for the same seed, bit for bit, whoever comes and goes."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diptych.diffusion import Defaults, Pipeline, Row, RowSpec, open_pipeline

PICTURE = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
MASK = np.zeros((64, 64), np.float32)
MASK[16:48, 8:56] = 1


@pytest.fixture(scope="module", params=[1, 2, 4])
def threaded(request: pytest.FixtureRequest, tiny_folder: Path) -> Iterator[Pipeline]:
    """Work is split between threads by batch size, which is where company could be felt."""
    pipeline = open_pipeline(tiny_folder, Defaults(4, 3.0), threads=request.param)
    yield pipeline
    pipeline.close()


def some_spec(chance: random.Random) -> RowSpec:
    vary = chance.random() < 0.3
    return RowSpec(
        prompt=chance.choice(["a red apple", "a blue cat", "the sun on a green house", "tree"]),
        negative_prompt=chance.choice(["", "green"]),
        width=64,
        height=64,
        seed=chance.randrange(2**64),
        num_inference_steps=chance.randint(1, 6),
        guidance_scale=chance.choice([1.0, 3.0, 7.5]),
        noise_schedule="flow_match_euler",
        init_image=PICTURE if vary else None,
        strength=chance.choice([0.5, 1.0]),
        mask=MASK if vary and chance.random() < 0.5 else None,
    )


def together(pipeline: Pipeline, specs: list[RowSpec], chance: random.Random) -> list[Row]:
    """All rows drawn; each joins at some step and leaves when it is finished."""
    rows = [pipeline.prepare(spec) for spec in specs]
    waiting, running = rows[:], []
    while waiting or running:
        joining = chance.randint(0 if running else 1, 3)
        running, waiting = running + waiting[:joining], waiting[joining:]
        chance.shuffle(running)
        pipeline.step(running)
        running = [row for row in running if not row.finished]
    return rows


@pytest.mark.parametrize("schedule", range(8))
def test_a_batched_result_equals_the_solo_result(threaded: Pipeline, schedule: int) -> None:
    chance = random.Random(schedule)
    specs = [some_spec(chance) for _ in range(chance.randint(2, 8))]
    rows = together(threaded, specs, chance)
    for spec, row in zip(specs, rows, strict=True):
        solo = threaded.prepare(spec)
        while not solo.finished:
            threaded.step([solo])
        assert row.latents.tobytes() == solo.latents.tobytes()
        assert threaded.finish(row).tobytes() == threaded.finish(solo).tobytes()
