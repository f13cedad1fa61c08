from google.protobuf import text_format

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import seal
from services.orchestrator.planning.plan_faults import MAX_STEPS, plan_faults


def plan(text: str) -> v1.Plan:
    return text_format.Parse(text, v1.Plan())


def fields(text: str, num_images: int = 0) -> list[str]:
    return [fault.field for fault in plan_faults(plan(text), num_images)]


GENERATE = 'steps { id: "1" generate { prompt: "a" } }'


def test_a_sound_plan_has_no_faults() -> None:
    sound = seal(plan(GENERATE + 'steps { id: "2" edit { crop { subject: true } } inputs { step_id: "1" } }'))
    assert plan_faults(sound, 0) == []


def test_every_fault_is_found_at_once() -> None:
    assert fields(
        'steps { id: "1" edit { upscale { } } inputs { step_id: "2" } }'
        'steps { id: "1" edit { upscale { } } inputs { goal_image: 3 } }'
        "steps { edit { upscale { } } inputs { } }"
        'steps { id: "4" inputs { step_id: "nine" } }'
        'steps { id: "5" edit { } }',
        num_images=1,
    ) == [
        "plan.steps[0].inputs[0].step_id",
        "plan.steps[1].id",
        "plan.steps[1].inputs[0].goal_image",
        "plan.steps[2].id",
        "plan.steps[2].inputs[0].source",
        "plan.steps[3].action",
        "plan.steps[3].inputs[0].step_id",
        "plan.steps[4].edit.operation",
    ]


def test_an_edit_needs_a_picture_and_a_generated_one_counts() -> None:
    assert fields('steps { id: "2" edit { upscale { } } }') == ["plan.steps[0].inputs"]
    assert fields(GENERATE + 'steps { id: "2" edit { upscale { } } inputs { step_id: "1" } }') == []
    assert fields('steps { id: "2" edit { upscale { } } inputs { goal_image: 0 } }', num_images=1) == []


def test_arity_is_the_operations() -> None:
    two = "inputs { goal_image: 0 } inputs { goal_image: 1 }"
    for action, faults in {
        "edit { upscale { } }": ["plan.steps[0].inputs"],
        "edit { composite { } }": [],
        "edit { replace_background { image { } } }": [],
        'edit { replace_background { color: "#ffffff" } }': ["plan.steps[0].inputs"],
        "edit { upscale { } selection { mask { } } }": [],
        'vary { prompt: "a" }': [],
        'generate { prompt: "a" }': ["plan.steps[0].inputs"],
        "select { selection { subject: true } }": ["plan.steps[0].inputs"],
    }.items():
        assert fields(f'steps {{ id: "1" {action} {two} }}', num_images=2) == faults, action


def test_a_step_that_only_looks_gives_no_picture() -> None:
    looks = 'steps { id: "1" analyze { } inputs { goal_image: 0 } }'
    takes = 'steps { id: "2" edit { upscale { } } inputs { step_id: "1" } }'
    assert fields(looks + takes, num_images=1) == ["plan.steps[1].inputs[0].step_id"]


def test_pictures_inside_actions_stay_empty() -> None:
    assert fields(
        'steps { id: "1" vary { prompt: "a" init_image { content: "x" } } inputs { goal_image: 0 } }'
        'steps { id: "2" edit { composite { overlay { content: "x" } } } '
        'inputs { goal_image: 0 } inputs { step_id: "1" } }',
        num_images=1,
    ) == ["plan.steps[0].vary.init_image.content", "plan.steps[1].edit.composite.overlay.content"]


def test_what_a_plan_has_no_input_for_is_refused() -> None:
    action = 'generate { prompt: "a" output { quality: 3 } references { role: REFERENCE_ROLE_STYLE } }'
    assert fields(f'steps {{ id: "1" {action} }}') == [
        "plan.steps[0].generate.output",
        "plan.steps[0].generate.references",
    ]


def test_digest_and_route_must_be_the_plans_own() -> None:
    sealed = seal(plan(GENERATE))
    sealed.steps[0].generate.prompt = "b"
    assert [fault.field for fault in plan_faults(sealed, 0)] == ["plan.digest"]
    assert fields(GENERATE + "route: ROUTE_EDIT") == ["plan.route"]


def test_a_plan_has_steps_but_not_without_end() -> None:
    assert fields("route: ROUTE_CLARIFY") == ["plan.steps"]
    many = "".join(f'steps {{ id: "{number}" generate {{ prompt: "a" }} }}' for number in range(MAX_STEPS + 1))
    assert fields(many) == ["plan.steps"]
