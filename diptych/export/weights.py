"""Where an ONNX model's weights are kept: inside, or beside it in a safetensors file.

An ONNX file holds 2 GB at most. What is larger goes into `model.safetensors`, which ONNX reads by offset as it reads
any external data, and which can be checked by content as any other weights here.
"""

import json
from pathlib import Path

import onnx
from onnx import StringStringEntryProto, TensorProto

LARGEST_INSIDE = 1 << 30
_SMALLEST_OUTSIDE = 1024
_DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "F32",
    TensorProto.FLOAT16: "F16",
    TensorProto.INT64: "I64",
    TensorProto.INT32: "I32",
    TensorProto.INT8: "I8",
    TensorProto.UINT8: "U8",
    TensorProto.BOOL: "BOOL",
}


def store_weights(model: onnx.ModelProto, path: Path, *, largest_inside: int = LARGEST_INSIDE) -> None:
    """Writes `model`, whose weights are in memory, to `path`; beyond `largest_inside` bytes of them beside it."""
    tensors = [tensor for tensor in model.graph.initializer if tensor.data_type in _DTYPES]
    if sum(len(tensor.raw_data) for tensor in tensors) > largest_inside:
        _move_out(tensors, path.with_suffix(".safetensors"))
    path.write_bytes(model.SerializeToString())


def _move_out(tensors: list[TensorProto], path: Path) -> None:
    """Writes the larger tensors to a safetensors file and leaves their places in the model."""
    header: dict[str, object] = {}
    moved, end = [], 0
    for tensor in tensors:
        size = len(tensor.raw_data)
        if size >= _SMALLEST_OUTSIDE:
            header[tensor.name] = {
                "dtype": _DTYPES[tensor.data_type],
                "shape": list(tensor.dims),
                "data_offsets": [end, end + size],
            }
            moved.append((tensor, end))
            end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4096 - 8)  # So that the first tensor begins at a page.
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        begin = file.tell()
        for tensor, offset in moved:
            file.write(tensor.raw_data)
            size = len(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            places = {"location": path.name, "offset": str(begin + offset), "length": str(size)}
            tensor.external_data.extend(StringStringEntryProto(key=key, value=value) for key, value in places.items())
