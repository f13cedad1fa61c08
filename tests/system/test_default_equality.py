"""The default model and its student with their real weights: company changes no bit."""

import random

import pytest

from diptych.diffusion import Defaults, RowSpec, open_pipeline
from diptych.repository import ModelRepository


@pytest.mark.parametrize(("name", "threads"), [("diptych-icons", 1), ("diptych-icons", 2), ("diptych-icons-turbo", 2)])
def test_rows_that_come_and_go_draw_what_they_draw_alone(name: str, threads: int) -> None:
    model = ModelRepository().open(name)
    pipeline = open_pipeline(model.directory, Defaults.from_table(model.manifest.defaults), threads=threads)
    width, height = pipeline.sizes.native
    specs = [
        RowSpec(prompt, width, height, seed, steps, guidance, pipeline.default_schedule)
        for seed, (prompt, steps, guidance) in enumerate(
            [("a red apple", 2, 4.5), ("a smiling sun", 3, 1.0), ("two blue stars", 4, 3.0), ("a tree", 1, 7.0)]
        )
    ]
    alone = []
    for spec in specs:
        row = pipeline.prepare(spec)
        while not row.finished:
            pipeline.step([row])
        alone.append((row.latents.tobytes(), pipeline.finish(row).tobytes()))
    for schedule in range(10):
        chance = random.Random(schedule)
        order = chance.sample(range(len(specs)), len(specs))
        rows = {number: pipeline.prepare(specs[number]) for number in order}
        waiting, running = order[:], list[int]()
        while waiting or running:
            joining = chance.randint(0 if running else 1, 2)
            running, waiting = running + waiting[:joining], waiting[joining:]
            pipeline.step([rows[number] for number in running])
            running = [number for number in running if not rows[number].finished]
        for number, row in rows.items():
            assert (row.latents.tobytes(), pipeline.finish(row).tobytes()) == alone[number]
    pipeline.close()
