"""Looks and passes the picture on; the findings are in the step record."""

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.looking import kinds_to_find, look


def read(message: editor_pb2.Analyze, faults: Faults) -> None:
    """Nothing: there are no parameters."""


async def apply(image: Pixels, parameters: None, context: EditContext) -> Pixels:
    """The same picture. Findings go into the record, by the field names of `Analysis`."""
    found = await look(image, await kinds_to_find((), context.models), context)
    context.note(has_transparency=found.has_transparency, lighting=_json(found.lighting), quality=_json(found.quality))
    context.note(palette=", ".join(f"{color.color} {color.name} {color.fraction:.3f}" for color in found.palette))
    for kind in ("faces", "objects", "text"):
        context.note(**{kind: ", ".join(_told(one) for one in getattr(found, kind))})
    if found.safety:
        context.note(safety=", ".join(f"{name} {score:.3f}" for name, score in sorted(found.safety.items())))
    return image


def _told(found: editor_pb2.Detection) -> str:
    box = found.box
    return f"{found.label} {found.score:.2f} at {box.x}/{box.y}/{box.width}/{box.height}"


def _json(message: Message) -> str:
    return MessageToJson(
        message, indent=None, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
