"""What the orchestrator does for goals and plans, with toy peers."""

from collections.abc import AsyncIterator

import pytest

from diptych.errors import (
    InvalidRequest,
)
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from tests.services.orchestrator_house import (
    JPEG,
    PNG,
    RAW,
    SIDE,
    House,
    grey_of,
    picture,
    running,
    told,
)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running() as everything:
        yield everything


async def test_a_chain_runs_step_by_step(house: House) -> None:
    events = await house.goal("generate:prompt=a fox; remove_background; upscale:scale=2")
    assert told(events) == [
        "plan",
        "step_started 1",
        "step_completed 1",
        "step_started 2",
        "step_completed 2",
        "step_started 3",
        "step_completed 3",
        "completed",
    ]
    done = events[-1].completed
    assert [(r.step_id, r.operation) for r in done.records] == [
        ("1", "generate"),
        ("2", "remove_background"),
        ("3", "upscale"),
    ]
    assert len(done.images) == 1 and done.images[0].format == PNG
    assert (done.images[0].width, grey_of(done.images[0])) == (2 * SIDE, 12)
    assert done.marking.marking == image_pb2.MARKING_GENERATED and list(done.marking.step_ids) == ["1"]
    assert done.plan_digest == events[0].plan.digest


async def test_between_services_the_picture_is_raw_and_edits_are_one_call(house: House) -> None:
    await house.goal("generate; remove_background; upscale:scale=2")
    assert house.toys.calls == {"generate": 1, "edit": 1}
    assert house.toys.edits[0].image.format == RAW
    assert len(house.toys.edits[0].image.content) == SIDE * SIDE * 3


async def test_progress_rises_to_the_end_of_each_step(house: House) -> None:
    events = [e.progress for e in await house.goal("generate:count=2; enhance") if e.HasField("progress")]
    first = [e.fraction for e in events if e.step_id == "1"]
    assert first == sorted(first) and len(first) == 8 and first[-1] == 1
    assert events[0].message == "picture 1 of 2, step 1 of 4"


async def test_previews_pass_through(house: House) -> None:
    events = await house.goal("generate", preview_interval=2)
    previews = [event.preview for event in events if event.HasField("preview")]
    assert [(one.step_id, one.image.content) for one in previews] == [("1", b"cheap")] * 2


async def test_the_last_service_writes_the_asked_format(house: House) -> None:
    output = image_pb2.OutputOptions(format=JPEG, quality=70)
    done = (await house.goal("enhance; upscale", picture(), output=output))[-1].completed
    assert done.images[0].format == JPEG and done.images[0].content.startswith(b"\xff\xd8")
    assert house.toys.edits[0].output == output


async def test_the_callers_picture_is_passed_on_untouched_and_marks_an_edit(house: House) -> None:
    given = picture()
    done = (await house.goal("enhance", given))[-1].completed
    assert house.toys.edits[0].image == given
    assert done.marking.marking == image_pb2.MARKING_STANDARD_EDIT
    assert grey_of(done.images[0]) == 51


async def test_what_is_drawn_into_a_given_picture_is_partly_generated(house: House) -> None:
    done = (await house.goal("replace_background:background=a beach", picture()))[-1].completed
    assert done.marking.marking == image_pb2.MARKING_PARTLY_GENERATED and list(done.marking.step_ids) == ["1"]
    assert house.toys.edits[0].operations[0].replace_background.image.format == RAW


async def test_every_one_of_several_drawn_pictures_is_edited(house: House) -> None:
    events = await house.goal("generate:count=3; enhance; upscale")
    done = events[-1].completed
    assert [grey_of(image) for image in done.images] == [12, 13, 14]
    assert [r.step_id for r in done.records] == ["1", "2", "2", "2", "3", "3", "3"]
    assert told(events).count("step_completed 2") == told(events).count("step_started 2") == 1


async def test_independent_branches_run_at_the_same_time(house: House) -> None:
    house.toys.let_go_at = 3
    done = (await house.goal("denoise", picture(10), picture(20), picture(30)))[-1].completed
    assert [grey_of(image) for image in done.images] == [11, 21, 31]
    compute, total = done.timing.compute.ToNanoseconds(), done.timing.total.ToNanoseconds()
    assert 3e6 <= compute <= total


async def test_calls_of_one_goal_stay_within_their_bound() -> None:
    async with running(parallel_calls=2) as house:
        house.toys.let_go.set()
        await house.goal("denoise", *[picture(number) for number in range(6)])
        assert house.toys.most_at_once <= 2 and house.toys.calls["edit"] == 6


async def test_time_is_the_steps_and_the_rest(house: House) -> None:
    timing = (await house.goal("generate; enhance"))[-1].completed.timing
    assert timing.compute.ToNanoseconds() == pytest.approx(5e6, abs=1e3)
    assert timing.total.ToNanoseconds() > timing.compute.ToNanoseconds()


async def test_looking_gives_findings_and_no_picture(house: House) -> None:
    events = await house.goal("analyze", picture())
    ended = next(event.step_completed for event in events if event.HasField("step_completed"))
    assert ended.analysis.width == SIDE and ended.records[0].step_id == "1"
    assert not events[-1].completed.images and not events[-1].completed.HasField("marking")


async def test_a_picture_that_is_looked_at_last_is_still_the_result(house: House) -> None:
    done = (await house.goal("enhance; analyze", picture()))[-1].completed
    assert [grey_of(image) for image in done.images] == [51] and done.images[0].format == PNG
    assert [record.operation for record in done.records] == ["enhance", "analyze"]


async def test_a_question_calls_nobody(house: House) -> None:
    events = await house.goal("what?")
    assert told(events) == ["plan", "completed"]
    assert events[0].plan.route == v1.ROUTE_CLARIFY and len(events[0].plan.clarification.options) >= 2
    assert not events[-1].completed.images and not events[-1].completed.records
    assert not house.toys.calls


async def test_planning_runs_nothing(house: House) -> None:
    plan = await house.plan("enhance; upscale", assumed_images=1)
    assert [step.operation for step in plan.steps] == ["enhance", "upscale"]
    assert (await house.plan("enhance")).route == v1.ROUTE_CLARIFY
    assert not house.toys.calls


async def test_an_answer_to_a_question_is_a_plan_that_runs(house: House) -> None:
    option = (await house.plan("enhance")).clarification.options[0]
    assert option.needs_image
    done = await house.run(option.plan, picture())
    assert grey_of(done.images[0]) == 51 and done.plan_digest == option.plan.digest


async def test_the_approved_plan_is_the_one_that_runs(house: House) -> None:
    plan = await house.plan("generate:prompt=a fox; upscale")
    approved = plan.digest
    assert (await house.run(plan)).plan_digest == approved
    plan.steps[1].edit.upscale.scale = 3
    with pytest.raises(InvalidRequest) as refused:
        await house.run(plan)
    assert [fault.field for fault in refused.value.violations] == ["plan.digest"]
    assert house.toys.calls == {"generate": 1, "edit": 1}
    plan.digest = ""
    assert (await house.run(plan)).plan_digest not in ("", approved)
    assert house.toys.edits[-1].operations[0].upscale.scale == 3
