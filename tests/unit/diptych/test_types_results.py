"""Results: pictures as bytes, Pillow, numpy and files; values made from messages."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.errors import InvalidRequest, ServiceUnavailable, to_status
from diptych.events import PlanMade, StepFinished, StepPreview, event_from_message
from diptych.inputs import to_message
from diptych.plans import Plan
from diptych.types import EditResult, Marking, Picture, Record, format_of
from diptych.v1 import image_pb2, orchestrator_pb2


def written(mode: str, name: str = "PNG", color: tuple[int, ...] = (200, 30, 40)) -> bytes:
    target = io.BytesIO()
    Image.new(mode, (5, 4), color).save(target, name)
    return target.getvalue()


def test_a_picture_gives_its_pixels_in_every_form() -> None:
    rgba = Picture(written("RGBA", color=(200, 30, 40, 0)), "PNG", 5, 4)
    assert rgba.to_numpy().shape == (4, 5, 4)
    assert rgba.to_pil().mode == "RGBA"
    rgb = Picture(written("RGB"), "PNG", 5, 4)
    assert rgb.to_numpy().shape == (4, 5, 3)
    assert rgb.bytes == rgb.content


def test_raw_rows_are_a_picture_too(tmp_path: Path) -> None:
    rows = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    raw = Picture(rows.tobytes(), "RAW", 5, 4)
    assert np.array_equal(raw.to_numpy(), rows)
    raw.save(tmp_path / "raw.png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO((tmp_path / "raw.png").read_bytes()))), rows)


def test_bytes_of_the_asked_format_are_written_as_they_are(tmp_path: Path) -> None:
    content = written("RGB") + b"a trailer that an encoder would drop"
    assert Picture(content, "PNG", 5, 4).save(tmp_path / "a.PNG").read_bytes() == content


def test_another_format_is_encoded_and_alpha_laid_on_white(tmp_path: Path) -> None:
    clear = Picture(written("RGBA", color=(200, 30, 40, 0)), "PNG", 5, 4)
    clear.save(tmp_path / "a.jpg")
    flat = Image.open(io.BytesIO((tmp_path / "a.jpg").read_bytes()))
    assert flat.format == "JPEG"
    assert np.asarray(flat).min() > 250
    clear.save(tmp_path / "a.webp")
    assert Image.open(io.BytesIO((tmp_path / "a.webp").read_bytes())).mode == "RGBA"


def test_a_suffix_that_is_no_format_is_told() -> None:
    assert [format_of(name) for name in ("a.png", "b.JPG", "c.jpeg", "d.webp", "e.avif")] == [
        "PNG",
        "JPEG",
        "JPEG",
        "WEBP",
        "AVIF",
    ]
    with pytest.raises(InvalidRequest, match=r"must end in one of \.png"):
        format_of("a.gif")


def test_several_pictures_are_numbered(tmp_path: Path) -> None:
    one, two = (Picture(written("RGB"), "PNG", 5, 4, seed) for seed in (1, 2))
    marking = Marking("STANDARD_EDIT", ())
    assert EditResult((one,), (), marking).paths("x/a.png") == (Path("x/a.png"),)
    assert EditResult((one, two), (), marking).paths("x/a.png") == (Path("x/a-1.png"), Path("x/a-2.png"))
    with pytest.raises(LookupError, match="holds no picture"):
        _ = EditResult((), (), marking).image


def test_bytes_stay_out_of_what_is_printed() -> None:
    assert "content" not in repr(Picture(b"x" * 1000, "PNG", 5, 4))
    assert "message" not in repr(Plan.from_message(orchestrator_pb2.Plan()))


def test_a_record_speaks_in_seconds_and_short_names() -> None:
    message = image_pb2.StepRecord(step_id="2", service="editor", operation="upscale", width=8, height=6)
    message.models.add(name="span-x4", kind=image_pb2.MODEL_KIND_EDITING)
    message.timing.compute.FromMilliseconds(1500)
    message.effect.effect = image_pb2.EFFECT_NO_EFFECT
    record = Record.from_message(message)
    assert (record.models[0].kind, record.compute_seconds, record.effect) == ("EDITING", 1.5, "NO_EFFECT")


def test_a_plan_tells_what_was_asked_from_what_will_run() -> None:
    message = orchestrator_pb2.Plan(route=orchestrator_pb2.ROUTE_CHAIN)
    message.steps.add(id="1", service="generator", operation="generate")
    message.steps.add(id="2", service="editor", operation="replace_object").inputs.add(step_id="1")
    unread = Plan.from_message(message)
    assert (unread.reading.route, unread.reading.operations) == ("CHAIN", ("generate", "replace_object"))
    message.reading.route = orchestrator_pb2.ROUTE_EDIT
    message.reading.operations.append("replace_object")
    plan = Plan.from_message(message)
    assert (plan.route, plan.reading.route, plan.reading.operations) == ("CHAIN", "EDIT", ("replace_object",))
    assert plan.steps[1].inputs == ("step 1",)
    assert plan.clarification is None


def test_events_become_values() -> None:
    Event = orchestrator_pb2.GoalEvent
    assert isinstance(event_from_message(Event(plan=orchestrator_pb2.Plan())), PlanMade)
    image = image_pb2.Image(content=b"jpeg", format=image_pb2.IMAGE_FORMAT_JPEG, width=2, height=1)
    preview = event_from_message(Event(preview=orchestrator_pb2.StepPreview(step_id="1", image=image)))
    assert preview == StepPreview("1", Picture(b"jpeg", "JPEG", 2, 1))
    failure = to_status(ServiceUnavailable("editor", "is down"))
    ended = event_from_message(Event(step_completed=orchestrator_pb2.StepCompleted(step_id="1", failure=failure)))
    assert isinstance(ended, StepFinished)
    assert isinstance(ended.failure, ServiceUnavailable)
    assert event_from_message(Event(completed=orchestrator_pb2.GoalCompleted())) is None


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 5), np.float32), np.zeros((4, 5, 2), np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros(5, np.uint8)],
    ids=["floats", "two channels", "empty", "one row"],
)
def test_an_array_that_is_no_picture_is_told(array: np.ndarray) -> None:
    with pytest.raises(InvalidRequest, match="array") as bad:
        to_message(array, "images[1]")
    assert bad.value.violations[0].field == "images[1]"


def test_pillow_pictures_of_any_mode_are_sent() -> None:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
        sent = Image.open(io.BytesIO(to_message(Image.new(mode, (5, 4))).content))
        assert (sent.format, sent.size) == ("PNG", (5, 4))


def test_what_is_no_picture_at_all_is_told(tmp_path: Path) -> None:
    for source, expected in ((7, "not int"), (tmp_path, "is a directory"), ("gone.png", "there is no file")):
        with pytest.raises(InvalidRequest, match=expected):
            to_message(source)  # type: ignore[arg-type]
