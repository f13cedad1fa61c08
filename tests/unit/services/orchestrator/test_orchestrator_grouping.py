from google.protobuf import text_format

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.grouping import calls_of


def groups(text: str) -> list[list[str]]:
    plan = text_format.Parse(text, v1.Plan())
    return [[step.id for step in call.steps] for call in calls_of(plan.steps)]


def edit(number: int, *inputs: str, operation: str = "enhance") -> str:
    taken = "".join(f"inputs {{ {one} }}" for one in inputs)
    return f'steps {{ id: "{number}" edit {{ {operation} {{ }} }} {taken} }}'


IMAGE, OTHER = "goal_image: 0", "goal_image: 1"
GENERATE = 'steps { id: "1" generate { prompt: "a" } }'


def of(number: int) -> str:
    return f'step_id: "{number}"'


def test_consecutive_edits_of_one_picture_are_one_call() -> None:
    assert groups(edit(1, IMAGE) + edit(2, of(1)) + edit(3, of(2))) == [["1", "2", "3"]]


def test_a_generated_picture_begins_a_call_of_its_own() -> None:
    assert groups(GENERATE + edit(2, of(1)) + edit(3, of(2))) == [["1"], ["2", "3"]]


def test_a_result_that_two_steps_take_ends_its_call() -> None:
    assert groups(edit(1, IMAGE) + edit(2, of(1)) + edit(3, of(1))) == [["1"], ["2"], ["3"]]


def test_branches_stay_apart_even_when_their_steps_alternate() -> None:
    assert groups(edit(1, IMAGE) + edit(2, OTHER) + edit(3, of(1)) + edit(4, of(2))) == [["1", "3"], ["2", "4"]]


def test_a_second_picture_that_is_attached_keeps_edits_together() -> None:
    assert groups(edit(1, IMAGE) + edit(2, of(1), OTHER, operation="composite")) == [["1", "2"]]


def test_a_second_picture_still_to_be_made_does_not_hold_edits_up() -> None:
    plan = edit(2, IMAGE) + GENERATE + edit(3, of(2), of(1), operation="composite")
    assert groups(plan) == [["2"], ["1"], ["3"]]


def test_a_call_has_no_more_edits_than_the_editor_takes() -> None:
    chain = edit(0, IMAGE) + "".join(edit(number, of(number - 1)) for number in range(1, 40))
    assert [len(group) for group in groups(chain)] == [32, 8]


def test_a_mere_look_is_a_call_of_its_own() -> None:
    assert groups(edit(1, IMAGE) + 'steps { id: "2" analyze { } inputs { step_id: "1" } }') == [["1"], ["2"]]
