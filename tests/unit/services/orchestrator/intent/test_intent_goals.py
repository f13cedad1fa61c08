# ruff: noqa: RUF001 - the marks of other scripts are meant
"""The trained model on goals written before it was trained, and the tools that measure and seal it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diptych.repository import ModelRepository
from services.orchestrator.intent import IntentModel
from services.orchestrator.intent.prompt import pictured
from services.orchestrator.planning.plan_faults import plan_faults
from services.orchestrator.planning.planner import plan_goal
from training.intent.labelled import detail_holds, details, own
from training.intent.sealed import seal, sealed

HERE = Path(__file__).parent
MODELS = HERE.parents[4] / "models"


@pytest.fixture(scope="module")
def model() -> Iterator[IntentModel]:
    repository = ModelRepository([MODELS])
    if repository.state("diptych-intent") != "READY":
        pytest.skip("the sentence encoder is not here yet: run `diptych models pull diptych-intent`")
    loaded = IntentModel.load(repository.open("diptych-intent").directory)
    yield loaded
    loaded.close()


@pytest.mark.parametrize(
    ("name", "least", "least_of_several"),
    [
        ("goals", 0.93, 0.92),
        ("fresh_goals", 0.85, 0.83),
        ("fresh_goals_2", 0.87, 0.88),
        ("fresh_goals_3", 0.84, 0.82),
        ("calibration_goals", 0.79, 0.73),
        ("everyday_goals", 0.91, 0.85),
        ("hard_goals", 0.7, 0.7),
        ("household_goals", 0.8, 0.85),
    ],
)
def test_our_own_goals(model: IntentModel, name: str, least: float, least_of_several: float) -> None:
    exact: list[bool] = []
    several: list[bool] = []
    for text, has_image, right in own(HERE / f"{name}.txt"):
        intent = model.understand(text, has_image=has_image)
        said = (intent.route, tuple(operation.name for operation in intent.operations))
        exact.append(said in right)
        if max(len(names) for _, names in right) > 1:
            several.append(exact[-1])
    assert np.mean(exact) >= least
    assert np.mean(several) >= least_of_several


def test_details(model: IntentModel) -> None:
    found = []
    for text, has_image, wanted in details(HERE / "slot_goals.txt"):
        intent = model.understand(text, has_image=has_image)
        found += [detail_holds(intent, *detail) for detail in wanted]
    assert np.mean(found) >= 0.96


def test_limits_and_pictures_reach_the_intent(model: IntentModel) -> None:
    intent = model.understand("brighten both photos, but don't crop them", has_image=True)
    assert [operation.name for operation in intent.operations] == ["color_correct"]
    assert intent.limits == ("don't crop them",) and intent.forbidden == ("crop",)
    assert intent.every_picture


@pytest.mark.parametrize(
    "goal", ["blur the car", "blur the licence plates", "a photo of a man removing his hat", "the usual, please"]
)
def test_what_is_unsure_is_asked(model: IntentModel, goal: str) -> None:
    intent = model.understand(goal, has_image=True)
    assert intent.route == "CLARIFY"
    plan = plan_goal(goal, intent, 1)
    assert 2 <= len(plan.clarification.options) <= 4
    assert all(plan_faults(option.plan, 1) == [] for option in plan.clarification.options)


@pytest.mark.parametrize(
    ("goal", "names"),
    [
        ("use the second picture as background for the first", ["replace_background"]),
        ("desaturate everything except the dog", ["color_correct"]),
        ("quita la farola, endereza la foto y ponla en blanco y negro", ["remove_object", "rotate", "color_correct"]),
        ("先去掉路人，再调亮，最后放大", ["remove_object", "color_correct", "upscale"]),
        ("先裁剪再放大", ["crop", "upscale"]),
        ("先去掉路人，再调亮", ["remove_object", "color_correct"]),
        ("entferne das Auto und mach es heller", ["remove_object", "color_correct"]),
        ("make it nicer", ["enhance"]),
        ("mach das Auto rot", ["color_correct"]),
        ("pon el coche rojo", ["color_correct"]),
        ("brighten it, after which crop it square", ["color_correct", "crop"]),
        ("crop it and sharpen it, but not before you've denoised it", ["denoise", "crop", "deblur"]),
    ],
)
def test_goals_that_were_once_misread(model: IntentModel, goal: str, names: list[str]) -> None:
    assert [operation.name for operation in model.understand(goal, has_image=True).operations] == names


@pytest.mark.parametrize(
    ("goal", "prompt"),
    [
        ("a photo of a man removing his hat", "a photo of a man removing his hat"),
        ("A photo of a cat", "A photo of a cat"),
        ("picture of a red car", "a red car"),
        ("a picture of a dragon", "a dragon"),
        (
            "a black and white photograph of a chef slicing onions",
            "a black and white photograph of a chef slicing onions",
        ),
        ("pictures of cats", "pictures of cats"),
    ],
)
def test_without_a_picture_one_that_is_named_is_drawn(model: IntentModel, goal: str, prompt: str) -> None:
    intent = model.understand(goal, has_image=False)
    assert [operation.name for operation in intent.operations] == ["generate"]
    assert intent.slots["prompt"] == prompt


def test_what_stands_behind_may_be_blurred(model: IntentModel) -> None:
    intent = model.understand("blur the people behind her", has_image=True)
    assert [operation.name for operation in intent.operations] == ["blur_background"]


def test_a_format_told_by_itself_is_the_last_ones(model: IntentModel) -> None:
    intent = model.understand("quita la farola, endereza la foto y guárdalo como jpg", has_image=True)
    assert [operation.name for operation in intent.operations] == ["remove_object", "rotate"]
    assert intent.operations[-1].slots["format"] == "jpeg" and "jpg" not in intent.operations[-1].clause


def test_what_is_done_to_a_named_picture_is_not_drawn(model: IntentModel) -> None:
    intent = model.understand("a photo of a cat, cut it out", has_image=False)
    assert [operation.name for operation in intent.operations] == ["generate", "remove_background"]
    assert intent.slots["prompt"] == "a photo of a cat"


@pytest.mark.parametrize("goal", ["the photo of the old barn", "photo of my dog", "make it warmer"])
def test_without_a_picture_one_that_exists_is_asked_for(model: IntentModel, goal: str) -> None:
    assert model.understand(goal, has_image=False).route == "CLARIFY"


def test_sealing_renews_the_hashes_of_own_files_only(tmp_path: Path) -> None:
    (tmp_path / "head.onnx").write_bytes(b"weights")
    zeros = "0" * 64
    (tmp_path / "manifest.toml").write_text(
        'name = "some-intent"\nversion = "1.2.3"\n'
        f'[[files]]\npath = "head.onnx"\nsha256 = "{zeros}"\nsource = {{ type = "repository" }}\n\n'
        f'[[files]]\npath = "encoder.onnx"\nsha256 = "{zeros}"\nsource = {{ type = "model", model = "minilm" }}\n'
    )
    seal(tmp_path)
    text = (tmp_path / "manifest.toml").read_text()
    assert hashlib.sha256(b"weights").hexdigest() in text
    assert text.count(zeros) == 1
    name = sealed(tmp_path)
    assert name.startswith("`some-intent` 1.2.3") and hashlib.sha256(b"weights").hexdigest()[:16] in name


@pytest.mark.parametrize(
    ("goal", "route"),
    [
        ("画一只猫坐在窗台上", "GENERATE"),
        ("帮我画一个在屋顶上的孩子", "GENERATE"),
        ("draw a cat on a wall", "GENERATE"),
        ("zeichne eine Katze auf einem Zaun", "GENERATE"),
        ("male einen Fuchs und stelle ihn frei", "CHAIN"),
        ("画面太暗了，调亮一点", "CLARIFY"),
    ],
)
def test_what_opens_with_a_command_to_draw_is_drawn(model: IntentModel, goal: str, route: str) -> None:
    assert model.understand(goal, has_image=False).route == route


def test_what_is_drawn_onto_something_is_no_drawing_by_itself() -> None:
    assert pictured("draw a red fox")
    assert pictured("能不能画一只狐狸")
    assert not pictured("draw a red circle around the mistake")
    assert not pictured("画面太暗了")
