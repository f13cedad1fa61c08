"""Safetensors files as bytes: whether the header tells the truth about what follows it."""

import json
import math
from pathlib import Path
from typing import Any

_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
_LONGEST_HEADER = 100_000_000


def fault_of(path: Path) -> str:
    """What is wrong with the file, or an empty string."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
            return "is no safetensors file"
        header = file.read(length)
    try:
        tensors = json.loads(header.decode("utf-8"), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        return "is no safetensors file"
    if not isinstance(tensors, dict):
        return "is no safetensors file"
    metadata = tensors.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return "has metadata that are not texts"
    spans = []
    for name, tensor in tensors.items():
        span = _span(tensor)
        if span is None:
            return f"says what cannot be of tensor {name[:100]!r}"
        spans.append(span)
    place = 0
    for begin, end in sorted(spans):
        if begin != place:
            return "has tensors that overlap, or bytes that belong to none"
        place = end
    left = size - 8 - length - place
    return "has tensors that end outside of it" if left < 0 else "has bytes that belong to no tensor" if left else ""


def _span(tensor: Any) -> tuple[int, int] | None:
    """Where a tensor's bytes lie; None when its type, shape and place do not agree."""
    if not isinstance(tensor, dict) or tensor.keys() != {"dtype", "shape", "data_offsets"}:
        return None
    each, shape, offsets = _BYTES.get(str(tensor["dtype"])), tensor["shape"], tensor["data_offsets"]
    if each is None or not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        return None
    begin, end = offsets
    return (begin, end) if end - begin == each * math.prod(shape) else None


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found
