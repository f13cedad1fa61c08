"""Constraint pictures: what a model's ControlNets look at. Edges are found here; depth and pose come as pictures."""

import math
from collections.abc import Collection

import cv2
import numpy as np

from diptych.diffusion.row import Control
from diptych.errors import FieldViolation, InvalidRequest, Unsupported
from diptych.images import ImageLimits, Pixels, flatten, from_message
from diptych.v1 import generator_pb2

_KINDS = {
    generator_pb2.CONSTRAINT_KIND_EDGES: "edges",
    generator_pb2.CONSTRAINT_KIND_DEPTH: "depth",
    generator_pb2.CONSTRAINT_KIND_POSE: "pose",
}
_MOST_SCALE = 2.0
# Canny's thresholds as the ControlNets for edges were trained with them.
_WEAK, _STRONG = 100, 200


def read_constraints(
    spec: generator_pb2.GenerationSpec, served: Collection[str], limits: ImageLimits, faults: list[FieldViolation]
) -> tuple[Control, ...]:
    """The constraint pictures in their own size, ready for the ControlNets; faults are added to `faults`.

    Unsupported when the model has no ControlNet for one of them.
    """
    controls = []
    for index, constraint in enumerate(spec.constraints):
        field = f"spec.constraints[{index}]"
        kind = _KINDS.get(constraint.kind)
        if kind is None:
            faults.append(FieldViolation(f"{field}.kind", f"is {constraint.kind}; choose EDGES, DEPTH or POSE"))
            continue
        if kind not in served:
            raise Unsupported(f"the model keeps no {kind}; it keeps {', '.join(sorted(served))}")
        scale = float(constraint.scale) if constraint.HasField("scale") else 1.0
        if not (math.isfinite(scale) and 0 <= scale <= _MOST_SCALE):
            faults.append(FieldViolation(f"{field}.scale", f"is {scale:g}; give 0 to {_MOST_SCALE:g}"))
        try:
            pixels = flatten(from_message(constraint.image, field=f"{field}.image", limits=limits))
        except InvalidRequest as error:
            faults.extend(error.violations)
            continue
        controls.append(Control(kind, pixels, round(scale, 6)))
    return tuple(controls)


def fit(control: Control, size: tuple[int, int]) -> Control:
    """The same for a picture of `size` (width, height)."""
    pixels = control.pixels
    if (pixels.shape[1], pixels.shape[0]) != size:
        shrinks = pixels.shape[1] > size[0]
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))
    return Control(control.kind, edges(pixels) if control.kind == "edges" else pixels, control.scale)


def edges(pixels: Pixels) -> Pixels:
    """(H, W, 3) uint8: white lines on black where the picture has edges (Canny 1986)."""
    lines = cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), _WEAK, _STRONG)
    return np.repeat(np.asarray(lines)[..., np.newaxis], 3, axis=2).astype(np.uint8)
