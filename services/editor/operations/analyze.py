"""Looks and passes the picture on; the findings are in the step record."""

from typing import TypeAlias

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.seeing.looking import kind_name, kinds_to_find, look, read_kinds

Kinds: TypeAlias = tuple[editor_pb2.AnalysisKind.ValueType, ...]


def read(message: editor_pb2.Analyze, faults: Faults) -> Kinds:
    """What to look for; empty for everything."""
    return read_kinds(message.kinds, faults / "kinds")


async def apply(image: Pixels, parameters: Kinds, context: EditContext) -> Pixels:
    """The same picture. Findings go into the record, by the field names of `Analysis`."""
    kinds = await kinds_to_find(parameters, context.models)
    found = await look(image, kinds, context)
    looked = {kind_name(kind) for kind in kinds}
    context.note(has_transparency=found.has_transparency)
    for name in looked & {"lighting", "quality"}:
        context.note(**{name: _json(getattr(found, name))})
    if "palette" in looked:
        context.note(palette=", ".join(f"{color.color} {color.name} {color.fraction:.3f}" for color in found.palette))
    for kind in looked & {"faces", "objects", "text"}:
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
