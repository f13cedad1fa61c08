"""Checks on bytes: the promised hash, and a format that holds data only."""

import hashlib
import json
import tomllib
from pathlib import Path, PurePosixPath

from diptych.errors import DataCorrupted
from diptych.repository import safetensors_file
from diptych.repository.onnx_file import NotOnnxError, external_files

_PICKLE_PROTOCOLS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ZIP = b"PK\x03\x04"
_LARGEST_TEXT = 64 << 20


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

    A pickle can run code when it is loaded, so no file that may be one is kept, whatever its name. Weights that an ONNX
    file keeps outside must lie beside or below it.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_PICKLE_PROTOCOLS) or start == _ZIP:
        raise _refused(label, "is a pickle or an archive that may hold one; give ONNX or safetensors")
    fault = _fault(path)
    if fault:
        raise _refused(label, fault)


def outside_data(path: Path) -> list[str]:
    """The files that an ONNX file keeps its data in, relative to its folder, sorted; none for other files."""
    return sorted(external_files(path)) if path.suffix == ".onnx" else []


def _fault(path: Path) -> str:
    match path.suffix:
        case ".onnx":
            return _onnx_fault(path)
        case ".safetensors":
            return safetensors_file.fault_of(path)
        case ".json" | ".toml" | ".txt" | ".md":
            if path.stat().st_size > _LARGEST_TEXT:
                return f"has more than {_LARGEST_TEXT >> 20} MiB, which no text here has"
            return _text_fault(path.suffix, path.read_bytes())
        case other:
            return f"has the suffix {other or 'none'}, which is not loaded"


def _onnx_fault(path: Path) -> str:
    try:
        locations = external_files(path)
    except NotOnnxError:
        return "is no ONNX model"
    for location in sorted(locations):
        place = PurePosixPath(location)
        if not location or place.is_absolute() or ".." in place.parts or "\\" in location or ":" in location:
            return f"keeps data at {location[:100]!r}, which is not beside or below it"
    return ""


def _text_fault(suffix: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
        if suffix == ".json":
            json.loads(text)
        elif suffix == ".toml":
            tomllib.loads(text)
    except (ValueError, RecursionError):
        return f"is no {suffix.removeprefix('.').upper()} text in UTF-8"
    return "holds zero bytes; it is no text" if "\0" in text else ""


def _refused(label: str, why: str) -> DataCorrupted:
    return DataCorrupted(f"{label} {why}", reason="CONTENT_REFUSED")
