"""Cancel is exact: it frees its rows within one step and changes no neighbour, at whatever step it comes."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from diptych.diffusion import Defaults, Pipeline, RowSpec, open_pipeline
from diptych.serving.continuous_batcher import ContinuousBatcher
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2
from services.generator.models import GeneratorModel, ModelRow, step_together

STEPS = 6
LEAVER = 3


@pytest.fixture(scope="module")
def model(tiny_models: Path) -> Iterator[GeneratorModel]:
    pipeline = open_pipeline(tiny_models / "tiny", Defaults(STEPS, 3.0), threads=1)
    yield GeneratorModel(image_pb2.ModelRef(name="tiny"), pipeline)
    pipeline.close()


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("generator")
    yield worker
    await worker.close()


def eight(model: GeneratorModel) -> list[ModelRow]:
    """Eight rows that differ in all they can; all have the same number of steps."""
    prompts = ("a red apple", "a blue cat", "the sun", "tree")
    return [
        model.prepare(RowSpec(prompts[n % 4], 64, 64, n, STEPS, (1.0, 3.0, 7.5)[n % 3], "flow_match_euler"))
        for n in range(8)
    ]


@pytest.fixture(scope="module")
def alone(model: GeneratorModel) -> list[bytes]:
    rows = eight(model)
    for row in rows:
        while not row.finished:
            step_together([row])
    return [drawn(model.pipeline, row) for row in rows]


def drawn(pipeline: Pipeline, row: ModelRow) -> bytes:
    return pipeline.finish(row.row).tobytes()


@pytest.mark.parametrize("at", range(STEPS))
async def test_one_of_eight_leaves_and_the_others_draw_what_they_draw_alone(
    model: GeneratorModel, alone: list[bytes], worker: Worker, at: int
) -> None:
    rows, calls = eight(model), list[list[ModelRow]]()
    left_at: int | None = None

    def step(together: Sequence[ModelRow]) -> None:
        calls.append(list(together))
        step_together(together)

    batcher = ContinuousBatcher(worker, step, max_rows=8)

    async def watch(number: int) -> None:
        nonlocal left_at
        async with batcher.submit([rows[number]]) as events:
            if number == LEAVER and at == 0:
                await asyncio.sleep(0)  # The first call may just have begun.
                left_at = len(calls)
                raise asyncio.CancelledError
            async for event in events:
                if number == LEAVER and event.step == at:
                    left_at = len(calls)
                    raise asyncio.CancelledError

    with suppress(asyncio.CancelledError):
        await asyncio.gather(*(watch(number) for number in range(8)), return_exceptions=True)
    assert left_at is not None
    # The call that was under way may still have held it, none after that.
    assert all(rows[LEAVER] not in call for call in calls[left_at + 1 :])
    assert (batcher.rows_running, batcher.rows_waiting) == (0, 0)
    for number, row in enumerate(rows):
        if number != LEAVER:
            assert row.finished
            assert drawn(model.pipeline, row) == alone[number]
