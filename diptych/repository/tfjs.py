"""TensorFlow.js graph models rewritten as ONNX.

TensorFlow keeps pictures as (N, H, W, C). The rewritten graph takes and gives them as (N, C, H, W), as every model here
does: each value of four axes stays in that order from end to end, and only a node to which the order matters, such as
Reshape, sees it turned. Known are the operations of the MobileNet, BlazeFace, FaceMesh and CenterNet families.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from diptych.errors import DataCorrupted
from diptych.repository.tfjs_files import Array, Graph, Node, node_name, read_graph, unreadable

_OPSET = 18
_IR_VERSION = 9
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_SIMPLE = {
    "Relu": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Elu": "Elu", "Exp": "Exp", "Neg": "Neg", "Sqrt": "Sqrt",
}  # fmt: skip
_BINARY = {
    "Add": "Add", "AddV2": "Add", "BiasAdd": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Minimum": "Min",
    "Maximum": "Max",
}  # fmt: skip


@dataclass(frozen=True)
class _Value:
    """A tensor on its way: its ONNX name and its number of axes. Four axes are (N, C, H, W)."""

    name: str
    rank: int


class _Translation:
    """ONNX nodes and weights, grown from the outputs back to the inputs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._values: dict[str, _Value] = {}
        self._batch: int | str = 1

    def model(self, wanted: Sequence[str]) -> onnx.ModelProto:
        """The checked model with the wanted outputs, all that the graph signs for none. DataCorrupted."""
        names = [node_name(one) for one in wanted] or list(self._graph.outputs)
        for name in names:
            if name not in self._graph.outputs:
                raise unreadable(f"has no output {name}; it has {', '.join(self._graph.outputs)}")
        for node in _in_order(self._graph, names):
            self._add(node)
        outputs = [self._output(name) for name in names]
        graph = helper.make_graph(self._nodes, "network", self._inputs, outputs, self._weights)
        # Fixed versions: the file's hash is recorded, so the same weights must give the same bytes everywhere.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _add(self, node: Node) -> None:
        if node.op == "Const" or node.name in self._values:
            return
        translate = _OPERATIONS.get(node.op)
        if translate is None:
            raise _unknown(f"the operation {node.op} of {node.name}")
        self._values[node.name] = translate(self, node)

    def _output(self, name: str) -> onnx.ValueInfoProto:
        value, shape = self._value(name), self._graph.outputs[name]
        label = _label(name)
        if any(label == one.name for one in self._inputs):
            label = f"{label}_out"
        self._nodes.append(helper.make_node("Identity", [value.name], [label], label))
        sizes: list[int | str | None] = [None if size < 0 else size for size in _first(shape)]
        if len(sizes) != value.rank:
            raise unreadable(f"signs the output {name} with {len(sizes)} axes; it has {value.rank}")
        return helper.make_tensor_value_info(label, TensorProto.FLOAT, [self._batch, *sizes[1:]])

    def placeholder(self, node: Node) -> _Value:
        shape = node.shape("shape")
        if node.dtype("dtype") != "DT_FLOAT" or not shape:
            raise _unknown(f"the input {node.name} of {node.dtype('dtype')} {shape}")
        self._batch = "N" if shape[0] < 0 else shape[0]
        sizes: list[int | str | None] = [f"S{axis}" if size < 0 else size for axis, size in enumerate(_first(shape))]
        label = _label(node.name)
        self._inputs.append(helper.make_tensor_value_info(label, TensorProto.FLOAT, [self._batch, *sizes[1:]]))
        return _Value(label, len(shape))

    def identity(self, node: Node) -> _Value:
        return self._value(node.inputs[0])

    def convolution(self, node: Node) -> _Value:
        depthwise = "epthwise" in node.op
        kernel = self._constant(node.inputs[1], 4)
        if depthwise:
            height, width, channels, factor = kernel.shape
            kernel = kernel.reshape(height, width, 1, channels * factor)
        names = [self._picture(node.inputs[0]).name, self._weight(kernel.transpose(3, 2, 0, 1))]
        fused = node.texts("fused_ops")
        if fused[:1] == ["BiasAdd"]:
            names.append(self._weight(self._constant(node.inputs[2], 1)))
        _, *dilations, _ = node.integers("dilations") or [1, 1, 1, 1]
        self._require_last(node)
        done = self._node(
            "Conv",
            names,
            4,
            kernel_shape=list(kernel.shape[:2]),
            group=channels if depthwise else 1,
            dilations=dilations,
            **_window(node),
        )
        return self._activated(done, node, fused)

    def matrix(self, node: Node) -> _Value:
        if node.truth("transpose_a") or node.truth("transpose_b"):
            raise _unknown(f"the turned matrices of {node.name}")
        matrix = self._constant(node.inputs[1], 2)
        done = self._node("MatMul", [self._value(node.inputs[0]).name, self._weight(matrix)], 2)
        fused = node.texts("fused_ops")
        if fused[:1] == ["BiasAdd"]:
            done = self._node("Add", [done.name, self._weight(self._constant(node.inputs[2], 1))], 2)
        return self._activated(done, node, fused)

    def _activated(self, value: _Value, node: Node, fused: Sequence[str]) -> _Value:
        """`value` after the operations that are fused to `node`; a bias has been added."""
        rest = list(fused[1:] if fused[:1] == ["BiasAdd"] else fused)
        if rest == ["Prelu"]:
            return self._bent(value, self._constant(node.inputs[3]))
        if rest == ["Relu6"]:
            return self._clipped(value)
        if len(rest) == 1 and rest[0] in _SIMPLE:
            return self._node(_SIMPLE[rest[0]], [value.name], value.rank)
        if rest:
            raise _unknown(f"the fused operations {', '.join(fused)} of {node.name}")
        return value

    def simple(self, node: Node) -> _Value:
        value = self._value(node.inputs[0])
        return self._node(_SIMPLE[node.op], [value.name], value.rank)

    def relu6(self, node: Node) -> _Value:
        return self._clipped(self._value(node.inputs[0]))

    def _clipped(self, value: _Value) -> _Value:
        low, high = self._weight(np.array(0, np.float32)), self._weight(np.array(6, np.float32))
        return self._node("Clip", [value.name, low, high], value.rank)

    def prelu(self, node: Node) -> _Value:
        return self._bent(self._value(node.inputs[0]), self._constant(node.inputs[1]))

    def _bent(self, value: _Value, slopes: Array) -> _Value:
        return self._node("PRelu", [value.name, self._weight(_spread(slopes, value.rank))], value.rank)

    def softmax(self, node: Node) -> _Value:
        value = self._value(node.inputs[0])
        return self._node("Softmax", [value.name], value.rank, axis=_axis(-1, value.rank))

    def binary(self, node: Node) -> _Value:
        ranks = [self._values[name].rank for name in node.inputs if name in self._values]
        rank = max(ranks, default=0)
        if any(one != rank for one in ranks) or not ranks:
            raise _unknown(f"the values of different shape of {node.name}")
        names = [
            self._values[name].name if name in self._values else self._weight(_spread(self._constant(name), rank))
            for name in node.inputs
        ]
        return self._node(_BINARY[node.op], names, rank)

    def pool(self, node: Node) -> _Value:
        self._require_last(node)
        _, *size, _ = node.integers("ksize")
        window = _window(node)
        if node.op == "AvgPool":
            return self._node("AveragePool", [self._picture(node.inputs[0]).name], 4, kernel_shape=size, **window)
        return self._node("MaxPool", [self._picture(node.inputs[0]).name], 4, kernel_shape=size, **window)

    def pad(self, node: Node) -> _Value:
        value, widths = self._value(node.inputs[0]), self._constant(node.inputs[1], 2)
        ordered = widths[list(_TO_FIRST)] if value.rank == 4 else widths
        pads = self._weight(np.concatenate([ordered[:, 0], ordered[:, 1]]).astype(np.int64))
        return self._node("Pad", [value.name, pads], value.rank)

    def mean(self, node: Node) -> _Value:
        value = self._value(node.inputs[0])
        axes = [_axis(int(one), value.rank) for one in self._constant(node.inputs[1]).reshape(-1)]
        keep = node.truth("keep_dims")
        rank = value.rank if keep else value.rank - len(axes)
        if not keep and value.rank == 4 and rank > 1 and sorted(axes) != [2, 3]:
            raise _unknown(f"the mean over axes {axes} of {node.name}")
        names = [value.name, self._weight(np.array(axes, np.int64))]
        return self._node("ReduceMean", names, rank, keepdims=int(keep))

    def squeeze(self, node: Node) -> _Value:
        value, dropped = self._value(node.inputs[0]), node.integers("squeeze_dims")
        if value.rank == 4 and sorted(one % 4 for one in dropped) != [1, 2]:
            raise _unknown(f"the axes {dropped} that {node.name} drops")
        axes = self._weight(np.array([_axis(one, value.rank) for one in dropped], np.int64))
        return self._node("Squeeze", [value.name, axes], value.rank - len(dropped))

    def reshape(self, node: Node) -> _Value:
        value, shape = self._value(node.inputs[0]), self._constant(node.inputs[1], 1)
        if value.rank == 4:
            value = self._node("Transpose", [value.name], 4, perm=list(_TO_LAST))
        value = self._node("Reshape", [value.name, self._weight(shape.astype(np.int64))], len(shape))
        return self._node("Transpose", [value.name], 4, perm=list(_TO_FIRST)) if len(shape) == 4 else value

    def resize(self, node: Node) -> _Value:
        sizes = self._weight(self._constant(node.inputs[1], 1).astype(np.int64))
        mode = "align_corners" if node.truth("align_corners") else "asymmetric"
        if node.truth("half_pixel_centers"):
            mode = "half_pixel"
        names = [self._picture(node.inputs[0]).name, "", "", sizes]
        return self._node("Resize", names, 4, mode="linear", axes=[2, 3], coordinate_transformation_mode=mode)

    def concat(self, node: Node) -> _Value:
        *parts, axis = node.inputs
        values = [self._value(name) for name in parts]
        rank = values[0].rank
        place = _axis(int(self._constant(axis)), rank)
        return self._node("Concat", [value.name for value in values], rank, axis=place)

    def _value(self, name: str) -> _Value:
        """What the node `name` gives, which is no constant."""
        if name not in self._values:
            raise _unknown(f"the constant {name} where a value is wanted")
        return self._values[name]

    def _picture(self, name: str) -> _Value:
        value = self._value(name)
        if value.rank != 4:
            raise _unknown(f"{name} with {value.rank} axes where a picture is wanted")
        return value

    def _constant(self, name: str, rank: int | None = None) -> Array:
        """The numbers of the node `name`, of `rank` axes if that is said."""
        seen = name
        while (node := self._graph.nodes.get(seen)) is not None and node.op == "Identity":
            seen = node.inputs[0]
        array = self._graph.constants.get(seen)
        if array is None or (rank is not None and array.ndim != rank):
            raise _unknown(f"{name} where a constant{'' if rank is None else f' of {rank} axes'} is wanted")
        return array

    def _require_last(self, node: Node) -> None:
        if node.text("data_format", "NHWC") != "NHWC":
            raise _unknown(f"the order of axes {node.text('data_format')} of {node.name}")

    def _node(self, kind: str, names: Sequence[str], rank: int, **attributes: Any) -> _Value:
        output = f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, names, [output], f"node_{len(self._nodes)}", **attributes))
        return _Value(output, rank)

    def _weight(self, values: Array) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name


_OPERATIONS: Mapping[str, Callable[[_Translation, Node], _Value]] = {
    **dict.fromkeys(_SIMPLE, _Translation.simple),
    **dict.fromkeys(_BINARY, _Translation.binary),
    **dict.fromkeys(("Conv2D", "_FusedConv2D"), _Translation.convolution),
    **dict.fromkeys(("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"), _Translation.convolution),
    **dict.fromkeys(("MatMul", "_FusedMatMul"), _Translation.matrix),
    **dict.fromkeys(("MaxPool", "AvgPool"), _Translation.pool),
    "ConcatV2": _Translation.concat,
    "Identity": _Translation.identity,
    "Mean": _Translation.mean,
    "Pad": _Translation.pad,
    "Placeholder": _Translation.placeholder,
    "Prelu": _Translation.prelu,
    "Relu6": _Translation.relu6,
    "Reshape": _Translation.reshape,
    "ResizeBilinear": _Translation.resize,
    "Softmax": _Translation.softmax,
    "Squeeze": _Translation.squeeze,
}


def write_onnx(topology: Path, shards: Mapping[str, Path], outputs: Sequence[str], target: Path) -> None:
    """Writes the graph as ONNX with the named outputs, all for none; pictures are (N, C, H, W) float32.

    A tensor is called by the last part of its name: `images` for `tower_0/images`. DataCorrupted if the files are
    damaged or use an operation that is not known here.
    """
    graph = read_graph(topology.read_bytes(), {name: path.read_bytes() for name, path in shards.items()})
    try:
        model = _Translation(graph).model(outputs)
    except (ValueError, TypeError, KeyError, IndexError, onnx.checker.ValidationError) as error:
        raise unreadable("has a node that does not follow its operation") from error
    target.write_bytes(model.SerializeToString(deterministic=True))


def _in_order(graph: Graph, names: Sequence[str]) -> list[Node]:
    """The nodes that the named ones need, each after its inputs."""
    ordered: dict[str, Node] = {}
    waiting = [(name, False) for name in reversed(names)]
    open_names: set[str] = set()
    while waiting:
        name, ready = waiting.pop()
        if name in ordered:
            continue
        node = graph.nodes.get(name)
        if node is None or (not ready and name in open_names):
            raise unreadable(f"wants {name}, which no node gives" if node is None else f"goes in a circle at {name}")
        if ready:
            ordered[name] = node
            continue
        open_names.add(name)
        waiting.append((name, True))
        waiting += [(one, False) for one in reversed(node.inputs) if one not in ordered]
    return list(ordered.values())


def _window(node: Node) -> dict[str, Any]:
    """Strides and padding of what slides over a picture. SAME pads more after than before, as ONNX's SAME_UPPER."""
    padding = node.text("padding")
    if padding not in ("SAME", "VALID"):
        raise _unknown(f"the padding {padding} of {node.name}")
    _, *strides, _ = node.integers("strides")
    return {"strides": strides, "auto_pad": "SAME_UPPER" if padding == "SAME" else "VALID"}


def _spread(array: Array, rank: int) -> Array:
    """A constant as it is added to, or multiplied with, values of `rank` axes."""
    if rank != 4 or array.ndim == 0:
        return array
    return array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(_TO_FIRST)


def _axis(axis: int, rank: int) -> int:
    """Where an axis of TensorFlow's order lies here."""
    return _TO_FIRST.index(axis % 4) if rank == 4 else axis % rank


def _first(shape: Sequence[int]) -> list[int]:
    """A shape in the order of axes that is used here."""
    return [shape[axis] for axis in _TO_FIRST] if len(shape) == 4 else list(shape)


def _label(name: str) -> str:
    return node_name(name).rsplit("/", 1)[-1]


def _unknown(what: str) -> DataCorrupted:
    return DataCorrupted(
        f"the TensorFlow.js model has {what}, which cannot be rewritten as ONNX", reason="TFJS_UNSUPPORTED"
    )
