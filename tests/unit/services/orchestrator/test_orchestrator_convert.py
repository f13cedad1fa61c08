from pathlib import Path

import pytest
from google.protobuf import text_format

from diptych.errors import InvalidRequest, Unsupported
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator import convert
from services.orchestrator.planning.profiles import Profile

LIMIT = 100


def faults(check, message) -> list[str]:
    with pytest.raises(InvalidRequest) as raised:
        check(message, LIMIT)
    return [fault.field for fault in raised.value.violations]


def to_plan(text: str) -> v1.PlanGoalRequest:
    return text_format.Parse(text, v1.PlanGoalRequest())


def to_run(text: str) -> v1.RunPlanRequest:
    return text_format.Parse(text, v1.RunPlanRequest())


def test_a_goal_has_words_within_their_limit() -> None:
    assert faults(convert.goal_to_plan, to_plan("")) == ["goal.text"]
    assert faults(convert.goal_to_plan, to_plan('goal { text: "\\n " }')) == ["goal.text"]
    exact = v1.PlanGoalRequest(goal=v1.Goal(text="é" * 4096))
    assert convert.goal_to_plan(exact, LIMIT).text == exact.goal.text
    exact.goal.text += "é"
    assert faults(convert.goal_to_plan, exact) == ["goal.text"]


def test_pictures_are_attached_or_assumed_but_not_both() -> None:
    assert convert.goal_to_plan(to_plan('goal { text: "a" } assumed_images: 3'), LIMIT).num_images == 3
    attached = convert.goal_to_plan(to_plan('goal { text: "a" images { image { content: "x" } } }'), LIMIT)
    assert attached.num_images == 1 and attached.images[0].content == b"x"
    both = 'goal { text: "a" images { image { content: "x" } } } assumed_images: 17'
    assert faults(convert.goal_to_plan, to_plan(both)) == ["assumed_images", "assumed_images"]


def test_pictures_have_bytes_within_their_limit() -> None:
    goal = v1.Goal(
        text="a", images=[v1.ImageInput(image={"content": b"x" * (LIMIT + size)}) for size in (0, 1, -LIMIT)]
    )
    found = faults(convert.goal_to_plan, v1.PlanGoalRequest(goal=goal))
    assert found == ["goal.images[1].image.content", "goal.images[2].image.content"]


def test_unknown_enum_numbers_are_found_however_deep() -> None:
    request = to_run(
        'plan { steps { id: "1" edit { upscale { content: 9 } } inputs { goal_image: 0 } }'
        '       steps { id: "2" analyze { kinds: [1, 88] } inputs { goal_image: 0 } }'
        "       output { format: 98 } }"
        'images { image { content: "x" format: 99 } }'
    )
    assert faults(convert.plan_to_run, request) == [
        "plan.steps[0].edit.upscale.content",
        "plan.steps[1].analyze.kinds[1]",
        "plan.output.format",
        "images[0].image.format",
    ]


def test_a_plan_without_digest_gets_its_own() -> None:
    asked = convert.plan_to_run(to_run('plan { steps { id: "1" generate { prompt: "a" } } }'), LIMIT)
    assert asked.plan.digest.startswith("sha256:") and asked.plan.route == v1.ROUTE_GENERATE


def test_a_plan_that_asks_is_not_run() -> None:
    assert faults(convert.plan_to_run, to_run("plan { route: ROUTE_CLARIFY }")) == ["plan.steps"]


def test_faults_go_before_what_is_not_served() -> None:
    request = to_plan('goal { text: "" images { artifact_sha256: "c" } }')
    assert faults(convert.goal_to_plan, request) == ["goal.text"]
    request.goal.text = "a"
    with pytest.raises(Unsupported):
        convert.goal_to_plan(request, LIMIT)


def test_a_conversations_id_is_short_and_prints() -> None:
    for bad in (" c", "c\n", "c" * 129, "é" * 65):
        assert faults(convert.goal_to_plan, v1.PlanGoalRequest(goal=v1.Goal(text="a", conversation_id=bad))) == [
            "goal.conversation_id"
        ]
    plan = 'plan { steps { id: "1" generate { prompt: "a" } } } conversation_id: "c "'
    assert faults(convert.plan_to_run, to_run(plan)) == ["conversation_id"]


def test_a_profile_must_be_one_of_the_servers() -> None:
    request = to_plan('goal { text: "a" profile: "acme" }')
    with pytest.raises(InvalidRequest) as raised:
        convert.goal_to_plan(request, LIMIT, {name: Profile(name=name, folder=Path()) for name in ("other", "beta")})
    assert [fault.field for fault in raised.value.violations] == ["goal.profile"]
    assert "beta, other" in raised.value.message


def test_seed_zero_is_a_seed() -> None:
    assert convert.goal_to_plan(to_plan('goal { text: "a" seed: 0 }'), LIMIT).seed == 0
    assert convert.goal_to_plan(to_plan('goal { text: "a" }'), LIMIT).seed is None
