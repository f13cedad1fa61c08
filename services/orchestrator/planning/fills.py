"""New pixels inside a picture: a part is selected, the generator draws it anew, the editor blends it in.

The generator sees the whole picture at its own size; only what was to be redrawn comes back, stretched to the picture.
"""

import re
from collections.abc import Callable
from typing import Protocol

from diptych.v1 import editor_pb2, generator_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning import slots as fill
from services.orchestrator.planning.wanted import Wanted

Input = v1.StepInput

_WITH = re.compile(r"\b(?:with|by|mit|avec|con)\s+(?:more\s+|mehr\s+|plus de\s+|más\s+)?(.{2,})", re.IGNORECASE)
_FEATHER = 3.0


class Steps(Protocol):
    """Where steps are written."""

    def add(self, operation: Wanted, step: v1.PlanStep, inputs: list[Input | None], note: str = "") -> Input:
        """Writes a step."""


Fill = Callable[[Steps, Wanted, Input], Input]


NOT_INSIDE = "No model here draws inside photographs (all of them draw smaller than 512 px), so it is done without."


def fill_of(operation: Wanted) -> Fill | None:
    """How the operation is done with new pixels inside the picture; None when it is not."""
    if operation.name == "replace_object" and fill.words(operation.slots, "object"):
        return _replaced
    if operation.name == "extend" and _continuation(operation):
        return _extended
    return None


def _continuation(operation: Wanted) -> str:
    """What the new canvas shall show, in the goal's words."""
    match = _WITH.search(operation.clause)
    return match[1].strip(" .!?") if match else ""


def _replaced(steps: Steps, operation: Wanted, picture: Input) -> Input:
    prompt = fill.words(operation.slots, "replacement") or operation.clause
    selection = editor_pb2.Selection(label=fill.words(operation.slots, "object"))
    step = v1.PlanStep(select=v1.SelectRegionStep(selection=selection))
    mask = steps.add(operation, step, [picture])
    return _inpainted(steps, operation, picture, mask, prompt)


def _extended(steps: Steps, operation: Wanted, picture: Input) -> Input:
    """More canvas, mirrored first so that the generator begins with fitting colours; the mask is made the same way."""
    grown = fill.edit("extend", operation.slots)
    larger = steps.add(operation, v1.PlanStep(edit=grown), [picture])
    black = editor_pb2.Operation()
    black.color_correct.exposure, black.color_correct.brightness, black.color_correct.grayscale = -5, -1, True
    note = "The old picture becomes the black of a mask, which is kept as it is."
    dark = steps.add(Wanted("color_correct"), v1.PlanStep(edit=black), [picture], note)
    white = editor_pb2.Operation()
    white.CopyFrom(grown)
    white.extend.mode, white.extend.color = editor_pb2.EXTEND_MODE_COLOR, "#ffffff"
    mask = steps.add(Wanted("extend"), v1.PlanStep(edit=white), [dark], "The new canvas becomes its white.")
    return _inpainted(steps, operation, larger, mask, _continuation(operation))


def _inpainted(steps: Steps, operation: Wanted, picture: Input, mask: Input, prompt: str) -> Input:
    spec = generator_pb2.GenerationSpec(prompt=fill.clipped(prompt), strength=1.0)
    drawn = steps.add(operation, v1.PlanStep(vary=spec), [picture, mask], "Only the selected part is drawn anew.")
    blend = editor_pb2.Operation()
    blend.composite.stretch = True
    blend.composite.overlay.SetInParent()
    blend.selection.mask.SetInParent()
    blend.selection.feather = _FEATHER
    note = "Outside the selection the picture stays as it was."
    return steps.add(operation, v1.PlanStep(edit=blend), [picture, drawn, mask], note)
