# ruff: noqa: RUF001 - a multiplication sign is meant
"""What is read out of a goal's words beyond the model's reading, and what plans become of it."""

from pathlib import Path
from typing import Any

import pytest

from diptych.v1 import editor_pb2 as editor
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.intent import ClarifyReason, IntendedOperation, Intent
from services.orchestrator.intent.intent import route_of
from services.orchestrator.planning.details import detailed
from services.orchestrator.planning.known import Known
from services.orchestrator.planning.model_choice import Catalog, Offered
from services.orchestrator.planning.plan_faults import plan_faults
from services.orchestrator.planning.planner import plan_goal
from services.orchestrator.planning.profiles import Profile

Slots = dict[str, str | float | int]
DRAWINGS = Known(catalog=Catalog((Offered("generator", "icons", "text-to-image", "Icons", 16, 256),)))


def read(goal: str, *operations: tuple[str, Slots], pictures: int = 1) -> Intent:
    """The reading of a goal whose words all belong to each of these operations, with its details."""
    made = tuple(IntendedOperation(name, slots, goal) for name, slots in operations)
    intent = Intent(route_of(tuple(name for name, _ in operations)), made, {}, 0.9, (), None)
    return detailed(goal, intent, pictures)


def plan(goal: str, *operations: tuple[str, Slots], pictures: int = 1, known: Known = DRAWINGS) -> v1.Plan:
    made = plan_goal(goal, read(goal, *operations, pictures=pictures), pictures, known)
    for one in (made, *(option.plan for option in made.clarification.options if not option.needs_image)):
        if one.steps:
            assert plan_faults(one, pictures) == []
    return made


def names(made: v1.Plan) -> list[str]:
    return [step.operation for step in made.steps]


@pytest.mark.parametrize(
    ("goal", "operation", "field", "value"),
    [
        ("make it 30% smaller", ("resize", {"percent": 30}), "resize.scale", 0.7),
        ("shrink it by 25 percent", ("resize", {"percent": 25}), "resize.scale", 0.75),
        ("make it 50% larger", ("upscale", {}), "upscale.scale", 1.5),
        ("twice as small", ("upscale", {"scale": 2}), "resize.scale", 0.5),
        ("export at 50% size", ("resize", {"percent": 50}), "resize.scale", 0.5),
        ("20% brighter", ("color_correct", {"brightness": 0.3}), "color_correct.brightness", 0.2),
        ("darken it by 10%", ("color_correct", {"brightness": -0.3}), "color_correct.brightness", -0.1),
        ("cut off the bottom 10%", ("crop", {}), "crop.trim.bottom", 0.1),
        ("crop 100 pixels off the top", ("crop", {}), "crop.trim.top", 100),
        ("keep the left third", ("crop", {}), "crop.trim.right", 2 / 3),
        ("remove the upper half", ("crop", {}), "crop.trim.top", 0.5),
        ("extend it to the left by 200 pixels", ("extend", {"direction": "left"}), "extend.left", 200),
        ("put our logo in at 15% width", ("add_object", {"object": "logo"}), "composite.relative_width", 0.15),
        ("our logo with 60% opacity", ("add_object", {"object": "logo"}), "composite.opacity", 0.6),
        ("the watermark, 30% transparent", ("composite", {"object": "watermark"}), "composite.opacity", 0.7),
    ],
)
def test_amounts_are_what_the_words_say(goal: str, operation: tuple[str, Slots], field: str, value: float) -> None:
    made = plan(goal, operation, pictures=2 if operation[0] in ("add_object", "composite") else 1)
    found: Any = made.steps[-1].edit
    for name in field.split("."):
        assert found.HasField(name) if name == field.split(".")[0] else True, names(made)
        found = getattr(found, name)
    assert found == pytest.approx(value, abs=1e-4)


def test_each_percentage_goes_to_its_own_tone() -> None:
    goal = "increase saturation by 20% and reduce contrast by 10 percent"
    values = plan(goal, ("color_correct", {"saturation": 0.3})).steps[0].edit.color_correct
    assert values.saturation == pytest.approx(0.2) and values.contrast == pytest.approx(-0.1)


def test_black_and_white_is_no_colour_to_give() -> None:
    goal = "make it black and white except for the dog"
    edit = plan(goal, ("color_correct", {"color": "black and white", "object": "dog"})).steps[0].edit
    assert edit.color_correct.grayscale and not edit.color_correct.color
    assert edit.selection == editor.Selection(label="dog", invert=True)


def test_turned_and_mirrored_are_two_steps_in_the_order_said() -> None:
    made = plan("rotate it 90 degrees left and mirror it", ("rotate", {"direction": "horizontal"}))
    assert [(step.edit.rotate.angle, step.edit.rotate.flip_horizontal) for step in made.steps] == [
        (-90, False),
        (0, True),
    ]
    made = plan("flip it vertically, then turn it by 45 degrees", ("rotate", {"direction": "vertical"}))
    assert [(step.edit.rotate.angle, step.edit.rotate.flip_vertical) for step in made.steps] == [(0, True), (45, False)]


def test_a_border_is_room_around_and_nothing_drawn() -> None:
    goal = "add a 20px black border"
    made = plan(goal, ("add_object", {"object": "20px black border"}), ("resize", {"width": 20}))
    extend = made.steps[0].edit.extend
    assert names(made) == ["extend"]
    assert (extend.left, extend.top, extend.right, extend.bottom, extend.color) == (20, 20, 20, 20, "#000000")


def test_a_logo_of_ones_own_is_the_picture_that_came_along() -> None:
    goal = "put the logo in the bottom left corner"
    made = plan(goal, ("add_object", {"object": "logo"}), pictures=2)
    assert names(made) == ["composite"]
    assert [one.goal_image for one in made.steps[0].inputs] == [0, 1]
    assert made.steps[0].edit.composite.anchor == editor.ANCHOR_BOTTOM_LEFT
    each = plan(goal, ("add_object", {"object": "logo"}), pictures=3)
    assert [[one.goal_image for one in step.inputs] for step in each.steps] == [[0, 2], [1, 2]]


def test_a_logo_that_is_missing_is_asked_for_and_a_logo_to_draw_is_drawn() -> None:
    made = plan("add our logo in the top right", ("add_object", {"object": "logo"}))
    assert made.route == v1.ROUTE_CLARIFY and "logo" in made.clarification.question
    attach, draw = made.clarification.options
    assert attach.needs_image and names(attach.plan) == ["composite"]
    assert names(draw.plan) == ["generate", "remove_background", "composite"]
    made = plan("add a fox in the top right", ("add_object", {"object": "fox"}))
    assert names(made) == ["generate", "remove_background", "composite"]
    assert made.steps[-1].edit.composite.anchor == editor.ANCHOR_TOP_RIGHT


def test_what_was_drawn_gets_the_logo_that_came_along() -> None:
    goal = "draw a smiling sun and put our logo in the corner"
    made = plan(goal, ("generate", {"prompt": "a smiling sun"}), ("add_object", {"object": "logo"}))
    assert names(made) == ["generate", "composite"]
    assert made.steps[1].inputs[0].step_id == "1" and made.steps[1].inputs[1].goal_image == 0


def test_one_picture_as_the_ground_of_another_is_laid_once() -> None:
    made = plan(
        "use the first as background and place the second in the lower left",
        ("replace_background", {"source_picture": 1, "target_picture": 2}),
        ("composite", {"source_picture": 1, "target_picture": 2}),
        pictures=2,
    )
    assert names(made) == ["composite"]
    assert [one.goal_image for one in made.steps[0].inputs] == [0, 1]


def test_a_film_from_one_thing_to_another_walks_between_them() -> None:
    goal = "a looping animation from a red apple to a green pear"
    made = plan(goal, ("generate", {"prompt": goal}), ("animate", {}), pictures=0)
    assert names(made) == ["animate"]
    assert [one.prompt for one in made.steps[0].animate_latents.keyframes] == ["a red apple", "a green pear"]
    made = plan("an animation of a cat going to school", ("animate", {}), pictures=0)
    assert len({one.prompt for one in made.steps[0].animate_latents.keyframes}) == 1


@pytest.mark.parametrize(("goal", "name"), [("convert it to webp", "WEBP"), ("save as jpg", "JPEG")])
def test_another_file_format_is_no_question(goal: str, name: str) -> None:
    vague = Intent("CLARIFY", (), {}, 0.98, (), ClarifyReason.VAGUE)
    made = plan_goal(goal, detailed(goal, vague, 1), 1, DRAWINGS)
    assert names(made) == ["analyze"] and made.steps[0].WhichOneof("action") == "edit"
    assert made.output.format == image_pb2.ImageFormat.Value(f"IMAGE_FORMAT_{name}")
    assert detailed("do something", vague, 1) == vague


def test_quality_is_what_the_words_say_unless_the_caller_says() -> None:
    operation: tuple[str, Slots] = ("resize", {"width": 800, "format": "jpeg"})
    assert plan("800 wide, jpg at quality 75", operation).output.quality == 75
    asked = Known(output=image_pb2.OutputOptions(quality=50))
    assert plan("800 wide, jpg at quality 75", operation, known=asked).output.quality == 50


def test_a_crop_to_a_thing_is_a_crop_to_it() -> None:
    edit = plan("crop to the face, square", ("crop", {"object": "face", "aspect": "1:1"})).steps[0].edit
    assert edit.crop.subject and edit.crop.subject_aspect == "1:1" and edit.selection.label == "face"
    assert plan("crop to the cat's face", ("crop", {"object": "cat's face"})).steps[0].edit.selection.label == "cat"


def test_a_thing_that_cannot_be_found_by_name_is_the_subject_or_a_question() -> None:
    made = plan("make the flower blue", ("color_correct", {"object": "flower", "color": "blue"}))
    assert made.steps[0].edit.selection.subject and "“flower” cannot be found by name" in made.steps[0].reason
    made = plan("take the lantern away", ("remove_object", {"object": "lantern"}))
    assert made.route == v1.ROUTE_CLARIFY
    assert made.clarification.options[0].plan.steps[0].edit.selection.label == "main subject"
    made = plan("take the bottle away", ("remove_object", {"object": "bottle"}))
    assert made.steps[0].edit.selection.label == "bottle"


def test_effects_are_edits_and_not_drawn_things() -> None:
    made = plan("add a drop shadow to the product", ("add_object", {"object": "drop shadow"}))
    ground = made.steps[0].edit.replace_background
    assert names(made) == ["replace_background"]
    assert ground.shadow > 0 and ground.WhichOneof("background") == "blur_radius" and ground.blur_radius == 0
    goal = "on white with a soft shadow"
    both = plan(goal, ("replace_background", {"background": "white"}), ("add_object", {"object": "soft shadow"}))
    assert names(both) == ["replace_background"] and both.steps[0].edit.replace_background.shadow > 0
    made = plan("add a vignette", ("add_object", {"object": "vignette"}))
    assert names(made) == ["color_correct"] and made.steps[0].edit.selection.invert


def test_a_gradient_in_the_words_is_a_gradient() -> None:
    goal = "gradient background from pink to purple behind the person"
    ground = plan(goal, ("replace_background", {"background": "purple behind the person"})).steps[0].edit
    ends = ground.replace_background.gradient
    assert (ends.start_color, ends.end_color) == ("#ffc0cb", "#800080")


def test_another_sky_fills_the_sky_and_nothing_else() -> None:
    made = plan("replace the sky with a sunset", ("replace_object", {"object": "sky", "replacement": "sunset"}))
    assert names(made) == ["generate", "composite"]
    edit = made.steps[1].edit
    assert edit.composite.stretch and edit.selection.label == "sky" and not edit.selection.invert


def test_what_is_drawn_small_is_enlarged_with_detail_before_its_size() -> None:
    slots: Slots = {"prompt": "a bicycle", "width": 512, "height": 512}
    assert names(plan("a bicycle, 512x512", ("generate", slots), pictures=0)) == ["generate", "upscale", "resize"]
    apart = plan("a bicycle, 64x64", ("generate", {"prompt": "a bicycle"}), ("resize", {"width": 64}), pictures=0)
    assert names(apart) == ["generate", "resize"]


def test_a_transparent_background_is_cut_out() -> None:
    made = plan("a cart icon with transparent background", ("generate", {"prompt": "a cart icon"}), pictures=0)
    assert names(made) == ["generate", "remove_background"]


def test_a_size_is_not_brought_about_twice() -> None:
    slots: Slots = {"platform": "youtube thumbnail", "aspect": "16:9"}
    made = plan("a 16:9 youtube thumbnail", ("crop", slots), ("resize", {"platform": "youtube thumbnail"}))
    assert names(made) == ["crop", "resize"]


def test_colours_are_kept_where_the_goal_says_so() -> None:
    slots: Slots = {"style": "watercolor"}
    assert (
        plan("as a watercolor but keep the colors", ("style_transfer", slots)).steps[0].edit.style_transfer.keep_colors
    )
    assert not plan("as a watercolor", ("style_transfer", slots)).steps[0].edit.style_transfer.keep_colors


@pytest.mark.parametrize(
    ("goal", "said", "wanted"),
    [
        ('add the text "SALE -50%" on top', "SALE -50%", editor.WriteText(text="SALE -50%", anchor=editor.ANCHOR_TOP)),
        (
            'put the words "Grand Opening" in big red letters in the center',
            "Grand Opening",
            editor.WriteText(text="Grand Opening", color="#ff0000", size=0.2, anchor=editor.ANCHOR_CENTER),
        ),
        (
            'a caption "Top deal" on a black bar in the bottom left',
            "Top deal",
            editor.WriteText(text="Top deal", background="#000000", anchor=editor.ANCHOR_BOTTOM_LEFT),
        ),
        ("write Happy Birthday on it", "", editor.WriteText(text="Happy Birthday")),
    ],
)
def test_words_are_written_and_not_drawn(goal: str, said: str, wanted: editor.WriteText) -> None:
    made = plan(goal, ("add_object", {"object": "text", "text": said} if said else {"object": "Happy"}))
    assert [step.edit.write_text for step in made.steps] == [wanted]


def test_what_is_written_is_no_part_of_what_is_drawn() -> None:
    goal = 'draw a smiling sun and write "Good morning" below it'
    prompt = 'a smiling sun and write "Good morning" below'
    made = plan(goal, ("generate", {"prompt": prompt}), ("add_object", {"text": "Good morning"}), pictures=0)
    assert names(made) == ["generate", "write_text"]
    assert made.steps[0].generate.prompt == "a smiling sun"
    assert made.steps[1].edit.write_text.anchor == editor.ANCHOR_BOTTOM


def test_several_sizes_are_several_results_of_one_picture() -> None:
    goal = "make an instagram post, story and a linkedin banner out of this"
    misread: list[tuple[str, Slots]] = [
        ("generate", {"prompt": "an instagram post, story"}),
        ("remove_object", {"object": "linkedin banner out of this"}),
    ]
    made = plan(goal, *misread)
    assert [step.edit.resize.platform for step in made.steps] == [
        "instagram-post",
        "instagram-story",
        "linkedin-banner",
    ]
    assert all(step.inputs[0].goal_image == 0 for step in made.steps)
    made = plan("make it 1:1 and 9:16 versions", ("crop", {"aspect": "1:1"}), ("vary", {"prompt": "9:16 versions"}))
    assert [step.edit.crop.aspect for step in made.steps] == ["1:1", "9:16"]
    assert plan("crop it from 4:3 to 16:9", ("crop", {"aspect": "4:3"})).steps[0].edit.crop.aspect == "16:9"


def test_what_is_done_before_sizes_is_done_once_and_what_follows_for_each() -> None:
    goal = 'make it warmer, as facebook post and youtube thumbnail, with "New" below'
    made = plan(goal, ("color_correct", {"temperature": 0.3}), ("resize", {}), ("add_object", {"text": "New"}))
    assert names(made) == ["color_correct", "resize", "write_text", "resize", "write_text"]
    assert [step.inputs[0].step_id for step in made.steps[1:]] == ["1", "2", "1", "4"]
    drawn = plan("a sun as instagram post and story", ("generate", {"prompt": "a sun as instagram post"}), pictures=0)
    assert names(drawn) == ["generate", "upscale", "resize", "resize"]
    assert drawn.steps[0].generate.prompt == "a sun"


def test_a_size_alone_is_no_question() -> None:
    vague = Intent("CLARIFY", (), {}, 0.98, (), ClarifyReason.VAGUE)
    goal = "make an instagram story"
    made = plan_goal(goal, detailed(goal, vague, 1), 1, DRAWINGS)
    assert [step.edit.resize.platform for step in made.steps] == ["instagram-story"]


def test_a_platform_keeps_the_subject_in_view_where_it_can_be_found() -> None:
    asked: tuple[str, Slots] = ("resize", {"platform": "instagram story"})
    finding = Known(catalog=Catalog((*DRAWINGS.catalog.models, Offered("editor", "isnet", "matting"))))
    assert plan("for an instagram story", asked, known=finding).steps[0].edit.resize.fit == editor.FIT_MODE_SUBJECT
    assert plan("for an instagram story", asked).steps[0].edit.resize.fit == editor.FIT_MODE_UNSPECIFIED


@pytest.mark.parametrize(
    ("pictures", "width", "height"), [(2, 1340, 680), (3, 2000, 680), (4, 1340, 1340), (5, 2000, 1340)]
)
def test_a_collage_holds_every_picture_in_a_cell_of_its_own(pictures: int, width: int, height: int) -> None:
    made = plan(
        "black and white, as a collage", ("color_correct", {"tone": "grayscale"}), ("composite", {}), pictures=pictures
    )
    assert names(made).count("color_correct") == names(made).count("resize") == pictures
    ground = next(step.edit.extend for step in made.steps if step.operation == "extend")
    assert (ground.left + 640 + ground.right, ground.top + 640 + ground.bottom) == (width, height)
    places = [(20, 20)]
    places += [(one.x, one.y) for step in made.steps if (one := step.edit.composite.position).x]
    assert len(set(places)) == pictures and all(x + 660 <= width and y + 660 <= height for x, y in places)
    assert made.steps[-1].operation == "composite"


def test_a_brand_s_own_mark_is_laid_where_the_goal_says(tmp_path: Path) -> None:
    (tmp_path / "mark.png").write_bytes(b"a mark")
    acme = Profile.model_validate({"name": "acme", "folder": tmp_path, "watermark": {"image": "mark.png"}})
    known = Known(profile=acme)
    mark: tuple[str, Slots] = ("add_object", {"object": "logo"})
    warmer: tuple[str, Slots] = ("color_correct", {"temperature": 0.3})
    made = plan("make it warmer and add our logo in the top left", warmer, mark, known=known)
    laid = made.steps[-1]
    assert names(made) == ["color_correct", "composite"] and laid.inputs[1].stored_sha256 == acme.watermark_sha256
    assert laid.edit.composite.anchor == editor.ANCHOR_TOP_LEFT
    assert laid.edit.composite.relative_width == pytest.approx(0.2)
    alone = plan("add our watermark", ("add_object", {"object": "watermark"}), known=known)
    assert names(alone) == ["composite"] and alone.steps[0].edit.composite.anchor == editor.ANCHOR_BOTTOM_RIGHT


def test_a_file_within_bytes_keeps_its_pixels_and_leaves_the_format_to_the_writer() -> None:
    made = plan("compress it below 200 KB", ("resize", {"max_bytes": 200_000}))
    assert names(made) == ["analyze"] and made.output == image_pb2.OutputOptions(max_bytes=200_000)
    assert "fits in 200 KB; its size in pixels stays" in made.steps[-1].reason
    made = plan("cut it out, under 1.5 MB", ("remove_background", {"max_bytes": 1_500_000, "format": "webp"}))
    assert made.output == image_pb2.OutputOptions(max_bytes=1_500_000, format=image_pb2.IMAGE_FORMAT_WEBP)
    assert "1.5 MB" in made.steps[-1].reason
    made = plan("shrink it to 50%, under 1 MB", ("resize", {"percent": 50, "max_bytes": 10**6}))
    assert made.steps[0].edit.resize.scale == 0.5
    film = plan("animate it under 5 MB", ("animate", {"max_bytes": 5 * 10**6}))
    assert "5 MB are not held" in film.steps[-1].reason


def test_the_callers_own_limit_goes_before_the_goals() -> None:
    known = Known(output=image_pb2.OutputOptions(max_bytes=5000))
    made = plan("under 200 KB", ("resize", {"max_bytes": 200_000}), known=known)
    assert made.output.max_bytes == 5000 and "fits in 5 KB" in made.steps[-1].reason


def test_a_size_on_paper_becomes_pixels_that_may_lie_either_way() -> None:
    said: Slots = {"dpi": 300, "paper": "10x15 cm", "paper_width": 1181, "paper_height": 1772, "either_way": 1}
    made = plan("10x15 cm at 300 dpi", ("resize", said))
    size = made.steps[-1].edit.resize
    assert (size.width, size.height, size.either_way, made.output.dpi) == (1181, 1772, True, 300)
    assert "“10x15 cm” at 300 dpi is 1181 × 1772 pixels" in made.steps[-1].reason
    assert "The file says 300 dots per inch." in made.steps[-1].reason
    assert names(plan("cut it out, 10x15 cm", ("remove_background", said))) == ["remove_background", "resize"]
    assert names(plan("crop it to the face, 10x15 cm", ("crop", {"object": "face", **said}))) == ["crop", "resize"]
    assert names(plan("set it to 300 dpi", ("resize", {"dpi": 300}))) == ["analyze"]


def test_corners_are_cut_round_once_the_picture_has_its_size() -> None:
    soft: Slots = {"corner_radius": 0.08}
    made = plan("800x600 with rounded corners", ("resize", {"width": 800, "height": 600, **soft}))
    assert names(made) == ["resize", "crop"] and made.steps[-1].reason.startswith("Rounds the corners")
    crop = made.steps[-1].edit.crop
    assert crop.corner_radius == pytest.approx(0.08) and crop.WhichOneof("area") is None
    square = plan("square, rounded corners", ("crop", {"aspect": "1:1", **soft})).steps
    assert (len(square), square[0].edit.crop.aspect) == (1, "1:1") and square[0].edit.crop.HasField("corner_radius")
    face = plan("circular avatar", ("crop", {"corner_radius": 0.5, "round": "face"})).steps[-1].edit
    assert (face.crop.subject_aspect, face.crop.corner_radius, face.selection.label) == ("1:1", 0.5, "face")
    assert names(plan("round it, then a film", ("animate", soft))) == ["crop", "animate"]
