"""Checks on bytes: the promised hash, and a format that holds data only."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import BinaryIO

from diptych.errors import DataCorrupted

_PICKLE_PROTOCOLS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ZIP = b"PK\x03\x04"
# Field numbers of ONNX's ModelProto, onnx.proto: ir_version to domain, graph = 7, opset_import, metadata_props, ...
_MODEL_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_GRAPH_FIELD = 7
_MAX_SAFETENSORS_HEADER = 100_000_000


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hash(path: Path, expected: str, *, label: str, mend: str) -> None:
    """Nothing if the file has the hash; otherwise DataCorrupted naming `label` and how to `mend` it."""
    found = sha256_of(path)
    if found != expected:
        raise DataCorrupted(
            f"{label} has sha256 {found[:12]}..., but {expected[:12]}... is expected; {mend}",
            reason="HASH_MISMATCH",
        )


def check_content(path: Path, *, label: str) -> None:
    """Nothing if the bytes are what the suffix says; DataCorrupted for a pickle or anything else.

    A pickle can run code when it is loaded, so no file that may be one is kept, whatever its name.
    """
    with path.open("rb") as file:
        start = file.read(4)
        if start.startswith(_PICKLE_PROTOCOLS) or start == _ZIP:
            raise _refused(label, "is a pickle or an archive that may hold one; give ONNX or safetensors")
        file.seek(0)
        fault = _fault(path, file)
    if fault:
        raise _refused(label, fault)


def _fault(path: Path, file: BinaryIO) -> str:
    match path.suffix:
        case ".onnx":
            return "" if _is_onnx(file, path.stat().st_size) else "is no ONNX model"
        case ".safetensors":
            return "" if _is_safetensors(file, path.stat().st_size) else "is no safetensors file"
        case ".json" | ".toml" | ".txt" | ".md":
            return _text_fault(path.suffix, file.read())
        case other:
            return f"has the suffix {other or 'none'}, which is not loaded"


def _text_fault(suffix: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
        if suffix == ".json":
            json.loads(text)
        elif suffix == ".toml":
            tomllib.loads(text)
    except ValueError:
        return f"is no {suffix.removeprefix('.').upper()} text in UTF-8"
    return "holds zero bytes; it is no text" if "\0" in text else ""


def _is_safetensors(file: BinaryIO, size: int) -> bool:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, _MAX_SAFETENSORS_HEADER):
        return False
    try:
        return isinstance(json.loads(file.read(length)), dict)
    except ValueError:
        return False


def _is_onnx(file: BinaryIO, size: int) -> bool:
    """Whether the file is a protobuf message whose top-level fields are those of an ONNX model, graph included."""
    has_graph = False
    while file.tell() < size:
        tag = _varint(file)
        if tag is None or tag >> 3 not in _MODEL_FIELDS:
            return False
        has_graph |= tag >> 3 == _GRAPH_FIELD
        length = _varint(file)
        if length is None or tag & 7 not in (0, 2):
            return False
        if tag & 7 == 2:
            if length > size - file.tell():
                return False
            file.seek(length, 1)
    return has_graph


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None


def _refused(label: str, why: str) -> DataCorrupted:
    return DataCorrupted(f"{label} {why}", reason="CONTENT_REFUSED")
