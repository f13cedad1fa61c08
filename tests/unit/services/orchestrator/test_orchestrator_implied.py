import pytest

from services.orchestrator.intent import IntendedOperation, Intent
from services.orchestrator.planning.implied import named_ground, with_implied
from services.orchestrator.planning.known import Known
from services.orchestrator.planning.model_choice import Catalog, Offered
from services.orchestrator.planning.plan_faults import plan_faults
from services.orchestrator.planning.planner import plan_goal
from services.orchestrator.planning.wanted import Wanted


def intent(*operations: tuple[str, dict[str, str | float | int]]) -> Intent:
    return Intent("EDIT", tuple(IntendedOperation(name, slots, "") for name, slots in operations), {}, 0.9, (), None)


def test_a_product_for_a_shop_is_framed_laid_on_white_with_a_shadow_and_squared() -> None:
    read = intent(("replace_background", {"background": "product on white for a shop"}))
    plan = plan_goal("a product on white for a shop", read, 1)
    assert [step.operation for step in plan.steps] == ["crop", "extend", "replace_background"]
    frame, square, ground = (step.edit for step in plan.steps)
    assert frame.crop.subject and not frame.crop.subject_aspect and 0 < frame.crop.margin < 0.2
    assert ground.replace_background.color == "#ffffff" and ground.replace_background.shadow == 0.5
    assert (square.extend.aspect, square.extend.color) == ("1:1", "#ffffff")
    assert all("Added:" in step.reason for step in plan.steps)
    assert list(plan.reading.operations) == ["replace_background"] and plan_faults(plan, 1) == []
    assert "order" not in plan.why  # one wish has none


def test_for_a_platform_it_also_gets_its_size() -> None:
    plan = plan_goal("make this product photo ready for my etsy shop", intent(("resize", {"platform": "etsy"})), 1)
    assert [step.operation for step in plan.steps] == ["crop", "extend", "replace_background", "resize"]
    assert plan.steps[-1].edit.resize.platform == "etsy-listing"


def test_what_was_asked_for_stays_as_it_was_asked() -> None:
    read = intent(("replace_background", {"background": "pink"}), ("crop", {"aspect": "4:5"}))
    plan = plan_goal("the product on pink, cropped to 4:5, for the shop", read, 1)
    assert [step.operation for step in plan.steps] == ["replace_background", "crop"]
    assert plan.steps[0].edit.replace_background.color == "#ffc0cb" and plan.steps[1].edit.crop.subject_aspect == "4:5"


@pytest.mark.parametrize(
    ("goal", "operations"),
    [
        ("a drawing of a shop", [Wanted("generate")]),
        ("remove the sign of the shop", [Wanted("remove_object", {"object": "sign"})]),
        ("make the shop warmer", [Wanted("color_correct")]),
        ("remove the dirt on white shirts", [Wanted("remove_object", {"object": "dirt"})]),
        ("work on white balance", [Wanted("color_correct")]),
    ],
)
def test_nothing_is_added_that_is_not_implied(goal: str, operations: list[Wanted]) -> None:
    assert with_implied(goal, operations, 1) == operations


def test_a_ground_that_the_reading_lost_is_kept() -> None:
    plan = plan_goal("put the shoe on white and crop it square", intent(("crop", {"aspect": "1:1"})), 1)
    assert plan.steps[0].edit.replace_background.color == "#ffffff" and "on white" in plan.steps[0].reason


def test_what_stands_on_a_plain_ground_is_cropped_with_room_that_the_ground_fills() -> None:
    read = intent(("replace_background", {"background": "pale blue"}), ("crop", {"aspect": "4:5"}))
    plan = plan_goal("put the shoe on pale blue and crop it to 4:5", read, 1)
    assert [step.operation for step in plan.steps] == ["replace_background", "crop", "extend"]
    ground, frame, room = (step.edit for step in plan.steps)
    assert frame.crop.subject and not frame.crop.subject_aspect and 0 < frame.crop.margin < 0.2
    assert (room.extend.aspect, room.extend.color) == ("4:5", ground.replace_background.color) == ("4:5", "#add8e6")
    assert plan_faults(plan, 1) == []


def test_on_a_place_it_is_cropped_around_the_subject_alone() -> None:
    read = intent(("replace_background", {"background": "a beach"}), ("crop", {"aspect": "1:1"}))
    plan = plan_goal("put the shoe on a beach and crop it square", read, 1)
    assert plan.steps[-1].edit.crop.subject_aspect == "1:1"


@pytest.mark.parametrize(("said", "strength"), [({}, 0.6), ({"strength": 0.85}, 0.85)])
def test_a_look_that_is_drawn_is_laid_on_in_part_unless_the_goal_says_how_much(
    said: dict[str, str | float | int], strength: float
) -> None:
    read = intent(("generate", {"prompt": "a misty blue evening"}), ("match_style", said))
    plan = plan_goal("imagine a misty blue evening and match my photo to its look", read, 1)
    assert plan.steps[-1].edit.match_style.strength == pytest.approx(strength)
    assert ("keep the photograph natural" in plan.steps[-1].reason) == (not said)


@pytest.mark.parametrize(
    ("goal", "ground"),
    [
        ("on white", "white"),
        ("put it on a plain #ffeedd, please", "a plain #ffeedd"),
        ("lay it on light gray background", "light gray background"),
        ("auf weiß und quadratisch", "weiß"),
        ("on white shirts", ""),
        ("on a beach", ""),
        ("carry on", ""),
    ],
)
def test_plain_grounds_are_heard(goal: str, ground: str) -> None:
    assert named_ground(goal) == ground


def test_a_drawn_mood_lends_its_look_to_all_pictures() -> None:
    read = intent(("generate", {"prompt": "a moody sunset and give my photos its look"}))
    plan = plan_goal("draw a moody sunset and give my photos its look", read, 2)
    assert [(step.operation, len(step.inputs)) for step in plan.steps] == [
        ("generate", 0),
        ("match_style", 2),
        ("match_style", 2),
    ]
    assert plan.steps[0].generate.prompt == "a moody sunset"
    assert [step.inputs[0].goal_image for step in plan.steps[1:]] == [0, 1]
    assert {step.inputs[1].step_id for step in plan.steps[1:]} == {"1"} and plan_faults(plan, 2) == []


def test_a_sticker_is_cut_out_and_a_poster_made_large() -> None:
    sticker = plan_goal("a sticker of a fox", intent(("generate", {"prompt": "a fox"})), 0)
    assert [step.operation for step in sticker.steps] == ["generate", "remove_background"]
    poster = plan_goal("a poster of a fox", intent(("generate", {"prompt": "a fox"})), 0)
    assert [step.operation for step in poster.steps] == ["generate", "upscale"] and "“poster”" in poster.steps[1].reason


def test_small_models_draw_nothing_inside_a_photograph() -> None:
    small = Known(catalog=Catalog((Offered("generator", "icons", "text-to-image", "", 20, 256),)))
    read = intent(("replace_object", {"object": "dog", "replacement": "a cat"}))
    plan = plan_goal("dog to cat", read, 1, small)
    assert [step.operation for step in plan.steps] == ["generate", "remove_background", "replace_object"]
    assert plan.steps[2].edit.selection.label == "dog" and "512 px" in plan.steps[2].reason
    large = Known(catalog=Catalog((*small.catalog.models, Offered("generator", "sd", "text-to-image", "", 20, 512))))
    assert [step.operation for step in plan_goal("dog to cat", read, 1, large).steps][1] == "vary"


def test_canvas_with_words_is_drawn() -> None:
    read = Intent(
        "EDIT", (IntendedOperation("extend", {"direction": "left"}, "to the left with more forest"),), {}, 1, (), None
    )
    plan = plan_goal("extend the picture to the left with more forest", read, 1)
    assert [step.operation for step in plan.steps] == ["extend", "color_correct", "extend", "vary", "composite"]
    assert plan.steps[3].vary.prompt == "forest"
    assert plan.steps[0].edit.extend.left == plan.steps[2].edit.extend.left > 0
    assert plan_faults(plan, 1) == []
