import pytest
from google.protobuf import json_format

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import digest_of, last_steps, operation_of, route_of, seal, service_of


def two_steps() -> v1.Plan:
    plan = v1.Plan()
    first = plan.steps.add(id="1")
    first.generate.prompt = "a red apple"
    second = plan.steps.add(id="2", inputs=[v1.StepInput(step_id="1")])
    second.edit.upscale.scale = 4
    return plan


def test_sealing_fills_in_what_is_derived() -> None:
    plan = seal(two_steps())
    assert [(step.service, step.operation) for step in plan.steps] == [("generator", "generate"), ("editor", "upscale")]
    assert plan.route == v1.ROUTE_CHAIN
    assert plan.digest == digest_of(plan)
    assert plan.digest.startswith("sha256:") and len(plan.digest) == len("sha256:") + 64


def test_words_and_estimates_are_no_part_of_the_digest() -> None:
    plan = seal(two_steps())
    before = plan.digest
    plan.steps[0].reason = "because"
    plan.steps[0].estimated.seconds = 3
    plan.why, plan.confidence = "so it is", 0.5
    plan.slots["object"] = "apple"
    assert digest_of(plan) == before


def change_parameter(plan: v1.Plan) -> None:
    plan.steps[1].edit.upscale.scale = 2


def change_input(plan: v1.Plan) -> None:
    plan.steps[1].inputs[0].goal_image = 0


def change_id(plan: v1.Plan) -> None:
    plan.steps[1].id = "3"


def change_route(plan: v1.Plan) -> None:
    plan.route = v1.ROUTE_EDIT


def spell_out_a_default(plan: v1.Plan) -> None:
    plan.steps[0].generate.num_images = 1


@pytest.mark.parametrize("change", [change_parameter, change_input, change_id, change_route, spell_out_a_default])
def test_every_other_change_makes_another_digest(change) -> None:
    plan = seal(two_steps())
    change(plan)
    assert digest_of(plan) != plan.digest


def test_a_digest_outlives_the_wire_and_json() -> None:
    plan = seal(two_steps())
    plan.steps[1].edit.color_correct.temperature = 0.1
    seal(plan)
    assert digest_of(v1.Plan.FromString(plan.SerializeToString())) == plan.digest
    assert digest_of(json_format.Parse(json_format.MessageToJson(plan), v1.Plan())) == plan.digest


def test_a_film_of_a_still_is_the_editors() -> None:
    step = v1.PlanStep(id="1", animate_image={})
    assert (service_of(step), operation_of(step)) == ("editor", "animate")
    assert route_of([step]) == v1.ROUTE_EDIT


def test_results_are_of_the_steps_that_nobody_takes() -> None:
    plan = two_steps()
    plan.steps.add(id="3", inputs=[v1.StepInput(step_id="1")]).edit.enhance.SetInParent()
    assert [step.id for step in last_steps(plan.steps)] == ["2", "3"]


def test_a_look_at_a_result_leaves_it_a_result() -> None:
    plan = two_steps()
    plan.steps.add(id="3", inputs=[v1.StepInput(step_id="2")]).analyze.SetInParent()
    assert [step.id for step in last_steps(plan.steps)] == ["2", "3"]
