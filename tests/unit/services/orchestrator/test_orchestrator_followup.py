import pytest

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.memory.conversations import Conversation, Turn
from services.orchestrator.memory.followup import chosen_plan, follow_up
from services.orchestrator.planning.wanted import Wanted

FIRST = Turn("warmer", (Wanted("color_correct", {"temperature": 0.4}),), v1.Plan(), ("a",), ("a",), ("b",))
SECOND = Turn("square", (Wanted("crop", {"aspect": "1:1"}),), v1.Plan(), ("b",), ("b",), ("c",))
SAID = Conversation((FIRST, SECOND))


@pytest.mark.parametrize(
    "goal",
    ["undo that", "Undo.", "please undo the last step", "go back", "back to the previous one", "revert it",
     "mach das rückgängig", "rückgängig", "annule", "deshazlo", "撤销", "恢复上一步"],
)  # fmt: skip
def test_undo(goal: str) -> None:
    found = follow_up(goal, 0, SAID)
    assert found is not None and found.undoes and found.takes == ("b",) and "“square”" in found.why


@pytest.mark.parametrize(
    "goal",
    ["the same for this one", "do that to this one too", "and this one too", "same again with these", "the same",
     "das gleiche für dieses", "la même chose pour celle-ci", "lo mismo para esta", "这张也同样处理"],
)  # fmt: skip
def test_the_same(goal: str) -> None:
    found = follow_up(goal, 1, SAID)
    assert found is not None and [one.name for one in found.operations] == ["color_correct", "crop"] and not found.takes


@pytest.mark.parametrize(
    ("goal", "temperature"),
    [("a bit more", 0.52), ("more", 0.64), ("even more", 0.8), ("noch etwas mehr", 0.52), ("un poco más", 0.52),
     ("a bit less", 0.3077), ("less please", 0.25), ("that's too much", 0.25), ("zu viel", 0.25), ("再来一点", 0.52)],
)  # fmt: skip
def test_more_and_less(goal: str, temperature: float) -> None:
    found = follow_up(goal, 0, Conversation((FIRST,)))
    assert found is not None and found.takes == ("a",)
    assert found.operations[0].slots["temperature"] == pytest.approx(temperature)


def test_again_works_on_what_there_is_now() -> None:
    found = follow_up("once more", 0, SAID)
    assert found is not None and found.takes == ("c",) and found.operations == SECOND.operations


@pytest.mark.parametrize(
    "goal",
    ["now warmer", "make it square too", "more contrast", "a bit warmer", "remove the noise",
     "undo the damage on the wall",
     "a man going back home", "make the sky the same blue", "less noise"],
)  # fmt: skip
def test_other_goals_are_read_by_their_words(goal: str) -> None:
    assert follow_up(goal, 0, SAID) is None


def test_nothing_was_said_yet() -> None:
    for goal in ("undo", "more", "the same for this one"):
        assert follow_up(goal, 0, Conversation()) is None
        assert follow_up(goal, 1, Conversation()) is None


def test_answers_are_picked_by_number_or_label() -> None:
    asked = v1.Clarification(question="Which?")
    for label in ("Crop it", "Turn it"):
        asked.options.add(label=label, plan=v1.Plan(digest=label))
    for goal, digest in (
        ("1", "Crop it"),
        ("the second one", "Turn it"),
        ("turn it.", "Turn it"),
        ("Option 2", "Turn it"),
    ):
        plan = chosen_plan(goal, asked)
        assert plan is not None and plan.digest == digest
    for goal in ("3", "second crop it", "neither"):
        assert chosen_plan(goal, asked) is None
    assert chosen_plan("1", None) is None
