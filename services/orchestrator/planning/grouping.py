"""Which steps travel together: consecutive edits of one picture are one call to the editor.

Between two edits the picture then never leaves the editor, so a large one is neither copied nor held to the message
limit; progress and records still come for each step, since the editor reports each operation.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import action_of, taken_steps

# The editor's own limit on operations in one request.
MAX_EDITS = 32


@dataclass(frozen=True)
class Call:
    """One RPC's worth of steps: a single step, or edits each of the one before."""

    steps: tuple[v1.PlanStep, ...]

    @property
    def last(self) -> v1.PlanStep:
        """The step whose result is the call's."""
        return self.steps[-1]


def calls_of(steps: Sequence[v1.PlanStep]) -> list[Call]:
    """The steps as calls, in an order that respects their inputs."""
    takers = Counter(step_id for step in steps for step_id in taken_steps(step))
    groups: list[list[v1.PlanStep]] = []
    by_last: dict[str, list[v1.PlanStep]] = {}
    for step in steps:
        before = by_last.get(step.inputs[0].step_id) if step.inputs else None
        if before is not None and takers[before[-1].id] == 1 and _continues(step, before):
            before.append(step)
            by_last[step.id] = before
        else:
            by_last[step.id] = [step]
            groups.append(by_last[step.id])
    return [Call(tuple(group)) for group in groups]


def _continues(step: v1.PlanStep, before: Sequence[v1.PlanStep]) -> bool:
    # A second picture that another step still makes would hold up the edits before it: then they go ahead alone.
    ready = all(taken.WhichOneof("source") == "goal_image" for taken in step.inputs[1:])
    return action_of(step) == action_of(before[-1]) == "edit" and ready and len(before) < MAX_EDITS
