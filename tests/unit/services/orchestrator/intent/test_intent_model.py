"""The trained head on goals of our own, with the real encoder."""

import json
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diptych.repository import ModelRepository
from services.orchestrator.intent import ClarifyReason, Intent, IntentModel

MODELS = Path(__file__).parents[5] / "models"


@pytest.fixture(scope="module")
def model() -> Iterator[IntentModel]:
    repository = ModelRepository([MODELS])
    if repository.state("diptych-intent") != "READY":
        pytest.skip("the sentence encoder is not here yet: run `diptych models pull diptych-intent`")
    loaded = IntentModel.load(repository.open("diptych-intent").directory)
    yield loaded
    loaded.close()


def names(intent: Intent) -> list[str]:
    return [operation.name for operation in intent.operations]


GOALS = [
    ("a heron made of folded newspaper, low evening sun", False, "GENERATE", ["generate"]),
    ("an old fisherman mending his net and wiping his glasses", False, "GENERATE", ["generate"]),
    ("design a flyer for a chess club, lots of empty space, blurred background", False, "GENERATE", ["generate"]),
    ("please paint me a lighthouse in the style of Hopper", False, "GENERATE", ["generate"]),
    ("forget my upload and draw a purple submarine", True, "GENERATE", ["generate"]),
    ("show me five other versions of this poster", True, "GENERATE", ["vary"]),
    ("make the smoke drift as a looping gif", True, "GENERATE", ["animate"]),
    ("draw a wooden owl and then remove the background", False, "CHAIN", ["generate", "remove_background"]),
    ("paint a canoe on a lake. After that, enlarge it 2x.", False, "CHAIN", ["generate", "upscale"]),
    ("give me another version of this logo and cut out the background", True, "CHAIN", ["vary", "remove_background"]),
    ("brighten it, then turn it into a 4 second video", True, "CHAIN", ["color_correct", "animate"]),
    ("remove the background", True, "EDIT", ["remove_background"]),
    ("put the teapot on a plain white background", True, "EDIT", ["replace_background"]),
    ("blur everything behind the cyclist", True, "EDIT", ["blur_background"]),
    ("make this photo look better", True, "EDIT", ["enhance"]),
    ("get rid of the grain", True, "EDIT", ["denoise"]),
    ("the letters are blurry, sharpen them", True, "EDIT", ["deblur"]),
    ("enlarge it three times", True, "EDIT", ["upscale"]),
    ("more contrast and a little warmer", True, "EDIT", ["color_correct"]),
    ("paint the fence yellow", True, "EDIT", ["color_correct"]),
    ("convert to black and white", True, "EDIT", ["color_correct"]),
    ("smooth my skin and whiten the teeth", True, "EDIT", ["retouch"]),
    ("erase the bicycle next to the wall", True, "EDIT", ["remove_object"]),
    ("swap the lamp for a palm tree", True, "EDIT", ["replace_object"]),
    ("put a red hat on the dog", True, "EDIT", ["add_object"]),
    ("turn it into a watercolour painting", True, "EDIT", ["style_transfer"]),
    ("crop it to a square", True, "EDIT", ["crop"]),
    ("resize to 1200x630", True, "EDIT", ["resize"]),
    ("add more sky at the top", True, "EDIT", ["extend"]),
    ("rotate 90 degrees to the left", True, "EDIT", ["rotate"]),
    ("how many people are in this picture?", True, "EDIT", ["analyze"]),
    ("before you enlarge it, take the noise out", True, "EDIT", ["denoise", "upscale"]),
    ("straighten the horizon, crop to 4:5 and sharpen it", True, "EDIT", ["rotate", "crop", "deblur"]),
    ("remove the car, then make it black and white", True, "EDIT", ["remove_object", "color_correct"]),
    ("entferne den Hintergrund", True, "EDIT", ["remove_background"]),
    ("rends la photo plus claire", True, "EDIT", ["color_correct"]),
    ("recorta la foto en cuadrado", True, "EDIT", ["crop"]),
    ("把背景去掉", True, "EDIT", ["remove_background"]),
    ("do it like last time", True, "CLARIFY", []),
    ("sdkfj wlekr qpwoe", False, "CLARIFY", []),
    ("sharpen it a little", False, "CLARIFY", []),
    ("my passport photo is too dark, fix it", False, "CLARIFY", []),
]


def test_reads_nearly_all_of_our_own_goals(model: IntentModel) -> None:
    wrong = []
    for text, has_image, route, operations in GOALS:
        intent = model.understand(text, has_image=has_image)
        if (intent.route, names(intent)) != (route, operations):
            wrong.append((text, intent.route, names(intent), intent.reason))
    assert len(wrong) <= len(GOALS) * 0.1, wrong


def test_the_demo_goal_with_its_details(model: IntentModel) -> None:
    goal = "draw a red apple icon, cut out the background and make it four times bigger"
    intent = model.understand(goal, has_image=False)
    assert intent.route == "CHAIN"
    assert names(intent) == ["generate", "remove_background", "upscale"]
    drawing, cutting, enlarging = intent.operations
    assert drawing.slots["prompt"] == "a red apple icon"
    assert "background" in cutting.clause
    assert enlarging.slots["scale"] == 4
    assert intent.slots["scale"] == 4 and intent.slots["prompt"] == "a red apple icon"


def test_details_belong_to_their_operation(model: IntentModel) -> None:
    intent = model.understand("crop it to 16:9, then rotate it 90 degrees clockwise", has_image=True)
    assert names(intent) == ["crop", "rotate"]
    assert intent.operations[0].slots["aspect"] == "16:9"
    assert intent.operations[1].slots["angle"] == 90
    assert "angle" not in intent.operations[0].slots


def test_two_colours_joined_by_and_are_one_detail(model: IntentModel) -> None:
    intent = model.understand("draw a red heart icon and make it black and white", has_image=False)
    drawn, toned = intent.operations
    assert drawn.slots["prompt"] == "a red heart icon"
    assert dict(toned.slots) == {"tone": "grayscale"}
    (ball, _) = model.understand("draw a red and blue ball and make it larger", has_image=False).operations
    assert ball.slots["prompt"] == "a red and blue ball"


def test_a_missing_image_is_asked_for(model: IntentModel) -> None:
    intent = model.understand("remove the background and make it twice as big", has_image=False)
    assert intent.route == "CLARIFY" and intent.reason is ClarifyReason.NO_IMAGE
    assert intent.operations == ()
    assert [o.name for o in intent.alternatives[0].operations] == ["remove_background", "upscale"]


@pytest.mark.parametrize("text", ["", "   \n", "?!", "wqzx kjhgf pwmn", "\0\0", "12345"])
def test_nothing_readable_is_told_apart_from_vague(model: IntentModel, text: str) -> None:
    intent = model.understand(text, has_image=True)
    assert intent.route == "CLARIFY"
    assert intent.reason in (ClarifyReason.UNREADABLE, ClarifyReason.VAGUE)


@pytest.mark.parametrize("text", ["a" * 100_000, "🙂" * 3000, "\ud83d broken", "draw " * 2000, "'" * 4000, "1" * 4000])
def test_no_text_is_too_odd(model: IntentModel, text: str) -> None:
    start = time.perf_counter()
    intent = model.understand(text, has_image=True)
    assert intent.route in ("GENERATE", "EDIT", "CHAIN", "CLARIFY")
    assert 0 <= intent.confidence <= 1
    assert time.perf_counter() - start < 5


def test_a_long_prompt_is_kept_whole(model: IntentModel) -> None:
    goal = "draw a castle on a hill, " + ", ".join(f"tower number {n} with a flag" for n in range(60))
    intent = model.understand(goal, has_image=False)
    assert names(intent) == ["generate"]
    assert str(intent.slots["prompt"]).endswith("tower number 59 with a flag")


def test_below_its_threshold_it_asks_and_offers_what_it_read(model: IntentModel, tmp_path: Path) -> None:
    shipped = ModelRepository([MODELS]).open("diptych-intent").directory
    shutil.copy(shipped / "head.onnx", tmp_path)
    settings = json.loads((shipped / "intent.json").read_text()) | {"clarify_below": 1.0}
    (tmp_path / "intent.json").write_text(json.dumps(settings))
    wary = IntentModel.load(tmp_path, shipped)
    intent = wary.understand("crop it to a square", has_image=True)
    drawn = wary.understand("a lighthouse in a storm", has_image=False)
    wary.close()
    assert names(drawn) == ["generate"]  # without a picture nothing else could be done
    assert intent.route == "CLARIFY" and intent.reason is ClarifyReason.UNSURE and intent.operations == ()
    assert intent.alternatives[0].operations == model.understand("crop it to a square", has_image=True).operations


def test_threads_get_the_same_answers(model: IntentModel) -> None:
    goals = ["rotate it by 180 degrees", "a cat on a roof", "blur the background", "make it four times bigger"] * 4
    alone = [model.understand(goal, has_image=True) for goal in goals]
    together: list[Intent | None] = [None] * len(goals)

    def work(index: int) -> None:
        together[index] = model.understand(goals[index], has_image=True)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(goals))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_answers_within_a_frame_or_two(model: IntentModel) -> None:
    model.understand("warm up", has_image=True)
    times = []
    for text, has_image, _, _ in GOALS:
        start = time.thread_time()
        model.understand(text, has_image=has_image)
        times.append(time.thread_time() - start)
    assert statistics.median(times) < 0.03


def test_texts_read_together_are_read_as_alone(model: IntentModel) -> None:
    """But for the steps that the encoder's products are rounded to, which go by the range of a call."""
    texts = ["crop it", "remove the two cables above the old harbour gate", "etwas heller"]
    _, together = model._read(texts, True)
    for row, text in enumerate(texts):
        (features,), alone = model._read([text], True)
        size = len(features.ids)
        np.testing.assert_allclose(together["operations"][row], alone["operations"][0], atol=0.8)
        np.testing.assert_allclose(together["token_operations"][row, :size], alone["token_operations"][0], atol=0.8)


@pytest.mark.parametrize(
    ("goal", "reads"),
    [
        ("crop it to a square, then remove the bin", 1),  # each request has found its own operation
        ("crop it", 1),
        ("crop it, hmm, and the bin", 2),  # two requests of three are left
    ],
)
def test_requests_are_read_alone_only_where_one_may_be_hidden(
    model: IntentModel, monkeypatch: pytest.MonkeyPatch, goal: str, reads: int
) -> None:
    seen: list[list[str]] = []
    read = model._read
    monkeypatch.setattr(model, "_read", lambda texts, has_image: seen.append(texts) or read(texts, has_image))
    model.understand(goal, has_image=True)
    assert len(seen) == reads, seen
