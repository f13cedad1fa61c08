"""The three real services in one process with tiny models: one goal through the generator and the editor."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from diptych import images
from diptych.client import AsyncClient
from diptych.errors import InvalidRequest
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.generator.app import GeneratorConfig
from services.generator.app import build as build_generator
from services.orchestrator.app import OrchestratorConfig, assemble
from tests.services import editor_house
from tests.services.orchestrator_house import read_spelled_out


@pytest.fixture(scope="module")
def editing_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return editor_house.write_models(tmp_path_factory.mktemp("editing"))


@pytest.fixture
async def client(tiny_models: Path, editing_models: Path, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    generator = await build_generator(GeneratorConfig(port=0, models=tiny_models, model="tiny", threads=1))
    async with generator, editor_house.editor(editing_models, cache=tmp_path, tile=64) as (editor, _):
        config = OrchestratorConfig(port=0, generator_address=generator.address, editor_address=editor.address)
        async with assemble(config, read_spelled_out) as server, AsyncClient(server.address) as client:
            yield client


async def planned(client: AsyncClient, goal: str, assumed_images: int = 0) -> v1.Plan:
    request = v1.PlanGoalRequest(goal=v1.Goal(text=goal), assumed_images=assumed_images)
    return (await client.plan_goal(request, timeout=30)).plan


async def run(client: AsyncClient, plan: v1.Plan, *pictures: np.ndarray) -> v1.GoalCompleted:
    inputs = [v1.ImageInput(image=images.to_message(pixels)) for pixels in pictures]
    request = v1.RunPlanRequest(plan=plan, images=inputs)
    answers = [answer async for answer in client.run_plan(request, timeout=60)]
    return answers[-1].event.completed


async def test_a_drawn_picture_is_cut_out_and_enlarged(client: AsyncClient) -> None:
    plan = await planned(client, "generate:prompt=a red apple; remove_background; upscale:scale=4")
    done = await run(client, plan)
    drawn, cut, enlarged = done.records
    assert [record.operation for record in done.records] == ["generate", "remove_background", "upscale"]
    assert [record.step_id for record in done.records] == ["1", "2", "3"]
    assert drawn.models[0].kind == image_pb2.MODEL_KIND_GENERATIVE
    assert {model.name for model in cut.models} & {"isnet"} and enlarged.models[0].name == "span-x4"
    assert enlarged.width == 4 * drawn.width
    pixels = images.from_message(done.images[0], field="image")
    assert done.images[0].format == image_pb2.IMAGE_FORMAT_PNG and pixels.shape == (enlarged.height, enlarged.width, 4)
    assert done.marking.marking == image_pb2.MARKING_GENERATED and list(done.marking.step_ids) == ["1"]
    assert 0 < done.timing.compute.ToNanoseconds() < done.timing.total.ToNanoseconds()


async def test_one_plan_gives_the_same_bytes_again(client: AsyncClient) -> None:
    plan = await planned(client, "generate:prompt=a red apple,count=2; rotate; crop:aspect=2:1")
    plan.steps[0].generate.seed = 5
    plan.digest = ""
    first, second = await run(client, plan), await run(client, plan)
    assert [image.content for image in first.images] == [image.content for image in second.images]
    assert len({image.content for image in first.images}) == 2
    assert first.plan_digest == second.plan_digest


async def test_edits_in_one_call_are_the_edits_in_two(client: AsyncClient) -> None:
    picture = editor_house.picture(alpha=True)
    plan = await planned(client, "color_correct:temperature=0.5; rotate:angle=90", assumed_images=1)
    together = await run(client, plan, picture)
    # Taken by two steps, the first result ends its call: now it crosses the wire.
    plan.steps.add(id="3", inputs=plan.steps[1].inputs).analyze.SetInParent()
    plan.digest = ""
    apart = await run(client, plan, picture)
    assert apart.images[0] == together.images[0]
    assert together.marking.marking == image_pb2.MARKING_STANDARD_EDIT
    assert [record.operation for record in apart.records] == ["color_correct", "rotate", "analyze"]


async def test_a_picture_of_the_callers_that_is_none_is_named(client: AsyncClient) -> None:
    plan = await planned(client, "upscale", assumed_images=1)
    broken = v1.ImageInput(image=image_pb2.Image(content=b"not a picture"))
    with pytest.raises(InvalidRequest) as raised:
        async for _ in client.run_plan(v1.RunPlanRequest(plan=plan, images=[broken]), timeout=30):
            pass
    assert [fault.field.removesuffix(".content") for fault in raised.value.violations] == ["images[0].image"]
    assert raised.value.metadata["step_id"] == "1"


async def test_an_edit_that_the_editor_refuses_names_its_step(client: AsyncClient) -> None:
    plan = await planned(client, "color_correct; style_transfer:style=klimt; upscale", assumed_images=1)
    with pytest.raises(InvalidRequest, match="klimt") as raised:
        await run(client, plan, editor_house.picture())
    assert (raised.value.metadata["step_id"], raised.value.metadata["operation"]) == ("2", "style_transfer")
