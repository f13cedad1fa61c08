"""Pictures that guide a drawing: a reference for its look or subject, constraints for its structure."""

from dataclasses import dataclass
from typing import Literal, get_args

from diptych.errors import InvalidRequest
from diptych.inputs import PictureInput, to_message
from diptych.v1 import generator_pb2

__all__ = ["Constraint", "Reference"]

Role = Literal["style", "subject"]
Kind = Literal["edges", "depth", "pose"]


@dataclass(frozen=True)
class Reference:
    """A picture whose `role` is taken over, for models with an IP-Adapter; `scale` 0 to 2, 1 when left out."""

    picture: PictureInput
    role: Role = "style"
    scale: float | None = None

    def to_message(self, field: str) -> generator_pb2.ReferenceImage:
        """The message; `field` names it in an InvalidRequest."""
        role = _one_of(self.role, get_args(Role), f"{field}.role")
        return generator_pb2.ReferenceImage(
            image=to_message(self.picture, f"{field}.picture"),
            role=generator_pb2.ReferenceRole.Value(f"REFERENCE_ROLE_{role}"),
            scale=self.scale,
        )


@dataclass(frozen=True)
class Constraint:
    """A picture whose structure is kept, for models with a ControlNet; `scale` 0 to 2, 1 when left out.

    `kind`: "edges" of any picture, a "depth" map (near is bright), or a drawn "pose".
    """

    picture: PictureInput
    kind: Kind = "edges"
    scale: float | None = None

    def to_message(self, field: str) -> generator_pb2.ConstraintImage:
        """The message; `field` names it in an InvalidRequest."""
        kind = _one_of(self.kind, get_args(Kind), f"{field}.kind")
        return generator_pb2.ConstraintImage(
            image=to_message(self.picture, f"{field}.picture"),
            kind=generator_pb2.ConstraintKind.Value(f"CONSTRAINT_KIND_{kind}"),
            scale=self.scale,
        )


def _one_of(given: str, names: tuple[str, ...], field: str) -> str:
    if given not in names:
        raise InvalidRequest.single(field, f"is {given!r}; choose {', '.join(names)}")
    return given.upper()
