"""Edits written as text, `upscale:scale=4`, made into typed `v1.Operation` messages.

    NAME[:key=value,...]        crop:box=10/20/200/100      crop:aspect=1:1      rotate:angle=90,expand=false
    remove_background           replace_background:image=beach.jpg             color_correct:auto
    key without value           true, for keys that are true or false
    enum                        its short lower-case name: resize:width=400,height=400,fit=contain
    box, point, gradient        their fields with slashes: x/y/width/height, x/y, #start/#end/angle
    several                     with slashes too: analyze:kinds=lighting/palette
    trim                        left/top/right/bottom, then true for shares: crop:trim=0/0/0/0.1/true
    picture                     a file
    selection=                  box:x/y/w/h, point:x/y, label:dog, subject, or a mask file; then selection.feather=4

Everything is read from the proto's descriptors, so a new operation is known here as soon as the contract knows it.
"""

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from diptych.errors import FieldViolation, InvalidRequest
from diptych.inputs import PictureInput, read_picture, to_message
from diptych.v1 import editor_pb2, image_pb2

_OPERATION = editor_pb2.Operation.DESCRIPTOR
NAMES: tuple[str, ...] = tuple(one.name for one in _OPERATION.oneofs_by_name["operation"].fields)

Value: TypeAlias = str | bool | int | float | PictureInput
OperationInput: TypeAlias = str | editor_pb2.Operation

_WHOLE = {FieldDescriptor.TYPE_UINT32: 2**32 - 1, FieldDescriptor.TYPE_UINT64: 2**64 - 1}
_KEY = re.compile(r"[a-z][a-z0-9_.]*")
_TRUTH = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


class _Fault(Exception):
    """What is wrong with one value, in words."""


def operation(name: str, **values: Value) -> editor_pb2.Operation:
    """The operation with these fields: `operation("upscale", scale=4)`. InvalidRequest with all faults."""
    return _build(name, list(values.items()))


def parse_operation(text: str) -> editor_pb2.Operation:
    """The operation that a text writes. InvalidRequest names every faulty key and says what exists."""
    name, _, rest = text.strip().partition(":")
    return _build(name.strip(), _pairs(name.strip(), rest))


def to_operations(given: Iterable[OperationInput] | OperationInput) -> list[editor_pb2.Operation]:
    """Operations from texts, messages, or both. InvalidRequest holds the faults of all of them."""
    made: list[editor_pb2.Operation] = []
    faults: list[FieldViolation] = []
    for one in [given] if isinstance(given, str | editor_pb2.Operation) else given:
        try:
            made.append(parse_operation(one) if isinstance(one, str) else one)
        except InvalidRequest as error:
            faults += error.violations
    if faults:
        raise InvalidRequest(faults)
    return made


def _pairs(name: str, text: str) -> Iterable[tuple[str, str]]:
    """Keys and values. A part without `=` is a key that is true if there is such a key, else more of the last value."""
    pairs: list[tuple[str, str]] = []
    for part in text.split(",") if text else []:
        key, sign, value = part.partition("=")
        if _KEY.fullmatch(key.strip()) and (sign or not pairs or _has_key(name, key.strip())):
            pairs.append((key.strip(), value.strip() if sign else "true"))
        elif pairs:
            # "selection=label:dog, cat", or a file with a comma in its name.
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]},{part}")
        else:
            pairs.append((part.strip(), ""))
    return pairs


def _has_key(name: str, key: str) -> bool:
    kind = _OPERATION.fields_by_name[name].message_type if name in NAMES else None
    return key.partition(".")[0] == "selection" or (kind is not None and key in kind.fields_by_name)


def _build(name: str, pairs: Iterable[tuple[str, Value]]) -> editor_pb2.Operation:
    if name not in NAMES:
        raise InvalidRequest.single("operations", f"{name!r} is no operation; {_advice(name, NAMES)}")
    message = editor_pb2.Operation()
    params: Message = getattr(message, name)
    params.SetInParent()
    faults: list[FieldViolation] = []
    seen: set[str] = set()
    for key, value in pairs:
        try:
            if key in seen:
                raise _Fault("is given twice")
            seen.add(key)
            if key.partition(".")[0] == "selection" and "selection" not in params.DESCRIPTOR.fields_by_name:
                _set_selection(message.selection, key.partition(".")[2], value)
            else:
                _set(params, key, value)
        except _Fault as fault:
            faults.append(FieldViolation(f"{name}.{key}", str(fault)))
        except InvalidRequest as error:
            faults += [FieldViolation(f"{name}.{key}", one.description) for one in error.violations]
    if faults:
        raise InvalidRequest(faults)
    return message


def _set(message: Message, key: str, value: Value) -> None:
    """Sets a field, by dots inside a message of this message."""
    head, _, rest = key.partition(".")
    known = message.DESCRIPTOR.fields_by_name
    if head not in known:
        raise _Fault(f"there is no such key; {_advice(head, [*known, 'selection'])}")
    field = known[head]
    other = message.WhichOneof(field.containing_oneof.name) if field.containing_oneof else None
    if other is not None and other != head:
        raise _Fault(f"cannot be combined with {other}")
    if rest:
        if field.message_type is None:
            raise _Fault(f"{head} has no keys of its own")
        _set(getattr(message, head), rest, value)
        return
    if field.message_type is None and field.is_repeated:
        getattr(message, head)[:] = [_scalar(field, part) for part in str(value).split("/")]
    elif field.message_type is None:
        setattr(message, head, _scalar(field, value))
    elif field.message_type is image_pb2.Image.DESCRIPTOR:
        getattr(message, head).CopyFrom(_picture(value))
    else:
        _set_parts(getattr(message, head), str(value))


def _set_parts(message: Message, text: str) -> None:
    """Fills the fields of a small message in their order from `a/b/c`."""
    fields: list[Any] = list(message.DESCRIPTOR.fields)
    parts = text.split("/")
    needed = [field.name for field in fields if field.containing_oneof is None]
    if not len(needed) <= len(parts) <= len(fields):
        raise _Fault(f"write {'/'.join(field.name for field in fields)}, such as {_example(message.DESCRIPTOR)}")
    for field, part in zip(fields, parts, strict=False):
        setattr(message, field.name, _scalar(field, part))


def _set_selection(selection: editor_pb2.Selection, key: str, value: Value) -> None:
    if key:
        _set(selection, key, value)
        return
    if not isinstance(value, str):
        selection.mask.CopyFrom(_picture(value))
        return
    kind, sign, rest = value.partition(":")
    if value == "subject":
        selection.subject = True
    elif sign and kind in ("box", "point"):
        _set_parts(getattr(selection, kind), rest)
    elif sign and kind == "label":
        selection.label = rest
    elif re.fullmatch(r"\d+(/\d+){3}", value):
        _set_parts(selection.box, value)
    else:
        selection.mask.CopyFrom(_picture(rest if sign and kind == "mask" else value))


def _picture(value: Value) -> image_pb2.Image:
    if isinstance(value, bool | int | float):
        raise _Fault("must be a picture")
    if isinstance(value, str):
        if not value or value == "true":
            raise _Fault("must name a picture file")
        return image_pb2.Image(content=read_picture(value, "image"))
    return to_message(value)


def _scalar(field: Any, value: Value) -> str | bool | int | float:
    text = str(value).strip()
    if field.enum_type is not None:
        return _enum(field.enum_type, text)
    if field.type == FieldDescriptor.TYPE_STRING:
        return text
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text.lower() not in _TRUTH:
            raise _Fault(f"must be true or false, not {text!r}")
        return _TRUTH[text.lower()]
    if field.type in _WHOLE:
        if not re.fullmatch(r"\d{1,20}", text) or int(text) > _WHOLE[field.type]:
            raise _Fault(f"must be a whole number, 0 or more, not {text!r}")
        return int(text)
    try:
        number = float(text)
    except ValueError:
        raise _Fault(f"must be a number, not {text!r}") from None
    if not math.isfinite(number):
        raise _Fault(f"must be a finite number, not {text!r}")
    return number


def _enum(kind: Any, text: str) -> int:
    # The contract prefixes every value with the enum's own name: FIT_MODE_COVER.
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.name).upper() + "_"
    names: dict[str, int] = {one.name.removeprefix(prefix).lower(): one.number for one in kind.values if one.number}
    if text.lower() not in names:
        raise _Fault(f"must be one of {', '.join(names)}, not {text!r}")
    return names[text.lower()]


def _advice(word: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"there are: {', '.join(names)}"


def _example(kind: Any) -> str:
    examples = {"Box": "10/20/200/100", "Point": "120/80", "Gradient": "#ff8800/#0044aa", "Trim": "0/0/0/40"}
    return examples.get(kind.name, "/".join("1" for _ in kind.fields))
