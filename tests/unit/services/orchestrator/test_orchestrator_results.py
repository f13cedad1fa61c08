import pytest

from diptych.errors import FieldViolation, InvalidRequest, Unsupported
from diptych.v1 import image_pb2 as image
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.running.busy import busy_seconds
from services.orchestrator.running.failures import failing_step, name_step
from services.orchestrator.running.marking import marking_verdict
from services.orchestrator.running.watch import StepWatch


def record(step_id: str, *kinds: image.ModelKind.ValueType) -> image.StepRecord:
    return image.StepRecord(step_id=step_id, models=[image.ModelRef(kind=kind) for kind in kinds])


DRAWN = record("1", image.MODEL_KIND_ANALYSIS, image.MODEL_KIND_GENERATIVE)
CUT = record("2", image.MODEL_KIND_EDITING)
TURNED = record("3", image.MODEL_KIND_ALGORITHM)
GIVEN = image.MARKING_STANDARD_EDIT


def test_what_a_generative_model_drew_alone_is_generated() -> None:
    verdict = marking_verdict([DRAWN, CUT, TURNED], [])
    assert (verdict.marking, list(verdict.step_ids)) == (image.MARKING_GENERATED, ["1"])


def test_drawn_into_a_given_picture_it_is_partly_generated() -> None:
    verdict = marking_verdict([CUT, DRAWN, DRAWN], [GIVEN])
    assert (verdict.marking, list(verdict.step_ids)) == (image.MARKING_PARTLY_GENERATED, ["1"])


def test_without_a_generative_model_it_is_an_edit() -> None:
    verdict = marking_verdict([CUT, TURNED], [GIVEN])
    assert (verdict.marking, list(verdict.step_ids)) == (image.MARKING_STANDARD_EDIT, [])


def test_what_was_drawn_before_stays_generated() -> None:
    assert marking_verdict([CUT], [image.MARKING_GENERATED]).marking == image.MARKING_GENERATED
    assert marking_verdict([CUT], [image.MARKING_GENERATED, GIVEN]).marking == image.MARKING_PARTLY_GENERATED
    assert marking_verdict([DRAWN], [image.MARKING_PARTLY_GENERATED]).marking == image.MARKING_PARTLY_GENERATED


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(0, 2), (3, 5)], 4),
        ([(0, 3), (1, 2)], 3),
        ([(1, 4), (0, 2)], 4),
    ],
)
def test_busy_time_counts_no_moment_twice(spans: list[tuple[float, float]], seconds: float) -> None:
    assert busy_seconds(spans) == seconds


STEPS = [v1.PlanStep(id=name, edit={"denoise": {}}) for name in "abc"]


def test_the_failing_step_is_the_one_that_the_editor_names() -> None:
    refusal = "spec.operations[2].deblur: not served here; spec.operations[1].denoise: neither"
    assert failing_step(Unsupported(refusal), STEPS, 0).id == "b"
    fault = InvalidRequest.single("spec.operations[1].denoise.strength", "too much")
    assert failing_step(fault, STEPS, 0).id == "b"


def test_else_it_is_the_first_that_has_not_ended() -> None:
    assert failing_step(Unsupported("no"), STEPS, 1).id == "b"
    assert failing_step(Unsupported("no"), STEPS, 3).id == "c"
    assert failing_step(Unsupported("spec.operations[9].denoise"), STEPS, 0).id == "c"


def test_an_error_keeps_what_it_says_and_gains_its_step() -> None:
    faults = [FieldViolation("spec.image.content", "no picture"), FieldViolation("spec.imagery", "else")]
    error = name_step(InvalidRequest(faults, reason="BAD"), STEPS[0], {"spec.image": "goal.images[0].image"})
    assert isinstance(error, InvalidRequest)
    assert error.reason == "BAD"
    assert error.metadata == {"step_id": "a", "operation": "denoise", "service": "editor"}
    assert [fault.field for fault in error.violations] == ["goal.images[0].image.content", "step a: imagery"]


async def test_a_step_of_two_pictures_begins_once_and_ends_with_the_last() -> None:
    events: list[v1.GoalEvent] = []

    async def emit(event: v1.GoalEvent) -> None:
        events.append(event)

    watch = StepWatch(STEPS[0], 2, emit)
    await watch.progress(1, 0.5)
    await watch.progress(1, 0.25)
    await watch.end(1, image.StepRecord(width=2))
    assert not watch.has_ended(0)
    await watch.progress(0, 2.0)
    await watch.end(0, image.StepRecord(width=1))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["step_started", "progress", "progress", "progress", "step_completed"]
    assert [event.progress.fraction for event in events[1:4]] == [0.25, 0.25, 0.75]
    assert [(r.step_id, r.width) for r in events[-1].step_completed.records] == [("a", 1), ("a", 2)]
