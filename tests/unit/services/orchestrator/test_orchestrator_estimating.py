from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.images import to_message
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.memory.estimating import Estimator, size_of
from services.orchestrator.memory.history import History
from services.orchestrator.memory.store import Store
from services.orchestrator.planning.plan import seal
from services.orchestrator.planning.timing import CallTimed, amount_of, kind_of, size_after


def history(*pairs: tuple[float, float]) -> History:
    made = History(Store(None))
    for amount, seconds in pairs:
        made.add("k", amount, seconds)
    return made


def test_nothing_is_told_of_what_was_never_measured() -> None:
    assert history().seconds("k", 1) is None


def test_time_grows_along_a_line_and_a_cold_start_spoils_nothing() -> None:
    told = history((1, 9.0), (1, 1.2), (2, 2.2), (4, 4.2), (8, 8.2))
    assert told.seconds("k", 3) == pytest.approx(3.2, rel=0.15) and told.seconds("k", 16) == pytest.approx(
        16.2, rel=0.15
    )


def test_of_one_amount_it_is_the_middle_and_else_in_proportion() -> None:
    told = history((2, 3.0), (2, 1.0), (2, 1.1))
    assert told.seconds("k", 2) == pytest.approx(1.1) and told.seconds("k", 4) == pytest.approx(2.2)


def test_a_new_measurement_counts_at_once() -> None:
    told = history((2, 1.0))
    assert told.seconds("k", 2) == pytest.approx(1.0)
    told.add("k", 2, 3.0)
    assert told.seconds("k", 2) == pytest.approx(2.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-4, 1e3)), min_size=1, max_size=40), st.floats(1e-3, 1e3))
def test_an_estimate_is_a_time_that_never_falls_as_work_grows(pairs: list[tuple[float, float]], amount: float) -> None:
    told = history(*pairs)
    less, more = told.seconds("k", amount), told.seconds("k", amount * 2)
    assert less is not None and more is not None and 0 <= less <= more * (1 + 1e-9) < float("inf")


def test_it_is_on_disk_and_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = History(store)
    for number in range(100):
        first.add("k", 1, number, (5, 6))
    first.save()
    assert store.rows("select count(*) from measured") == [(32,)]
    store.close()
    again = History(Store(tmp_path))
    assert again.seconds("k", 1) == first.seconds("k", 1) == 83.5 and again.size("k") == (5, 6)


def step(text: str, **inputs: object) -> v1.PlanStep:
    from google.protobuf import text_format

    return text_format.Parse(text, v1.PlanStep(**inputs))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edit", "size"),
    [
        ("upscale { scale: 4 }", (400, 200)), ("upscale { width: 150 }", (150, 75)),
        ("crop { aspect: '1:1' }", (50, 50)),
        ("resize { width: 10 }", (10, 5)), ("resize { scale: 0.5 }", (50, 25)),
        ("extend { aspect: '1:1' }", (100, 100)),
        ("extend { left: 7 }", (107, 50)), ("rotate { angle: -90 }", (50, 100)), ("denoise {}", (100, 50)),
    ],
)  # fmt: skip
def test_sizes_are_known_before(edit: str, size: tuple[int, int]) -> None:
    assert size_after(step(f"edit {{ {edit} }}"), (100, 50)) == size


def test_work_of_one_kind_is_told_from_another() -> None:
    texts = [
        'generate { model: "a" }', 'generate { model: "b" }', "generate { num_inference_steps: 3 }",
        "edit { upscale { scale: 2 } }", "edit { upscale { scale: 4 } }",
        "edit { replace_background { color: '#ffffff' } }",
        "edit { replace_background { image {} } }", "edit { denoise {} selection { mask {} } }", "edit { denoise {} }",
        "analyze { kinds: ANALYSIS_KIND_FACES }", "analyze {}",
        "edit { color_correct { color: '#0000ff' } }", "edit { color_correct { grayscale: true } }",
        "edit { color_correct { saturation: 0.3 contrast: 0.2 } }", "edit { color_correct { contrast: 0.2 } }",
    ]  # fmt: skip
    assert len({kind_of(step(text)) for text in texts}) == len(texts)
    alike = ["edit { color_correct { contrast: 0.2 } }", "edit { color_correct { brightness: 0.1 temperature: 0.4 } }"]
    assert len({kind_of(step(text)) for text in alike}) == 1
    assert amount_of(step("generate { num_images: 2 num_inference_steps: 5 }"), None) == 10


def test_the_whole_is_as_long_as_its_slowest_path() -> None:
    kept = History(Store(None))
    for kind, seconds in (("denoise", 1.0), ("deblur", 5.0), ("match_style", 2.0)):
        kept.add(f"editor/{kind}/default" if kind != "match_style" else "editor/match_style/default", 1.0, seconds)
    plan = v1.Plan()
    for number, name in enumerate(("denoise", "deblur"), start=1):
        plan.steps.add(id=str(number), inputs=[v1.StepInput(goal_image=number - 1)], edit={name: {}})
    plan.steps.add(id="3", edit={"match_style": {"reference": {}}}, inputs=[{"step_id": "1"}, {"step_id": "2"}])
    Estimator(kept).fill(seal(plan), [(1000, 1000), (1000, 1000)])
    assert [one.estimated.ToSeconds() for one in plan.steps] == [1, 5, 2]
    assert plan.estimated.ToSeconds() == 7


def test_what_a_call_takes_beside_its_steps_is_learnt_too() -> None:
    kept = History(Store(None))
    record = image_pb2.StepRecord(width=1000, height=1000)
    record.timing.total.FromSeconds(2)
    record.timing.queue.FromSeconds(1)
    denoise = step("id: '1' edit { denoise {} }", inputs=[v1.StepInput(goal_image=0)])
    given = image_pb2.Image(width=1000, height=1000)
    Estimator(kept).learn(CallTimed((denoise,), [given], [record], image_pb2.IMAGE_FORMAT_PNG, 2.5))
    plan = seal(v1.Plan(steps=[denoise], output={"format": image_pb2.IMAGE_FORMAT_PNG}))
    Estimator(kept).fill(plan, [(1000, 1000)])
    assert plan.steps[0].estimated.ToSeconds() == 1 and plan.estimated.ToMilliseconds() == 1500


def test_the_size_of_a_file_is_in_its_head() -> None:
    file = to_message(np.zeros((7, 5, 3), np.uint8), image_pb2.IMAGE_FORMAT_PNG)
    assert size_of(image_pb2.Image(content=file.content)) == (5, 7)
    assert size_of(image_pb2.Image(content=b"no picture")) is None
