"""ncnn networks rewritten as ONNX.

Reads the text format `.param` (magic 7767517; one layer a line: type, name, counts, blobs in, blobs out, parameters
`id=value`) and the weights `.bin`, which hold each layer's numbers in layer order without names. Formats: ncnn's
documentation, "param and model file structure" and "operators". Only the layers that the super-resolution networks
SPAN (Wan et al. 2023) and SRVGGNetCompact (Real-ESRGAN, Wang et al. 2021) use are known.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from diptych.errors import DataCorrupted

Weights = NDArray[np.float32]

_MAGIC = "7767517"
_FP32_TAG = 0
_FP16_TAG = 0x01306B47
_OPSET = 17
_IR_VERSION = 9
_BINARY = {0: "Add", 1: "Sub", 2: "Mul", 3: "Div"}
_NEAREST = 1


@dataclass(frozen=True)
class Layer:
    """One line of a `.param` file."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[int, str]

    def integer(self, key: int, default: int = 0) -> int:
        """Parameter `key` as a whole number."""
        try:
            return int(self.params.get(key, default))
        except ValueError as error:
            raise self._bad(key) from error

    def count(self, key: int) -> int:
        """Parameter `key` as a whole number above zero."""
        value = self.integer(key)
        if value < 1:
            raise self._bad(key)
        return value

    def number(self, key: int, default: float = 0.0) -> float:
        """Parameter `key` as a number."""
        try:
            value = float(self.params.get(key, default))
        except ValueError as error:
            raise self._bad(key) from error
        if not math.isfinite(value):
            raise self._bad(key)
        return value

    def require(self, expected: Mapping[int, int]) -> None:
        """DataCorrupted unless each parameter has the one value that is known here."""
        for key, value in expected.items():
            if self.number(key, value) != value:
                raise self._bad(key)

    def _bad(self, key: int) -> DataCorrupted:
        return _unknown(f"{self.kind} {self.name} with parameter {key}={self.params.get(key, 'missing')}")


class _WeightReader:
    """The numbers of a `.bin` file, front to back."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def tagged(self, count: int) -> Weights:
        """`count` numbers behind a tag word that says how they are stored; half floats are padded to 4 bytes."""
        tag = int.from_bytes(self._take(4), "little")
        if tag == _FP32_TAG:
            return self.plain(count)
        if tag != _FP16_TAG:
            raise _unknown(f"weights with the tag {tag:#010x}")
        return np.frombuffer(self._take(-(-2 * count // 4) * 4), "<f2")[:count].astype(np.float32)

    def plain(self, count: int) -> Weights:
        """`count` floats."""
        return np.frombuffer(self._take(4 * count), "<f4").astype(np.float32)

    def end(self) -> None:
        """DataCorrupted if numbers are left over."""
        left = len(self._content) - self._position
        if left:
            raise DataCorrupted(f"the ncnn weights have {left} bytes too many", reason="NCNN_UNREADABLE")

    def _take(self, size: int) -> bytes:
        part = self._content[self._position : self._position + size]
        if len(part) != size:
            raise DataCorrupted("the ncnn weights end too early", reason="NCNN_UNREADABLE")
        self._position += size
        return part


@dataclass(frozen=True)
class _Blob:
    """A value on its way through the network: its ONNX name, channels, and size relative to the input's."""

    name: str
    channels: int
    scale: float


class _Translation:
    """ONNX nodes and weights, grown layer by layer."""

    def __init__(self, reader: _WeightReader) -> None:
        self._reader = reader
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._blobs: dict[str, _Blob] = {}
        self._last = _Blob("image", 3, 1)

    def add(self, layer: Layer) -> None:
        """Takes in one layer; DataCorrupted if its kind or a parameter of it is not known here."""
        if layer.kind == "Input":
            self._blobs[layer.outputs[0]] = self._last
            return
        inputs = [self._blobs[name] for name in layer.inputs]
        if layer.kind == "Split" and len(inputs) == 1:
            self._blobs.update(dict.fromkeys(layer.outputs, inputs[0]))
            return
        translate = _LAYERS.get(layer.kind)
        if translate is None or len(layer.outputs) != 1 or len(inputs) not in _INPUT_COUNTS[layer.kind]:
            raise _unknown(f"the layer {layer.kind} {layer.name}")
        self._last = translate(self, layer, inputs)
        self._blobs[layer.outputs[0]] = self._last

    def finish(self) -> onnx.ModelProto:
        """The checked model; DataCorrupted if weights are left over."""
        self._reader.end()
        scale = self._last.scale
        if self._last.channels != 3 or scale != int(scale):
            raise _unknown(f"an output of {self._last.channels} channels at {scale} times the size")
        low, high = self._weight(np.array(0, np.float32)), self._weight(np.array(1, np.float32))
        self._nodes.append(helper.make_node("Clip", [self._last.name, low, high], ["upscaled"], "clip"))
        sizes: list[str | int | None] = ["N", 3, f"{scale:g}H", f"{scale:g}W"]
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
            [helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, sizes)],
            self._weights,
        )
        # Fixed versions: the file's hash is recorded, so the same weights must give the same bytes everywhere.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def convolution(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        layer.require({2: 1, 3: 1, 9: 0})
        filters, size, count, pad = layer.count(0), layer.count(1), layer.count(6), layer.integer(4)
        depth = inputs[0].channels
        if count != filters * depth * size * size or pad != size // 2:
            raise _unknown(f"the convolution {layer.name}")
        names = [inputs[0].name, self._weight(self._reader.tagged(count).reshape(filters, depth, size, size))]
        if layer.integer(5):
            names.append(self._weight(self._reader.plain(filters)))
        return self._node("Conv", names, inputs[0], channels=filters, kernel_shape=[size, size], pads=[pad] * 4)

    def prelu(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        slopes = layer.count(0)
        return self._node(
            "PRelu", [inputs[0].name, self._weight(self._reader.plain(slopes).reshape(slopes, 1, 1))], inputs[0]
        )

    def sigmoid(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        return self._node("Sigmoid", [inputs[0].name], inputs[0])

    def swish(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        gate = self._node("Sigmoid", [inputs[0].name], inputs[0])
        return self._node("Mul", [inputs[0].name, gate.name], inputs[0])

    def binary(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        kind = _BINARY.get(layer.integer(0))
        if kind is None:
            raise _unknown(f"the operation {layer.integer(0)} of {layer.name}")
        names = [one.name for one in inputs]
        if layer.integer(1):
            names.append(self._weight(np.array(layer.number(2), np.float32)))
        if len(names) != 2:
            raise _unknown(f"the operation {layer.name} on {len(names)} values")
        return self._node(kind, names, inputs[0])

    def memory(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        width, height, depth = layer.count(0), layer.count(1), layer.count(2)
        values = self._reader.plain(width * height * depth).reshape(depth, height, width)
        return _Blob(self._weight(values), depth, 1)

    def concat(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        layer.require({0: 0})
        channels = sum(one.channels for one in inputs)
        return self._node("Concat", [one.name for one in inputs], inputs[0], channels=channels, axis=1)

    def pixel_shuffle(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        layer.require({1: 0})
        factor = layer.count(0)
        blob = self._node(
            "DepthToSpace",
            [inputs[0].name],
            inputs[0],
            channels=inputs[0].channels // factor**2,
            blocksize=factor,
            mode="CRD",
        )
        return replace(blob, scale=blob.scale * factor)

    def interp(self, layer: Layer, inputs: list[_Blob]) -> _Blob:
        factor = layer.number(1)
        if layer.integer(0) != _NEAREST or layer.number(2) != factor or factor <= 0:
            raise _unknown(f"the resizing {layer.name}")
        factors = self._weight(np.array([1, 1, factor, factor], np.float32))
        blob = self._node(
            "Resize",
            [inputs[0].name, "", factors],
            inputs[0],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        return replace(blob, scale=blob.scale * factor)

    def _node(
        self, kind: str, names: list[str], like: _Blob, *, channels: int | None = None, **attributes: Any
    ) -> _Blob:
        output = f"blob_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, names, [output], f"node_{len(self._nodes)}", **attributes))
        return replace(like, name=output, channels=like.channels if channels is None else channels)

    def _weight(self, values: Weights) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


_LAYERS: dict[str, Callable[[_Translation, Layer, list[_Blob]], _Blob]] = {
    "BinaryOp": _Translation.binary,
    "Concat": _Translation.concat,
    "Convolution": _Translation.convolution,
    "Interp": _Translation.interp,
    "MemoryData": _Translation.memory,
    "PReLU": _Translation.prelu,
    "PixelShuffle": _Translation.pixel_shuffle,
    "Sigmoid": _Translation.sigmoid,
    "Swish": _Translation.swish,
}
_ONE = range(1, 2)
_INPUT_COUNTS = dict.fromkeys(_LAYERS, _ONE) | {
    "BinaryOp": range(1, 3),
    "Concat": range(1, 100),
    "MemoryData": range(1),
}


def write_onnx(param: Path, weights: Path, target: Path) -> None:
    """Writes the network as ONNX: `image` (N, 3, H, W) float32 RGB 0..1 -> `upscaled` (N, 3, sH, sW), clipped to 0..1.

    DataCorrupted if the files are damaged or use a layer that is not known here.
    """
    translation = _Translation(_WeightReader(weights.read_bytes()))
    for layer in read_param(param.read_text(encoding="utf-8", errors="replace")):
        translation.add(layer)
    target.write_bytes(translation.finish().SerializeToString(deterministic=True))


def read_param(text: str) -> list[Layer]:
    """The layers of a `.param` file in order; DataCorrupted if it is none."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) < 3 or lines[0] != [_MAGIC]:
        raise DataCorrupted("the .param file does not start as an ncnn network", reason="NCNN_UNREADABLE")
    try:
        layers = [_layer(words) for words in lines[2:]]
        promised = int(lines[1][0])
    except (ValueError, IndexError) as error:
        raise DataCorrupted("the .param file has a line that is no layer", reason="NCNN_UNREADABLE") from error
    if len(layers) != promised:
        raise DataCorrupted(f"the .param file has {len(layers)} layers of {promised}", reason="NCNN_UNREADABLE")
    known: set[str] = set()
    for layer in layers:
        missing = [name for name in layer.inputs if name not in known]
        if missing or not layer.outputs:
            raise DataCorrupted(f"layer {layer.name} reads what no layer wrote", reason="NCNN_UNREADABLE")
        known.update(layer.outputs)
    return layers


def _layer(words: list[str]) -> Layer:
    kind, name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
    split = 4 + inputs + outputs
    if len(words) < split:
        raise ValueError(f"{name} names too few blobs")
    params = {int(key): value for key, value in (word.split("=", 1) for word in words[split:])}
    return Layer(kind, name, tuple(words[4 : 4 + inputs]), tuple(words[4 + inputs : split]), params)


def _unknown(what: str) -> DataCorrupted:
    return DataCorrupted(f"the ncnn network has {what}, which cannot be rewritten as ONNX", reason="NCNN_UNSUPPORTED")
