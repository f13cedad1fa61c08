"""Numbers of enums that the contract does not know."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from diptych.errors import FieldViolation


def unknown_enums(message: Message, path: str = "") -> list[FieldViolation]:
    """Every enum field of `message`, however deep, whose number the contract does not know."""
    faults = []
    for field, value in message.ListFields():
        at = f"{path}.{field.name}" if path else field.name
        if field.enum_type is not None:
            known = field.enum_type.values_by_number
            faults += [
                FieldViolation(where, f"{number} is none of {', '.join(sorted(field.enum_type.values_by_name))}")
                for where, number in _entries(field, value, at)
                if number not in known
            ]
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for where, inner in _entries(field, value, at):
                faults += unknown_enums(inner, where)
    return faults


def _entries(field: FieldDescriptor, value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if field.is_repeated:
        yield from ((f"{at}[{index}]", one) for index, one in enumerate(value))
    else:
        yield at, value
