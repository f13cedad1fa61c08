"""What is told of a row's time before it is prepared comes true, whatever its noise schedule and guidance."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from toy_families import Toys

from diptych.diffusion import Pipeline, RowSpec
from diptych.errors import DeadlineExceeded
from diptych.serving.continuous_batcher import ContinuousBatcher, RowStepped
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2
from services.generator.generation import _Pace
from services.generator.models import GeneratorModel, ModelRow, step_together

SPEC = RowSpec("a red apple", 64, 64, 1, 5, 5.0, "ddim")
PICTURE = np.full((64, 64, 3), 90, np.uint8)


@pytest.fixture(scope="module", params=["sd", "lcm", "sd3"])
def model(request: pytest.FixtureRequest, toys: Toys) -> Iterator[GeneratorModel]:
    with toys.pipeline(request.param) as pipeline:
        yield GeneratorModel(image_pb2.ModelRef(name=request.param), pipeline)


def variants(pipeline: Pipeline) -> Iterator[RowSpec]:
    for name in pipeline.schedule_names:
        for steps in (1, 5):
            base = replace(SPEC, noise_schedule=name, num_inference_steps=steps)
            yield from (base, replace(base, guidance_scale=1.0))
            yield replace(base, init_image=PICTURE, strength=0.5)


def test_a_sketch_has_the_steps_and_samples_of_its_row(model: GeneratorModel) -> None:
    for spec in variants(model.pipeline):
        row = model.prepare(spec)
        sketch = model.sketch(spec, model.pipeline.num_calls(spec))
        expected = (row.key, row.num_steps, row.samples)
        assert (sketch.key, sketch.num_steps, sketch.samples) == expected, spec.noise_schedule


class Timed:
    """A clock that stands still, but for a second a sample in every call."""

    def __init__(self) -> None:
        self.now = 1000.0

    def step(self, rows: Sequence[ModelRow]) -> None:
        self.now += sum(row.samples for row in rows)
        step_together(rows)


@pytest.mark.parametrize("name", ["heun", "dpm2", "pndm", "lcm"])
async def test_forecasts_come_true(toys: Toys, name: str) -> None:
    with toys.pipeline("lcm" if name == "lcm" else "sd") as pipeline:
        model = GeneratorModel(image_pb2.ModelRef(name="toy"), pipeline)
        clock, worker = Timed(), Worker("toy")
        batcher = ContinuousBatcher[ModelRow](worker, clock.step, max_rows=8, clock=lambda: clock.now)
        spec = replace(SPEC, noise_schedule=name)
        await draw(batcher, [model.prepare(replace(spec, num_inference_steps=2))])
        sketches = [model.sketch(spec, pipeline.num_calls(spec))] * 2
        with batcher.book(sketches) as booking:
            began = clock.now
            told = booking.remaining
            await draw(batcher, [model.prepare(spec), model.prepare(spec)])
        assert told == pytest.approx(clock.now - began)
        # A line of others counts as well, and a caller who cannot wait so long hears it at once.
        with batcher.book(sketches) as first, batcher.book(sketches) as second:
            assert (first.remaining, second.remaining) == (pytest.approx(told), pytest.approx(2 * told))
            with pytest.raises(DeadlineExceeded), batcher.book(sketches, deadline=clock.now + 2.9 * told):
                pass
            with batcher.book(sketches, deadline=clock.now + 3.1 * told):
                pass
        await worker.close()


async def test_speed_is_that_of_the_steps_however_late_their_events_are_read(model: GeneratorModel) -> None:
    """A picture of the same order may be finished and sent in between."""
    row = model.prepare(SPEC)
    pace = _Pace([row])
    now = time.monotonic()
    told = [pace.progress(RowStepped(row, step, now - 10 + step / 2, 4.0 - step / 2)) for step in range(1, 6)]
    assert told[0].steps_per_second == 0
    assert [one.steps_per_second for one in told[1:]] == pytest.approx([2.0] * 4)
    assert all(one.HasField("remaining") and one.remaining.ToNanoseconds() == 0 for one in told)
    fresh = pace.progress(RowStepped(row, 6, time.monotonic(), 100.0))
    assert 60 < fresh.remaining.ToTimedelta().total_seconds() <= 100


async def draw(batcher: ContinuousBatcher[ModelRow], rows: list[ModelRow]) -> None:
    async with batcher.submit(rows) as steps:
        async for _ in steps:
            pass
