"""Several pictures side by side in one: each brought to a cell, the cells laid on a white ground."""

import math
from collections.abc import Sequence
from typing import Protocol

from diptych.v1 import editor_pb2, image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.wanted import Wanted

Input = v1.StepInput

# Pixels: a cell's side, and what lies between cells and around them.
_CELL, _GAP = 640, 20
_GROUND = "#ffffff"


class Steps(Protocol):
    """Where steps are written."""

    def add(self, operation: Wanted, step: v1.PlanStep, inputs: Sequence[Input | None], note: str = "") -> Input:
        """Writes a step."""


def grid_of(count: int) -> tuple[int, int]:
    """Columns and rows for so many pictures: up to three in a row, then as square as can be."""
    columns = count if count <= 3 else math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def lay_out(steps: Steps, operation: Wanted, pictures: Sequence[Input]) -> Input:
    """The picture of all pictures, in their order."""
    columns, rows = grid_of(len(pictures))
    cells = [_cell(steps, operation, picture) for picture in pictures]
    ground = editor_pb2.Extend(left=_GAP, top=_GAP, mode=editor_pb2.EXTEND_MODE_COLOR, color=_GROUND)
    ground.right, ground.bottom = (count * (_CELL + _GAP) - _CELL for count in (columns, rows))
    note = f"The ground of {columns} by {rows} pictures, with the first one on it."
    sheet = steps.add(operation, v1.PlanStep(edit=editor_pb2.Operation(extend=ground)), [cells[0]], note)
    for number, cell in enumerate(cells[1:], start=1):
        left, top = (_GAP + place * (_CELL + _GAP) for place in (number % columns, number // columns))
        laid = editor_pb2.Composite(position=image_pb2.Point(x=left, y=top), overlay=image_pb2.Image())
        sheet = steps.add(operation, v1.PlanStep(edit=editor_pb2.Operation(composite=laid)), [sheet, cell])
    return sheet


def _cell(steps: Steps, operation: Wanted, picture: Input) -> Input:
    size = editor_pb2.Resize(width=_CELL, height=_CELL)
    asked = operation.with_slots(width=_CELL, height=_CELL)
    return steps.add(asked, v1.PlanStep(edit=editor_pb2.Operation(resize=size)), [picture], "One cell of it.")
