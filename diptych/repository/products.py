"""A text encoder's products in int8: what comes is quantised as it comes, weights beforehand.

Weights keep seven bits: where a processor has no operation for it, ONNX Runtime adds two products of eight bits in
sixteen, which overflow. Of seven they cannot, so the same is computed everywhere.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

_DOMAIN = "com.microsoft"
_LARGEST = 63

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]


def in_int8(
    nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes of which each `Attention` and each layer (a product and its bias) multiplies in int8, and their weights.

    GELU written out with an error function becomes one operation as well. What nothing needs any more is left in.
    """
    quantising = _Quantising(
        {tensor.name: numpy_helper.to_array(tensor) for tensor in weights},
        {name: node for node in nodes for name in node.output},
        Counter(name for node in nodes for name in node.input),
    )
    for node in nodes:
        quantising.take(node)
    return quantising.nodes, quantising.weights


@dataclass(frozen=True)
class _Layer:
    """`states` times `weight` (K, N) plus `bias` (N,)."""

    states: str
    weight: Floats
    bias: Floats


@dataclass
class _Quantising:
    """A graph being rewritten, node by node."""

    stored: Mapping[str, Array]
    makers: Mapping[str, onnx.NodeProto]
    taken: Mapping[str, int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def take(self, node: onnx.NodeProto) -> None:
        """Writes the node, or what stands for it."""
        result = node.output[0]
        if layer := self._projection(node):
            width = self._write(layer, f"{result}/all")
            parts = [f"{result}/{part}" for part in ("query", "key", "value")]
            self.weights.append(numpy_helper.from_array(np.full(3, width // 3), f"{result}/sizes"))
            self.nodes.append(helper.make_node("Split", [f"{result}/all", f"{result}/sizes"], parts, axis=-1))
            heads = helper.get_node_attr_value(node, "num_heads")
            inputs = [*parts, "", node.input[3]]
            self.nodes.append(helper.make_node("MultiHeadAttention", inputs, [result], domain=_DOMAIN, num_heads=heads))
        elif layer := self._layer(node):
            self._write(layer, result)
        elif (inner := self._gelu_of(node)) is not None:
            self.nodes.append(helper.make_node("Gelu", [inner], [result], domain=_DOMAIN))
        else:
            self.nodes.append(node)

    def _write(self, layer: _Layer, result: str) -> int:
        """Writes a layer in int8; how wide its result is."""
        scale: Floats = np.maximum(np.abs(layer.weight).max(0), np.float32(1e-12)) / np.float32(_LARGEST)
        kept: dict[str, Array] = {
            f"{result}/weight": np.rint(layer.weight / scale).astype(np.int8),
            f"{result}/scale": scale,
            f"{result}/zero": np.zeros(len(scale), np.int8),
            f"{result}/bias": layer.bias,
        }
        self.weights += [numpy_helper.from_array(array, name) for name, array in kept.items()]
        self.nodes.append(helper.make_node("DynamicQuantizeMatMul", [layer.states, *kept], [result], domain=_DOMAIN))
        return len(scale)

    def _projection(self, node: onnx.NodeProto) -> _Layer | None:
        """Queries, keys and values of an `Attention`, side by side."""
        if node.op_type != "Attention" or len(node.input) != 4:
            return None
        return self._known(node.input[0], node.input[1], node.input[2])

    def _layer(self, node: onnx.NodeProto) -> _Layer | None:
        """The layer whose bias the node adds to a product that nothing else takes."""
        if node.op_type != "Add":
            return None
        for product, bias in (tuple(node.input), tuple(reversed(node.input))):
            made = self.makers.get(product)
            if made is not None and made.op_type == "MatMul" and self.taken[product] == 1:
                return self._known(made.input[0], made.input[1], bias)
        return None

    def _known(self, states: str, weight: str, bias: str) -> _Layer | None:
        """A layer, where its weight is a constant matrix and its bias a constant vector."""
        matrix, shift = self._constant(weight), self._constant(bias)
        if matrix is None or matrix.ndim != 2 or shift is None or shift.ndim != 1:
            return None
        return _Layer(states, np.asarray(matrix, np.float32), np.asarray(shift, np.float32))

    def _gelu_of(self, node: onnx.NodeProto) -> str | None:
        """What a GELU is taken of: x times (half of (one plus the error function of (x over the root of two)))."""
        if node.op_type != "Mul":
            return None
        inner, share = node.input
        shifted = self._rest(share, "Mul", 0.5)
        error = self.makers.get(self._rest(shifted, "Add", 1.0) or "")
        if error is None or error.op_type != "Erf":
            return None
        return inner if self._rest(error.input[0], "Div", 2**0.5) == inner else None

    def _rest(self, name: str | None, kind: str, number: float) -> str | None:
        """The other input of the node of that kind that makes a tensor with this number."""
        node = self.makers.get(name or "")
        if node is None or node.op_type != kind:
            return None
        for one, other in (tuple(node.input), tuple(reversed(node.input))):
            constant = self.stored.get(other)
            if constant is not None and constant.size == 1 and np.isclose(float(constant.item()), number):
                return one
        return None

    def _constant(self, name: str) -> Array | None:
        """A weight, also where it is stored small and made full by a cast and a scale; None for what comes in."""
        if name in self.stored:
            return self.stored[name]
        node = self.makers.get(name)
        if node is None or node.op_type not in ("Cast", "Mul", "Concat"):
            return None
        parts = [self._constant(part) for part in node.input]
        known = [part for part in parts if part is not None]
        return _computed(node, known) if len(known) == len(parts) else None


def _computed(node: onnx.NodeProto, parts: Sequence[Array]) -> Array:
    if node.op_type == "Concat":
        return np.concatenate(parts, axis=helper.get_node_attr_value(node, "axis"))
    if node.op_type == "Cast":
        return parts[0].astype(helper.tensor_dtype_to_np_dtype(helper.get_node_attr_value(node, "to")))
    return np.asarray(np.multiply(*parts))
