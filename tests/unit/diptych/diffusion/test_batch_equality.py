"""A batched result equals the solo result for the same seed, bit for bit, whoever comes and goes."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from diptych.diffusion import Defaults, Pipeline, Row, RowSpec, open_pipeline

PICTURE = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
MASK = np.zeros((64, 64), np.float32)
MASK[16:48, 8:56] = 1
SPECS = 24


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


class Threaded:
    """A pipeline, and what it draws of some specs alone. Work is split between threads by batch size, which is where
    company could be felt."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.pipeline: Pipeline = open_pipeline(folder, Defaults(4, 3.0), threads=threads)
        chance = random.Random(threads)
        self.specs = [some_spec(chance) for _ in range(SPECS)]

    @cached_property
    def alone(self) -> list[tuple[bytes, bytes]]:
        return [self.result(self.walk(self.pipeline.prepare(spec))) for spec in self.specs]

    def walk(self, row: Row) -> Row:
        while not row.finished:
            self.pipeline.step([row])
        return row

    def result(self, row: Row) -> tuple[bytes, bytes]:
        return row.latents.tobytes(), self.pipeline.finish(row).tobytes()

    def together(self, specs: list[RowSpec], chance: random.Random) -> list[Row]:
        """All rows drawn; each joins at some step, is left out of some, and leaves when it is finished."""
        rows = [self.pipeline.prepare(spec) for spec in specs]
        waiting, running = rows[:], []
        while waiting or running:
            joining = chance.randint(0 if running else 1, 3)
            running, waiting = running + waiting[:joining], waiting[joining:]
            chance.shuffle(running)
            self.pipeline.step(running[: chance.randint(1, len(running))])
            running = [row for row in running if not row.finished]
        return rows


@pytest.fixture(scope="module", params=[1, 2, 4])
def threaded(request: pytest.FixtureRequest, tiny_folder: Path) -> Iterator[Threaded]:
    opened = Threaded(tiny_folder, request.param)
    yield opened
    opened.pipeline.close()


@pytest.mark.parametrize("tenth", range(10))
def test_a_batched_result_equals_the_solo_result(threaded: Threaded, tenth: int) -> None:
    """Two hundred random schedules in all, on one, two and four threads."""
    for schedule in range(7):
        chance = random.Random(100 * tenth + schedule)
        chosen = [chance.randrange(SPECS) for _ in range(chance.randint(2, 8))]
        rows = threaded.together([threaded.specs[number] for number in chosen], chance)
        for number, row in zip(chosen, rows, strict=True):
            assert threaded.result(row) == threaded.alone[number]


def test_four_and_fifty_steps_of_every_mode_ride_in_one_call(
    threaded: Threaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From words, from a picture and in a mask; whoever is finished leaves, and nobody waits for the longest."""
    specs = [
        replace(threaded.specs[0], seed=9, num_inference_steps=steps, guidance_scale=3.0, **mode)
        for steps in (4, 50)
        for mode in (
            {"init_image": None, "mask": None},
            {"init_image": PICTURE, "mask": None, "strength": 1.0},
            {"init_image": PICTURE, "mask": MASK, "strength": 1.0},
        )
    ]
    rows = [threaded.pipeline.prepare(spec) for spec in specs]
    engine = threaded.pipeline._denoiser._graph._engine
    sizes: list[int] = []
    run = engine.run

    def counted(inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        sizes.append(len(inputs["timestep"]))
        return run(inputs, outputs)

    monkeypatch.setattr(engine, "run", counted)
    while running := [row for row in rows if not row.finished]:
        threaded.pipeline.step(running)
    assert sizes == [12] * 4 + [6] * 46  # Each with its guidance pair.
    monkeypatch.undo()
    assert [threaded.result(row) for row in rows] == [
        threaded.result(threaded.walk(threaded.pipeline.prepare(spec))) for spec in specs
    ]
