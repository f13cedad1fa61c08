"""What a language model may answer, as JSON Schema written from the contract's own descriptors."""

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from diptych.v1 import orchestrator_pb2 as v1

Schema = dict[str, Any]

# Where pictures come from, and how results are written, is not for a step to say.
_LEFT_OUT = frozenset({"output", "references", "constraints", "init_image", "mask_image"})
_STEP_FIELDS = ("id", "inputs", "reason", "only_if")
_NUMBERS = {
    FieldDescriptor.CPPTYPE_FLOAT: "number",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_STRING: "string",
}
FORMATS = ("png", "jpeg", "webp", "avif")


@cache
def answer_schema() -> Schema:
    """Either steps, or one question with two to four options."""
    steps = {"type": "array", "items": {"anyOf": _steps()}}
    option = _object({"label": {"type": "string"}, "steps": steps}, "label", "steps")
    return _object(
        {
            "why": {"type": "string"},
            "steps": steps,
            "format": {"type": "string", "enum": list(FORMATS)},
            "max_bytes": {"type": "integer", "minimum": 1},
            "question": {"type": "string"},
            "options": {"type": "array", "items": option, "maxItems": 4},
        },
        "why",
    )


def _steps() -> list[Schema]:
    descriptor = v1.PlanStep.DESCRIPTOR
    shared = {name: _field(descriptor.fields_by_name[name]) for name in _STEP_FIELDS}
    return [
        _object({**shared, action.name: _message(action.message_type)}, "id", "inputs", "reason", action.name)
        for action in descriptor.oneofs_by_name["action"].fields
    ]


def _message(descriptor: Descriptor | None) -> Schema:
    assert descriptor is not None
    if descriptor.full_name == "google.protobuf.Duration":
        return {"type": "string", "pattern": r"^\d+(\.\d+)?s$"}
    if descriptor.full_name == "diptych.v1.Image":
        return {"type": "object", "additionalProperties": False}
    return _object({field.name: _field(field) for field in descriptor.fields if field.name not in _LEFT_OUT})


def _field(field: FieldDescriptor) -> Schema:
    if field.message_type is not None:
        schema = _message(field.message_type)
    elif field.enum_type is not None:
        schema = _names(field.enum_type)
    else:
        schema = {"type": _NUMBERS.get(field.cpp_type, "integer")}
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _names(enum: EnumDescriptor) -> Schema:
    return {"type": "string", "enum": [value.name for value in enum.values if value.number]}


def _object(properties: Schema, *required: str) -> Schema:
    return {
        "type": "object", "properties": properties, "required": list(required), "additionalProperties": False
    }  # fmt: skip
