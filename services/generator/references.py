"""Reference pictures: whose style or subject the drawing takes."""

import math

from diptych.diffusion.references import Reference
from diptych.errors import FieldViolation, InvalidRequest
from diptych.images import ImageLimits, flatten, from_message
from diptych.v1 import generator_pb2

_ROLES = (generator_pb2.REFERENCE_ROLE_STYLE, generator_pb2.REFERENCE_ROLE_SUBJECT)
_MOST_SCALE = 2.0


def read_reference(
    spec: generator_pb2.GenerationSpec, limits: ImageLimits, faults: list[FieldViolation]
) -> Reference | None:
    """The reference picture, None without one; faults are added to `faults`."""
    if not spec.references:
        return None
    if len(spec.references) > 1:
        fault = f"has {len(spec.references)} pictures; an IP-Adapter takes one, choose one"
        faults.append(FieldViolation("spec.references", fault))
    first, field = spec.references[0], "spec.references[0]"
    if first.role not in _ROLES:
        faults.append(FieldViolation(f"{field}.role", f"is {first.role}; choose STYLE or SUBJECT"))
    scale = float(first.scale) if first.HasField("scale") else 1.0
    if not (math.isfinite(scale) and 0 <= scale <= _MOST_SCALE):
        faults.append(FieldViolation(f"{field}.scale", f"is {scale:g}; give 0 to {_MOST_SCALE:g}"))
    try:
        pixels = flatten(from_message(first.image, field=f"{field}.image", limits=limits))
    except InvalidRequest as error:
        faults.extend(error.violations)
        return None
    return Reference(pixels, round(scale, 6), style=first.role == generator_pb2.REFERENCE_ROLE_STYLE)
