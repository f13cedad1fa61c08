"""The pictures of one order share what is computed of their pictures, for as long as it lasts."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from toy_families import Toys

from diptych.diffusion import Defaults, RowSpec, open_pipeline
from diptych.diffusion.remembered import Remembered
from diptych.engines.base import Engine


def test_the_same_objects_are_computed_once_and_others_anew() -> None:
    calls = []
    remembered = Remembered(lambda *arrays: calls.append(arrays) or len(calls))
    one, same_numbers = np.zeros(3), np.zeros(3)
    assert [remembered(one, None), remembered(one, None)] == [1, 1]
    assert [remembered(same_numbers, None), remembered(one, same_numbers), remembered(one, None)] == [2, 3, 1]
    assert len(calls) == 3


def test_nothing_outlives_its_arrays() -> None:
    remembered = Remembered(lambda *arrays: arrays[0].sum())
    for number in range(100):  # Each takes the place, and often the id, of the one before.
        array = np.full(4, number)
        assert remembered(array, None) == 4 * number
    del array
    gc.collect()
    assert remembered._known == {}


@contextmanager
def counted(folder: Path) -> Iterator[tuple[object, list[str]]]:
    """The pipeline, and the graphs as they are run."""
    runs: list[str] = []

    def around(name: str, engine: Engine) -> Engine:
        run = engine.run

        def counting(*given: object) -> object:
            runs.append(name.partition("/")[0])
            return run(*given)  # type: ignore[arg-type]

        engine.run = counting  # type: ignore[method-assign,assignment]
        return engine

    pipeline = open_pipeline(folder, Defaults(2, 3.0), threads=1, around=around)
    yield pipeline, runs
    pipeline.close()


def test_an_order_of_many_pictures_encodes_its_picture_once(toys: Toys) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 8:56] = 1
    spec = RowSpec("a cat", 64, 64, 1, 2, 3.0, "ddim", init_image=picture, mask=mask)
    for family, times in (("sd", 1), ("sd-inpaint", 2)):  # The other time without what is redrawn.
        with counted(toys.model(family)) as (pipeline, runs):
            first = [pipeline.prepare(replace(spec, seed=seed)).latents.tobytes() for seed in range(4)]
            assert runs.count("vae_encoder") == times
            again = [pipeline.prepare(replace(spec, seed=seed, init_image=picture.copy())) for seed in range(4)]
            assert runs.count("vae_encoder") == 5 * times
            assert [row.latents.tobytes() for row in again] == first
