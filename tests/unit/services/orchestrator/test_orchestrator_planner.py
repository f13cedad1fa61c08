import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.v1 import editor_pb2, image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.intent import ClarifyReason, IntendedOperation, Intent, Reading
from services.orchestrator.planning.clarify import not_found_by_name
from services.orchestrator.planning.known import Known
from services.orchestrator.planning.plan import digest_of
from services.orchestrator.planning.plan_faults import plan_faults
from services.orchestrator.planning.planner import plan_goal

Slots = dict[str, str | float | int]


def wanted(*operations: str | tuple[str, Slots], route: str = "EDIT") -> Intent:
    """An intent with these operations, read for certain."""
    named = [(one, {}) if isinstance(one, str) else one for one in operations]
    made = tuple(IntendedOperation(name, slots, f"clause of {name}") for name, slots in named)
    slots = {key: value for _, some in reversed(named) for key, value in some.items()}
    return Intent(route, made, slots, 0.9, (), None)


def unclear(reason: ClarifyReason, *alternatives: str) -> Intent:
    readings = tuple(Reading("EDIT", (IntendedOperation(name, {}, ""),), 0.3) for name in alternatives)
    return Intent("CLARIFY", (), {}, 0.4, readings, reason)


def shape(plan: v1.Plan) -> list[tuple[str, list[str]]]:
    """Each step's operation and what it takes: "image 0" or "step 1"."""
    return [
        (
            step.operation,
            [
                f"image {one.goal_image}" if one.WhichOneof("source") == "goal_image" else f"step {one.step_id}"
                for one in step.inputs
            ],
        )
        for step in plan.steps
    ]


def test_the_red_apple_becomes_a_chain() -> None:
    intent = wanted(
        ("generate", {"prompt": "a red apple icon"}), "remove_background", ("upscale", {"scale": 4}), route="CHAIN"
    )
    plan = plan_goal("draw a red apple icon, cut out the background and make it four times bigger", intent, 0)
    assert shape(plan) == [("generate", []), ("remove_background", ["step 1"]), ("upscale", ["step 2"])]
    assert plan.steps[0].generate.prompt == "a red apple icon"
    assert plan.steps[2].edit.upscale.scale == 4
    assert plan.route == plan.reading.route == v1.ROUTE_CHAIN
    assert list(plan.reading.operations) == ["generate", "remove_background", "upscale"]
    assert dict(plan.slots) == {"prompt": "a red apple icon", "scale": "4"}
    assert plan.confidence == pytest.approx(0.9)
    assert plan.digest == digest_of(plan) and plan.why and plan.output.format == image_pb2.IMAGE_FORMAT_PNG
    assert "“clause of remove_background”" in plan.steps[1].reason
    assert plan_faults(plan, 0) == []


def test_a_background_in_words_is_drawn_first_while_the_reading_stays_an_edit() -> None:
    plan = plan_goal("swap it", wanted(("replace_background", {"background": "a mountain meadow"})), 1)
    assert shape(plan) == [("generate", []), ("replace_background", ["image 0", "step 1"])]
    assert plan.steps[0].generate.prompt == "a mountain meadow"
    assert plan.route == v1.ROUTE_CHAIN
    assert plan.reading.route == v1.ROUTE_EDIT and list(plan.reading.operations) == ["replace_background"]


def test_a_coloured_background_needs_no_generator() -> None:
    plan = plan_goal("on white", wanted(("replace_background", {"background": "white"})), 1)
    assert shape(plan) == [("replace_background", ["image 0"])]
    assert plan.route == v1.ROUTE_EDIT


@pytest.mark.parametrize(
    ("said", "ends", "angle"),
    [
        ("a gradient from blue to pink", ("#0000ff", "#ffc0cb"), 0),
        ("gradient of #102030 and white", ("#102030", "#ffffff"), 0),
        ("a horizontal gradient, red into yellow", ("#ff0000", "#ffff00"), -90),
        ("Farbverlauf von blau nach rosa", ("#0000ff", "#ffc0cb"), 0),
    ],
)
def test_a_gradient_needs_no_generator(said: str, ends: tuple[str, str], angle: float) -> None:
    plan = plan_goal("on a gradient", wanted(("replace_background", {"background": said})), 1)
    assert shape(plan) == [("replace_background", ["image 0"])]
    gradient = plan.steps[0].edit.replace_background.gradient
    assert (gradient.start_color, gradient.end_color, gradient.angle) == (*ends, angle)


def test_what_is_drawn_beside_a_picture_is_laid_into_it() -> None:
    plan = plan_goal("a road, my bike before it", wanted("remove_background", "generate", "replace_background"), 1)
    assert shape(plan) == [
        ("remove_background", ["image 0"]),
        ("generate", []),
        ("replace_background", ["step 1", "step 2"]),
    ]
    assert plan.steps[2].edit.replace_background.WhichOneof("background") == "image"


def test_a_new_picture_leaves_the_attached_one_alone() -> None:
    plan = plan_goal("a tram, then larger", wanted("generate", "upscale", route="CHAIN"), 2)
    assert shape(plan) == [("generate", []), ("upscale", ["step 1"])]


def test_an_object_is_selected_drawn_anew_and_blended_in() -> None:
    plan = plan_goal("dog to cat", wanted(("replace_object", {"object": "dog", "replacement": "a cat"})), 1)
    assert shape(plan) == [
        ("select_region", ["image 0"]),
        ("vary", ["image 0", "step 1"]),
        ("composite", ["image 0", "step 2", "step 1"]),
    ]
    assert plan.steps[0].select.selection.label == "dog" and plan.steps[1].vary.prompt == "a cat"
    assert plan.steps[2].edit.selection.WhichOneof("target") == "mask" and plan.steps[2].edit.composite.stretch
    assert plan.route == v1.ROUTE_CHAIN and plan_faults(plan, 1) == []


def test_the_second_picture_is_the_background_when_the_words_point_to_it() -> None:
    slots: Slots = {"background": "the second picture"}
    plan = plan_goal("put it there", wanted("remove_background", ("replace_background", slots)), 2)
    assert shape(plan) == [("remove_background", ["image 0"]), ("replace_background", ["step 1", "image 1"])]


@pytest.mark.parametrize(
    ("clause", "source", "target", "taken"),
    [
        ("put the bottle from the second picture on the table of the first", 2, 1, [[1], [0, "1"]]),
        ("put the bottle from the first picture on the table of the second", 1, 2, [[0], [1, "1"]]),
        ("setz den Hund aus dem letzten Bild in das erste", -1, 1, [[2], [0, "1"]]),
        ("lay the second image over the first", 2, 1, [[0, 1]]),
        ("lay the first image over the third", 1, 3, [[2, 0]]),
    ],
)
def test_pictures_have_the_roles_that_the_goal_gives_them(
    clause: str, source: int, target: int, taken: list[list[int | str]]
) -> None:
    slots: Slots = {"source_picture": source, "target_picture": target}
    read = Intent("EDIT", (IntendedOperation("composite", slots, clause),), {}, 0.9, (), None)
    plan = plan_goal(clause, read, 3)
    assert [[one.step_id or one.goal_image for one in step.inputs] for step in plan.steps] == taken
    names = ["composite"] if len(taken) == 1 else ["remove_background", "add_object"]
    assert [step.operation for step in plan.steps] == names
    assert plan_faults(plan, 3) == []


def test_the_look_of_one_picture_goes_to_the_other_that_is_named() -> None:
    read = wanted(("match_style", {"source_picture": 1, "target_picture": 2}))
    (step,) = plan_goal("give the second photo the look of the first", read, 2).steps
    assert [one.goal_image for one in step.inputs] == [1, 0]


def test_each_attached_picture_is_treated() -> None:
    plan = plan_goal("make these bigger, then sharper", wanted("upscale", "deblur"), 3)
    assert shape(plan) == [
        ("upscale", ["image 0"]),
        ("deblur", ["step 1"]),
        ("upscale", ["image 1"]),
        ("deblur", ["step 3"]),
        ("upscale", ["image 2"]),
        ("deblur", ["step 5"]),
    ]
    assert list(plan.reading.operations) == ["upscale", "deblur"]


def test_one_drawn_background_serves_all_pictures() -> None:
    plan = plan_goal("all on a beach", wanted(("replace_background", {"background": "a beach"})), 2)
    assert [operation for operation, _ in shape(plan)] == ["generate", "replace_background", "replace_background"]


def test_looking_lets_the_picture_through() -> None:
    plan = plan_goal("check and fix", wanted("analyze", "enhance"), 1)
    assert shape(plan) == [("analyze", ["image 0"]), ("enhance", ["image 0"])]


def test_a_generated_picture_is_brought_to_the_size_that_is_asked_for() -> None:
    plan = plan_goal("a 640x480 fox", wanted(("generate", {"prompt": "a fox", "width": 640, "height": 480})), 0)
    assert shape(plan) == [("generate", []), ("resize", ["step 1"])]
    assert (plan.steps[1].edit.resize.width, plan.steps[1].edit.resize.height) == (640, 480)


def test_a_crop_to_a_named_size_ends_at_that_size() -> None:
    plan = plan_goal("crop to 400x300", wanted(("crop", {"width": 400, "height": 300})), 1)
    assert shape(plan) == [("crop", ["image 0"]), ("resize", ["step 1"])]
    assert plan.steps[0].edit.crop.aspect == "4:3" and plan.steps[1].edit.resize.width == 400
    platform = plan_goal("crop for tiktok", wanted(("crop", {"platform": "tiktok"})), 1)
    assert shape(platform) == [("resize", ["image 0"])]
    assert list(platform.reading.operations) == ["crop"]


def test_motion_is_of_the_picture_or_else_of_the_words() -> None:
    assert shape(plan_goal("move", wanted("animate"), 1)) == [("animate", ["image 0"])]
    film = plan_goal("a lava lamp, moving", wanted("animate", route="GENERATE"), 0)
    assert film.steps[0].service == "generator" and len(film.steps[0].animate_latents.keyframes) == 2
    assert plan_faults(film, 0) == []


def test_the_format_is_the_callers_else_the_goals() -> None:
    intent = wanted(("generate", {"format": "jpeg"}))
    assert plan_goal("x", intent, 0).output.format == image_pb2.IMAGE_FORMAT_JPEG
    asked = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_WEBP, quality=50)
    assert plan_goal("x", intent, 0, Known(output=asked)).output == asked


def test_an_edit_without_a_picture_asks_for_one() -> None:
    plan = plan_goal("make it warmer", wanted(("color_correct", {"temperature": 0.3})), 0)
    assert plan.route == plan.reading.route == v1.ROUTE_CLARIFY
    assert not plan.steps and not plan.reading.operations and "None is attached" in plan.clarification.question
    attach, draw = plan.clarification.options
    assert attach.needs_image and attach.plan.steps[0].edit.color_correct.temperature == pytest.approx(0.3)
    assert not draw.needs_image and draw.plan.steps[0].generate.prompt == "make it warmer"


@pytest.mark.parametrize(
    ("reason", "alternatives", "num_images"),
    [
        (reason, alternatives, num_images)
        for reason, alternatives, num_images in itertools.product(
            ClarifyReason,
            [(), ("enhance",), ("crop",), ("crop", "rotate", "denoise", "deblur", "upscale")],
            [0, 1, 2],
        )
        if reason is not ClarifyReason.NO_IMAGE or num_images == 0
    ],
)
def test_a_question_has_two_to_four_different_answers_that_run(
    reason: ClarifyReason, alternatives: tuple[str, ...], num_images: int
) -> None:
    plan = plan_goal("hm", unclear(reason, *alternatives), num_images)
    assert plan.route == v1.ROUTE_CLARIFY
    assert plan.clarification.question.count("?") == 1
    options = plan.clarification.options
    assert 2 <= len(options) <= 4
    assert len({option.plan.digest for option in options}) == len({option.label for option in options}) == len(options)
    for option in options:
        assert plan_faults(option.plan, num_images + option.needs_image) == []
        assert bool(plan_faults(option.plan, num_images)) == option.needs_image
    assert num_images or not all(option.needs_image for option in options)
    if alternatives:
        assert options[0].plan.steps[0].operation == alternatives[0]


# All that an intent can name: the generator's operations, and every edit of the contract.
_EDITS = [field.name for field in editor_pb2.Operation.DESCRIPTOR.oneofs_by_name["operation"].fields]
_NAMES = ["generate", "vary", "animate", *_EDITS]
_WORDS = st.sampled_from(["white", "a beach", "the second image", "", "16:9", "counterclockwise", "png", "sepia", "9"])
_KEYS = "prompt style count width height platform aspect background scale percent object direction angle color format"
_SLOTS = st.dictionaries(
    st.sampled_from([*_KEYS.split(), "tone", "strength", "replacement", "duration", "motion", "temperature"]),
    st.one_of(_WORDS, st.floats(), st.integers(-9999, 99999)),
    max_size=5,
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(_NAMES), _SLOTS), min_size=1, max_size=5),
    st.integers(0, 3),
    st.text(min_size=1, max_size=40).filter(str.strip),
)
def test_any_reading_becomes_a_plan_that_runs_or_a_question(
    operations: list[tuple[str, Slots]], num_images: int, goal: str
) -> None:
    plan = plan_goal(goal, wanted(*operations), num_images)
    if plan.route == v1.ROUTE_CLARIFY:
        unseen = not_found_by_name(wanted(*operations).operations)
        assert (not num_images or unseen) and 2 <= len(plan.clarification.options) <= 4
        assert all(plan_faults(one.plan, max(num_images, 1)) == [] for one in plan.clarification.options)
        return
    assert plan_faults(plan, num_images) == []
    assert all(step.reason and step.service and step.operation for step in plan.steps)
    assert list(plan.reading.operations) == [name for name, _ in operations]


@pytest.mark.parametrize("name", _NAMES)
def test_every_operation_can_be_offered(name: str) -> None:
    plan = plan_goal("hm", unclear(ClarifyReason.UNSURE, name), 1)
    assert plan.clarification.options[0].label and plan_faults(plan.clarification.options[0].plan, 1) == []


def test_an_answer_names_what_the_goal_names() -> None:
    intent = Intent(
        "CLARIFY", (), {}, 0.8,
        tuple(
            Reading("EDIT", wanted(*operations).operations, 0.1)
            for operations in (
                [("remove_object", {"object": "hat"})],
                [("upscale", {"scale": 2}), ("color_correct", {"object": "car", "color": "blue"})],
                [("resize", {"width": 800})],
            )
        ),
        ClarifyReason.UNSURE,
    )  # fmt: skip
    plan = plan_goal("hm", intent, 1)
    assert [option.label for option in plan.clarification.options] == [
        "Remove “hat” from it", "Make it 2 times as large, then give “car” the colour “blue”", "Change its size",
    ]  # fmt: skip


@pytest.mark.parametrize("goal", ["a photo of a man removing his hat", "photo of my dog", "一只戴帽子的猫"])
def test_words_that_show_a_scene_may_be_meant_for_a_new_picture(goal: str) -> None:
    options = plan_goal(goal, unclear(ClarifyReason.UNSURE, "remove_object"), 1).clarification.options
    assert options[-1].label == "Draw a new picture from these words" and 2 <= len(options) <= 4
    assert options[-1].plan.steps[0].generate.prompt == goal and not options[-1].needs_image
    asked = plan_goal("do it like the last time", unclear(ClarifyReason.VAGUE), 1).clarification.options
    assert all(option.plan.steps[0].operation != "generate" for option in asked)
