"""Where an ONNX model's weights are kept: inside, or beside it in a safetensors file.

An ONNX file holds 2 GB at most. What is larger goes into `model.safetensors`, which ONNX reads by offset as it reads
any external data, and which can be checked by content as any other weights here.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import StringStringEntryProto, TensorProto, helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data

from diptych.engines.base import Array

LARGEST_INSIDE = 1 << 30
_SMALLEST_OUTSIDE = 1024
# What is smaller is worth reading: constants that decide what is fused are.
_SMALLEST_LIFTED = 1 << 18
_LARGEST_HALF = 65504.0
_DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "F32",
    TensorProto.FLOAT16: "F16",
    TensorProto.INT64: "I64",
    TensorProto.INT32: "I32",
    TensorProto.INT8: "I8",
    TensorProto.UINT8: "U8",
    TensorProto.BOOL: "BOOL",
}
_Read = Callable[[TensorProto], Array | bytes]


def store_weights(model: onnx.ModelProto, path: Path, *, largest_inside: int = LARGEST_INSIDE) -> None:
    """Writes `model`, whose weights are in memory, to `path`; beyond `largest_inside` bytes of them beside it."""
    tensors = [tensor for tensor in model.graph.initializer if tensor.data_type in _DTYPES]
    if sum(len(tensor.raw_data) for tensor in tensors) > largest_inside:
        large = [tensor for tensor in tensors if len(tensor.raw_data) >= _SMALLEST_OUTSIDE]
        _write_beside(large, path.with_suffix(".safetensors"), lambda tensor: tensor.raw_data)
    path.write_bytes(model.SerializeToString())


class LiftedWeights:
    """The large weights of an ONNX file that lie beside it. They stay there: the graph is worked on without them, for
    copies of gigabytes are what takes time and memory.

    `lifted` is a graph that takes them as inputs (`arrays`, not read before they are used); `put_back` makes them
    weights again. A file that holds its weights itself has none, and is itself what is worked on.
    """

    def __init__(self, source: Path, work: Path) -> None:
        model = onnx.load(source, load_external_data=False)
        outside = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
        self._folder = source.parent
        self._tensors: dict[str, TensorProto] = {}
        for tensor in outside:
            if tensor.data_type in _DTYPES and _bytes(tensor, tensor.data_type) >= _SMALLEST_LIFTED:
                self._tensors[tensor.name] = TensorProto.FromString(tensor.SerializeToString())
            else:
                load_external_data_for_tensor(tensor, str(self._folder))
                tensor.data_location = TensorProto.DEFAULT
                del tensor.external_data[:]
        self.lifted = source
        if outside:
            _without(model, self._tensors)
            for name, tensor in self._tensors.items():
                model.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
            work.mkdir(parents=True, exist_ok=True)
            self.lifted = work / "lifted.onnx"
            self.lifted.write_bytes(model.SerializeToString())

    @property
    def names(self) -> frozenset[str]:
        """Of the weights that the graph takes as inputs."""
        return frozenset(self._tensors)

    @property
    def arrays(self) -> dict[str, Array]:
        """The weights, mapped from their file."""
        return {name: self._array(tensor) for name, tensor in self._tensors.items()}

    def nbytes(self, model: onnx.ModelProto) -> int:
        """What the weights that `model` takes as inputs take in the types that it wants."""
        return sum(_bytes(self._tensors[name], kind) for name, kind in self._wanted(model).items())

    def put_back(self, model: onnx.ModelProto, path: Path) -> None:
        """Writes `model`, which takes the weights as inputs, to `path` with the weights beside it: in half precision
        where it wants them so. In memory is one of them at a time."""
        wanted = self._wanted(model)
        tensors = []
        for name, kind in wanted.items():
            tensors.append(TensorProto(name=name, data_type=kind, dims=self._tensors[name].dims))
        _without(model, self._tensors)
        if tensors:
            _write_beside(tensors, path.with_suffix(".safetensors"), self._converted)
        model.graph.initializer.extend(tensors)
        path.write_bytes(model.SerializeToString())

    def read_in(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """`model` with the weights in it."""
        wanted = self._wanted(model)
        if not wanted:
            return model
        whole = onnx.ModelProto()
        whole.CopyFrom(model)
        _without(whole, self._tensors)
        for name, kind in wanted.items():
            tensor = TensorProto(name=name, data_type=kind, dims=self._tensors[name].dims)
            tensor.raw_data = np.asarray(self._converted(tensor)).tobytes()
            whole.graph.initializer.append(tensor)
        return whole

    def _wanted(self, model: onnx.ModelProto) -> Mapping[str, int]:
        """Types of the weights among the graph's inputs that something takes."""
        taken = {name for node in model.graph.node for name in node.input}
        return {
            value.name: value.type.tensor_type.elem_type
            for value in model.graph.input
            if value.name in self._tensors and value.name in taken
        }

    def _array(self, tensor: TensorProto) -> Array:
        place = ExternalDataInfo(tensor)
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        shape = tuple(tensor.dims)
        return np.memmap(self._folder / place.location, dtype, "r", offset=place.offset or 0, shape=shape)

    def _converted(self, wanted: TensorProto) -> Array:
        """The weight of that name in that type; what half precision does not reach becomes its largest number."""
        array = self._array(self._tensors[wanted.name])
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(wanted.data_type))
        if dtype == array.dtype:
            return array
        return np.clip(array, -_LARGEST_HALF, _LARGEST_HALF).astype(dtype)


def _write_beside(tensors: Sequence[TensorProto], path: Path, read: _Read) -> None:
    """Writes what `read` gives of each tensor to a safetensors file, and leaves its place in the tensor."""
    header: dict[str, object] = {}
    end = 0
    for tensor in tensors:
        begin, end = end, end + _bytes(tensor, tensor.data_type)
        kind, shape = _DTYPES[tensor.data_type], list(tensor.dims)
        header[tensor.name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4096 - 8)  # So that the first tensor begins at a page.
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            places = {"location": path.name, "offset": str(file.tell())}
            content = read(tensor)
            file.write(np.ascontiguousarray(content).data if isinstance(content, np.ndarray) else content)
            places["length"] = str(file.tell() - int(places["offset"]))
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.extend(StringStringEntryProto(key=key, value=value) for key, value in places.items())


def _bytes(tensor: TensorProto, kind: int) -> int:
    return math.prod(tensor.dims) * np.dtype(helper.tensor_dtype_to_np_dtype(kind)).itemsize


def _without(model: onnx.ModelProto, names: Mapping[str, TensorProto]) -> None:
    """Takes away inputs and weights of these names."""
    if not names:
        return
    for values in (model.graph.input, model.graph.initializer):
        kept = [value for value in values if value.name not in names]
        del values[:]
        values.extend(kept)  # type: ignore[arg-type]
