"""What became of each of the goal's pictures, when several were treated each on its own."""

from collections.abc import Mapping, Sequence

from diptych.errors import DiptychError, to_status
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import last_steps
from services.orchestrator.running.peers import Made


def origins(steps: Sequence[v1.PlanStep]) -> dict[str, int]:
    """For each of the plan's last steps the goal's picture that it works on; empty unless several are, each alone.

    What a step works on is its first input; others (a background, a mask) are laid into that one.
    """
    began: dict[str, int | None] = {}
    for step in steps:
        first = step.inputs[0] if step.inputs else v1.StepInput()
        source = first.WhichOneof("source")
        began[step.id] = (
            began[first.step_id] if source == "step_id" else first.goal_image if source == "goal_image" else None
        )
    ends = {step.id: began[step.id] for step in last_steps(steps)}
    known = {step_id: image for step_id, image in ends.items() if image is not None}
    return known if len(known) == len(ends) and len(set(known.values())) > 1 else {}


def outcomes(ends: Mapping[str, int], made: Mapping[str, list[Made] | DiptychError]) -> list[v1.ImageOutcome]:
    """One outcome for each of the goal's pictures, in order; results are counted in the order of `ends`."""
    found: dict[int, v1.ImageOutcome] = {}
    images = videos = 0
    for step_id, image in ends.items():
        outcome = found.setdefault(image, v1.ImageOutcome(goal_image=image))
        result = made[step_id]
        if isinstance(result, DiptychError):
            outcome.failure.CopyFrom(to_status(result))
            continue
        for one in result:
            outcome.images.extend(range(images, images + len(one.pictures)))
            outcome.videos.extend(range(videos, videos + len(one.videos)))
            images, videos = images + len(one.pictures), videos + len(one.videos)
    return [found[image] for image in sorted(found)]
