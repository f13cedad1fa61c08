"""ONNX files as bytes: whether a file is one, and which other files it names. Nothing of it is loaded.

The file is read as protobuf, message by message, as far down as tensors can lie. Numbers are those of `onnx.proto`.
"""

import mmap
from collections.abc import Mapping
from pathlib import Path

_MODEL_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_GRAPH_FIELD = 7
# Message -> field -> the message that lies in it.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {1: "key", 2: "value"},
}
_FIXED = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2
_DEEPEST = 100
_LONGEST_TEXT = 4096


class NotOnnxError(ValueError):
    """The bytes are no ONNX model."""


def external_files(path: Path) -> set[str]:
    """The locations of data that the model keeps outside, as it spells them; NotOnnxError if the file is no model."""
    if path.stat().st_size == 0:
        raise NotOnnxError
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        walk = _Walk(content)
        walk.message("model", 0, len(content), 0)
        if not walk.has_graph:
            raise NotOnnxError
        return walk.locations


class _Walk:
    def __init__(self, content: mmap.mmap) -> None:
        self.locations: set[str] = set()
        self.has_graph = False
        self._content = content

    def message(self, kind: str, place: int, end: int, depth: int) -> None:
        """Reads the message of `kind` in [place, end)."""
        if depth > _DEEPEST:
            raise NotOnnxError
        inside, entry = _INSIDE[kind], dict[str, str]()
        while place < end:
            tag, place = self._varint(place, end)
            number, wire = tag >> 3, tag & 7
            if number == 0 or (kind == "model" and (number not in _MODEL_FIELDS or wire not in (_VARINT, _BYTES))):
                raise NotOnnxError
            if wire == _VARINT:
                _, place = self._varint(place, end)
                continue
            if wire == _BYTES:
                size, place = self._varint(place, end)
            elif wire in _FIXED:
                size = _FIXED[wire]
            else:
                raise NotOnnxError  # Groups: ONNX has none.
            if size > end - place:
                raise NotOnnxError
            if wire == _BYTES and number in inside:
                self.has_graph |= kind == "model" and number == _GRAPH_FIELD
                if kind == "entry":
                    entry[inside[number]] = self._text(place, size)
                else:
                    self.message(inside[number], place, place + size, depth + 1)
            place += size
        if entry.get("key") == "location":
            self.locations.add(entry.get("value", ""))

    def _text(self, place: int, size: int) -> str:
        if size > _LONGEST_TEXT:
            raise NotOnnxError
        try:
            return self._content[place : place + size].decode("utf-8")
        except UnicodeDecodeError as error:
            raise NotOnnxError from error

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if place >= end:
                raise NotOnnxError
            byte = self._content[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, place
        raise NotOnnxError
