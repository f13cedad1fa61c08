"""Goals that speak of earlier ones: recalled, taken back, done more, kept over a restart, and nobody else's."""

import hashlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from diptych.client import AsyncClient
from diptych.errors import FailedPrecondition, InvalidRequest, PermissionDenied
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.memory.store import Store
from tests.services.orchestrator_house import House, grey_of, picture, running


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running() as everything:
        yield everything


async def say(house: House, text: str, *pictures: image_pb2.Image, said_in: str = "c") -> v1.GoalCompleted:
    return (await house.goal(text, *pictures, conversation_id=said_in))[-1].completed


async def test_a_goal_goes_on_with_the_last_result(house: House) -> None:
    assert grey_of((await say(house, "enhance", picture(50))).images[0]) == 51
    done = await say(house, "rotate")
    assert grey_of(done.images[0]) == 52 and done.marking.marking == image_pb2.MARKING_STANDARD_EDIT


async def test_what_is_undone_comes_back_step_by_step(house: House) -> None:
    await say(house, "enhance", picture(50))
    await say(house, "rotate")
    await say(house, "rotate; then rotate")
    back = [grey_of((await say(house, words)).images[0]) for words in ("undo that", "undo", "Go back.")]
    assert back == [52, 51, 50]
    # Nothing stands any more, but the picture is still spoken of.
    assert grey_of((await say(house, "rotate")).images[0]) == 51


async def test_before_a_drawn_picture_there_is_none(house: House) -> None:
    await say(house, "generate:prompt=a fox")
    calls = house.toys.calls.total()
    events = await house.goal("undo that", conversation_id="c")
    asked = events[0].plan.clarification
    assert "no picture" in asked.question and len(asked.options) == 2 and house.toys.calls.total() == calls
    assert grey_of((await house.run(asked.options[0].plan)).images[0]) == 10


async def test_a_drawn_picture_stays_generated_when_it_is_edited_later(house: House) -> None:
    await say(house, "generate:prompt=a fox")
    assert (await say(house, "enhance")).marking.marking == image_pb2.MARKING_GENERATED


async def test_the_same_for_another_picture(house: House) -> None:
    await say(house, "enhance", picture(50))
    await say(house, "rotate; then rotate")
    assert grey_of((await say(house, "the same for this one", picture(100))).images[0]) == 103


async def test_more_begins_again_from_the_picture_before(house: House) -> None:
    await say(house, "color_correct:temperature=0.2", picture(50))
    done = await say(house, "a bit more")
    assert grey_of(done.images[0]) == 51
    assert house.toys.edits[-1].operations[0].color_correct.temperature == pytest.approx(0.26)
    await say(house, "much more")
    assert house.toys.edits[-1].operations[0].color_correct.temperature == pytest.approx(0.52)
    await say(house, "less")
    assert house.toys.edits[-1].operations[0].color_correct.temperature == pytest.approx(0.325)


async def test_undoing_more_gives_the_result_before_it(house: House) -> None:
    await say(house, "color_correct:temperature=0.2; then rotate", picture(50))
    await say(house, "rotate")
    await say(house, "more")
    before = await house.plan("undo", conversation_id="c")
    assert grey_of((await house.run(before)).images[0]) == 53
    assert before.route == v1.ROUTE_EDIT and "“more”" in before.why


async def test_an_answer_to_the_question_by_its_number(house: House) -> None:
    events = await house.goal("what?", picture(50), conversation_id="c")
    second = events[0].plan.clarification.options[1]
    done = await say(house, "the second one")
    assert [record.operation for record in done.records] == [step.operation for step in second.plan.steps]
    assert grey_of(done.images[0]) == 51


async def test_a_plan_of_a_conversation_runs_as_it_was_shown(house: House) -> None:
    given = picture(50)
    first = await say(house, "enhance", given)
    plan = await house.plan("rotate", conversation_id="c")
    (taken,) = plan.steps[0].inputs
    assert taken.stored_sha256 == hashlib.sha256(first.images[0].content).hexdigest()
    done = await house.run(plan)
    assert grey_of(done.images[0]) == 52 and done.plan_digest == plan.digest
    plan.steps[0].inputs[0].stored_sha256 = "0" * 64
    plan.digest = ""
    with pytest.raises(InvalidRequest) as refused:
        await house.run(plan)
    assert [fault.field for fault in refused.value.violations] == ["plan.steps[0].inputs[0].stored_sha256"]


async def test_a_restart_keeps_what_was_said(tmp_path: Path) -> None:
    async with running(state=tmp_path) as house:
        await say(house, "enhance", picture(50))
    async with running(state=tmp_path) as house:
        assert grey_of((await say(house, "rotate")).images[0]) == 52


async def test_another_callers_conversation_is_refused(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    names = {name: hashlib.sha256(f"secret of {name}".encode()).hexdigest() for name in ("ann", "bob")}
    tokens.write_text("".join(f"{name}:{digest}\n" for name, digest in names.items()))
    async with running(tokens_file=tokens, token="secret of ann") as house:
        await say(house, "enhance", picture(50))
        plan = await house.plan("rotate", conversation_id="c")
        async with AsyncClient(house.address, token="secret of bob") as other:
            bobs = House(other, house.toys, house.wire)
            with pytest.raises(PermissionDenied) as refused:
                await say(bobs, "rotate")
            assert refused.value.reason == "CONVERSATION_OF_ANOTHER" and "another caller" in refused.value.message
            # Nor does he get her pictures by their names.
            with pytest.raises(InvalidRequest):
                await bobs.run(plan)


async def test_without_pictures_of_its_own_a_new_conversation_asks(house: House) -> None:
    events = await house.goal("enhance", conversation_id="new")
    assert events[0].plan.route == v1.ROUTE_CLARIFY and not house.toys.calls


async def test_state_that_cannot_be_written_fails_only_what_needs_it(tmp_path: Path) -> None:
    async with running(state=tmp_path / "state") as house:
        with sqlite3.connect(tmp_path / "state/orchestrator.sqlite3") as database:
            for table in ("measured", "turn"):
                trigger = f"create trigger no_{table} before insert on {table} begin insert into gone values (1); end"
                database.execute(trigger)
        assert (await house.goal("enhance", picture()))[-1].completed.images, "times that are lost fail no goal"
        with pytest.raises(FailedPrecondition, match=r"cannot write in the folder of its state: .*--state") as raised:
            await say(house, "enhance", picture())
        assert raised.value.reason == "STATE_NOT_WRITABLE" and str(tmp_path) not in raised.value.message


def test_a_place_where_no_state_can_be_kept_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(FailedPrecondition, match=r"taken.*choose another folder with --state"):
        Store(tmp_path / "taken")
