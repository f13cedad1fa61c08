"""Seeds of a plan: one for the whole, from which each step that draws has its own."""

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import GENERATOR, action_of, service_of

# Picture i of a step uses seed + i, and there are at most so many.
_APART = 16
_SEEDS = 2**64


def settle_seeds(plan: v1.Plan, seed: int | None) -> None:
    """Gives every step that draws a seed of its own, where it has none; without a seed nothing is settled."""
    drawing = [step for step in plan.steps if service_of(step) == GENERATOR]
    if seed is None or not drawing:
        return
    plan.seed = seed
    for number, step in enumerate(drawing):
        own = (seed + number * _APART) % _SEEDS
        if action_of(step) == "animate_latents":
            for place, keyframe in enumerate(step.animate_latents.keyframes):
                if not keyframe.HasField("seed"):
                    keyframe.seed = (own + place) % _SEEDS
        elif not (spec := getattr(step, action_of(step))).HasField("seed"):
            spec.seed = own
