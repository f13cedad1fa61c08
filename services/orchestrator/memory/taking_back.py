"""The plan for "undo that": the picture as it was before. Pure."""

from collections.abc import Sequence

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.intent import Intent
from services.orchestrator.memory.conversations import Turn
from services.orchestrator.memory.followup import FollowUp, intended
from services.orchestrator.planning.known import Known
from services.orchestrator.planning.plan import seal, unchanged
from services.orchestrator.planning.planner import plan_goal, written


def picture_before(follow: FollowUp, last: Turn, known: Known) -> v1.Plan:
    """A plan that gives the pictures from before the last turn; a question when there were none."""
    if follow.takes:
        return _passed_on(follow.takes, follow.why, known)
    plan = v1.Plan(
        confidence=1.0, why="Guessing would be worse than asking.", reading=v1.Reading(route=v1.ROUTE_CLARIFY)
    )
    plan.clarification.question = "Before that there was no picture. What should be done?"
    kept = _passed_on(last.gives, "It stays as it is.", known)
    plan.clarification.options.add(label="Keep the picture as it is", plan=kept)
    again = Intent("GENERATE", intended(last.operations), {}, 1.0, (), None)
    plan.clarification.options.add(label="Draw it anew", plan=plan_goal(last.goal, again, 0, known))
    return seal(plan)


def _passed_on(pictures: Sequence[str], why: str, known: Known) -> v1.Plan:
    plan = v1.Plan(confidence=1.0, why=why, output=written((), known), reading=v1.Reading(route=v1.ROUTE_EDIT))
    for number, sha in enumerate(pictures, start=1):
        step = plan.steps.add(id=str(number), inputs=[v1.StepInput(stored_sha256=sha)])
        step.edit.CopyFrom(unchanged())
        step.reason = "Gives the picture as it was, unchanged."
    return seal(plan)
