"""What the orchestrator settles by itself: seeds, models, whether a step is needed, a brand's preferences, time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from diptych import images
from diptych.errors import InvalidRequest
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from tests.services.orchestrator_house import SIDE, House, grey_of, picture, running

BRIGHT, DARK = picture(200), picture(20)
PROFILES = """
[acme]
palette = ["#0b3d91", "#f2a900"]
styles = ["flat vector"]
platforms = ["instagram-post", "youtube-thumbnail"]
format = "webp"
[acme.watermark]
image = "mark.png"
corner = "bottom-right"
"""


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running() as everything:
        yield everything


def completed(events: list[v1.GoalEvent], step_id: str) -> v1.StepCompleted:
    return next(event.step_completed for event in events if event.step_completed.step_id == step_id)


async def test_a_bright_picture_is_not_brightened(house: House) -> None:
    events = await house.goal("color_correct:brightness=0.3; then rotate", BRIGHT)
    assert [(step.operation, len(step.only_if)) for step in events[0].plan.steps] == [
        ("analyze", 0),
        ("color_correct", 1),
        ("rotate", 0),
    ]
    skipped = completed(events, "2")
    assert "exposure" in skipped.skipped and "is 3" in skipped.skipped and not completed(events, "3").skipped
    assert [operation.WhichOneof("operation") for operation in house.toys.edits[0].operations] == ["analyze", "rotate"]
    assert grey_of(events[-1].completed.images[0]) == 201 and house.toys.calls == {"analyze": 1, "edit": 1}


async def test_a_dark_picture_is(house: House) -> None:
    events = await house.goal("color_correct:brightness=0.3", DARK)
    assert not completed(events, "2").skipped and grey_of(events[-1].completed.images[0]) == 21


async def test_each_of_several_pictures_is_looked_at(house: House) -> None:
    events = await house.goal("color_correct:brightness=0.3", BRIGHT, DARK)
    assert [grey_of(image) for image in events[-1].completed.images] == [200, 21]
    assert all(image.format == image_pb2.IMAGE_FORMAT_PNG for image in events[-1].completed.images)


async def test_the_same_seed_gives_the_same_plan_and_is_told(house: House) -> None:
    first, again = [(await house.goal("generate; then vary", seed=7))[0].plan for _ in range(2)]
    assert first.seed == 7 and first.digest == again.digest
    assert [spec.seed for spec in house.toys.drawn] == [7, 23, 7, 23]
    other, another = [(await house.goal("generate"))[0].plan for _ in range(2)]
    assert other.seed != another.seed and other.HasField("seed")
    assert house.toys.drawn[-1].seed == another.seed


async def test_nothing_drawn_needs_no_seed(house: House) -> None:
    assert not (await house.goal("enhance", picture(), seed=7))[0].plan.HasField("seed")


async def test_a_plan_that_is_only_shown_leaves_chance_its_place(house: House) -> None:
    assert not (await house.plan("generate")).steps[0].generate.HasField("seed")
    assert (await house.plan("generate", seed=3)).steps[0].generate.seed == 3


@pytest.mark.parametrize(
    ("goal", "model"),
    [
        ("generate:prompt=a quick draft of a fox", "swift"),
        ("generate:prompt=a fox in final quality, final quality", "slow"),
        ("generate:prompt=a fox", ""),
    ],
)
async def test_the_model_follows_the_goal(goal: str, model: str) -> None:
    async with running(lists_models=True) as house:
        plan = await house.plan(goal)
        assert plan.steps[0].generate.model == model
        assert (f"{model} takes" in plan.steps[0].reason) == bool(model)
        await house.plan(goal)
        assert house.toys.calls == {"list": 1}


async def test_a_question_does_not_even_ask_for_models() -> None:
    async with running(lists_models=True) as house:
        for goal in ("what?", "enhance", "draw?; quick draft?"):
            assert (await house.goal(goal))[0].plan.route == v1.ROUTE_CLARIFY
        assert not house.toys.calls


async def test_what_is_nowhere_cannot_be_replaced(house: House) -> None:
    assert (await house.goal("replace_object:object=dog,replacement=cat", picture()))[-1].completed.images
    with pytest.raises(Exception, match="'giraffe' is nowhere to be found") as raised:
        await house.goal("replace_object:object=giraffe,replacement=cat", picture())
    assert raised.value.reason == "NOTHING_SELECTED" and raised.value.metadata["step_id"] == "1"  # type: ignore[attr-defined]


async def test_a_profile_fills_what_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "brands.toml").write_text(PROFILES)
    (tmp_path / "mark.png").write_bytes(picture(250).content)
    async with running(profiles=tmp_path / "brands.toml") as house:
        events = await house.goal("generate:prompt=a fox", profile="acme")
        plan, done = events[0].plan, events[-1].completed
        assert plan.profile == "acme" and "“acme”" in plan.why
        assert plan.steps[0].generate.prompt == "a fox, flat vector style, in navy and orange"
        assert [step.operation for step in plan.steps] == ["generate", "resize", "composite", "resize", "composite"]
        assert [step.edit.resize.platform for step in plan.steps[1::2]] == ["instagram-post", "youtube-thumbnail"]
        assert all("half as large" not in step.reason for step in plan.steps)
        assert all("“acme”" in step.reason for step in plan.steps[1:])
        assert len(done.images) == 2 and {image.format for image in done.images} == {image_pb2.IMAGE_FORMAT_WEBP}
        laid = house.toys.edits[-1].operations[-1].composite
        assert laid.overlay.content == (tmp_path / "mark.png").read_bytes() and laid.relative_width > 0
        # What the goal says goes before.
        said = (await house.plan("resize:width=40", assumed_images=1, profile="acme")).steps
        assert [step.operation for step in said] == ["resize", "composite"]
        with pytest.raises(InvalidRequest, match="acme"):
            await house.plan("enhance", profile="unknown")


async def test_a_profile_named_in_words_is_applied(tmp_path: Path) -> None:
    (tmp_path / "brands.toml").write_text(PROFILES)
    (tmp_path / "mark.png").write_bytes(picture(250).content)
    async with running(profiles=tmp_path / "brands.toml") as house:
        plan = await house.plan("resize:width=40, with the acme profile", assumed_images=1)
        assert plan.profile == "acme" and [step.operation for step in plan.steps] == ["resize", "composite"]
        alone = await house.plan("use our acme profile", assumed_images=1)
        assert [step.operation for step in alone.steps] == ["resize", "composite", "resize", "composite"]
        assert alone.profile == "acme" and "Only the profile" in alone.why
        asked = await house.plan("use our acme profile")
        assert asked.route == v1.ROUTE_CLARIFY and "None is attached" in asked.clarification.question


async def test_a_profile_that_is_not_there_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "brands.toml").write_text(PROFILES)
    (tmp_path / "mark.png").write_bytes(picture(250).content)
    async with running(profiles=tmp_path / "brands.toml") as house:
        plan = await house.plan("rotate, use our zed profile", assumed_images=1)
        assert plan.route == v1.ROUTE_CLARIFY and "“zed”" in plan.clarification.question
        one, two = plan.clarification.options
        assert one.plan.profile == "acme" and one.plan.steps[0].operation == "rotate"
        assert not two.plan.profile and [step.operation for step in two.plan.steps] == ["rotate"]
    async with running() as house:
        plan = await house.plan("rotate, use our zed profile", assumed_images=1)
        assert [step.operation for step in plan.steps] == [
            "rotate"
        ] and "no profile “zed” here; there is none" in plan.why


async def test_time_is_told_once_there_is_history(tmp_path: Path) -> None:
    async with running(state=tmp_path) as house:
        first = (await house.goal("generate; then enhance"))[0].plan
        assert not first.HasField("estimated") and not first.steps[0].HasField("estimated")
        second = await house.plan("generate; then enhance", seed=1)
        assert [step.estimated.ToMilliseconds() for step in second.steps] == [2, 2]
        assert second.estimated.ToNanoseconds() >= 4e6
    async with running(state=tmp_path) as house:
        assert (await house.plan("generate")).steps[0].estimated.ToMilliseconds() == 2
        side = images.to_message(images.from_message(picture(), field="image").repeat(2, 0), image_pb2.IMAGE_FORMAT_PNG)
        assert (
            side.height == 2 * SIDE and (await house.plan("upscale", assumed_images=1)).HasField("estimated") is False
        )
