"""A text encoder whose attention is written out as products and a softmax, with each made one operation.

What ONNX Runtime's `Attention` computes is the same (Vaswani et al. 2017), with one product for queries, keys and
values instead of three. Weights stay as they are stored, unless products are to be in int8.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from diptych.errors import DataCorrupted
from diptych.repository import products

_MASK = "attention_mask"
_DOMAIN = "com.microsoft"


def write_fused(source: Path, heads: int, target: Path, *, in_int8: bool = False) -> None:
    """Writes `target`: the encoder with `heads` heads in each of its attentions, multiplying in int8 if so asked.

    Takes `attention_mask` (N, L) int64. DataCorrupted when `source` is no such encoder.
    """
    try:
        model = onnx.load(source)
    except DecodeError as error:
        raise DataCorrupted(f"{source.name} is no ONNX file", reason="UNREADABLE_GRAPH") from error
    graph = model.graph
    found = _Graph.of(graph.node).attentions()
    if not found or _MASK not in {value.name for value in graph.input}:
        raise DataCorrupted(
            f"{source.name} has no attention of the known form over {_MASK}", reason="UNSUPPORTED_GRAPH"
        )
    nodes = [helper.make_node("Cast", [_MASK], ["mask/int32"], to=TensorProto.INT32)]
    for node in graph.node:
        attention = found.get(node.output[0])
        nodes += [node] if attention is None else attention.nodes(node.output[0], heads)
    weights = list(graph.initializer)
    if in_int8:
        nodes, quantised = products.in_int8(nodes, weights)
        weights += quantised
    kept = _needed(nodes, [value.name for value in graph.output])
    taken = {name for node in kept for name in node.input}
    weights = [tensor for tensor in weights if tensor.name in taken]
    fused = helper.make_graph(kept, graph.name, list(graph.input), list(graph.output), weights)
    opset = [helper.make_opsetid(entry.domain, entry.version) for entry in model.opset_import]
    opset.append(helper.make_opsetid(_DOMAIN, 1))
    onnx.save(helper.make_model(fused, opset_imports=opset, ir_version=model.ir_version), target)


@dataclass(frozen=True)
class _Linear:
    """`taken` times `weight` plus `bias`."""

    taken: str
    weight: str
    bias: str


@dataclass(frozen=True)
class _Attention:
    """Queries, keys and values of the same states."""

    parts: tuple[_Linear, _Linear, _Linear]

    def nodes(self, result: str, heads: int) -> list[onnx.NodeProto]:
        """What makes `result`."""
        states, weight, bias = self.parts[0].taken, f"{result}/weight", f"{result}/bias"
        return [
            helper.make_node("Concat", [part.weight for part in self.parts], [weight], axis=1),
            helper.make_node("Concat", [part.bias for part in self.parts], [bias], axis=0),
            helper.make_node(
                "Attention", [states, weight, bias, "mask/int32"], [result], domain=_DOMAIN, num_heads=heads
            ),
        ]


@dataclass(frozen=True)
class _Graph:
    """Which node makes a tensor, and which take it."""

    makers: Mapping[str, onnx.NodeProto]
    takers: Mapping[str, Sequence[onnx.NodeProto]]

    @classmethod
    def of(cls, nodes: Sequence[onnx.NodeProto]) -> "_Graph":
        takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in nodes:
            for name in node.input:
                takers[name].append(node)
        return cls({name: node for node in nodes for name in node.output}, takers)

    def attentions(self) -> dict[str, _Attention]:
        """Attentions by the tensor that holds their result, heads put together again."""
        found = {}
        for node in self.makers.values():
            if node.op_type != "Softmax":
                continue
            mixed = self._after(node, "MatMul")
            result = self._after(self._after(mixed, "Transpose"), "Reshape")
            scores = self._before(node.input[0], "MatMul")
            if mixed is None or result is None or scores is None:
                continue
            parts = tuple(self._linear(name) for name in (*scores.input, mixed.input[1]))
            query, key, value = parts
            if query is None or key is None or value is None or len({query.taken, key.taken, value.taken}) > 1:
                continue
            found[result.output[0]] = _Attention((query, key, value))
        return found

    def _after(self, node: onnx.NodeProto | None, kind: str) -> onnx.NodeProto | None:
        """The next node of that kind, past what only guards against numbers that are none."""
        while node is not None:
            following = [taker for taker in self.takers.get(node.output[0], ()) if taker.op_type != "IsNaN"]
            node = following[0] if len({taker.output[0] for taker in following}) == 1 else None
            if node is not None and node.op_type == kind:
                return node
        return None

    def _before(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node of that kind that a tensor comes from, along first inputs."""
        node = self.makers.get(name)
        while node is not None and node.op_type != kind:
            node = self.makers.get(node.input[0])
        return node

    def _linear(self, name: str) -> _Linear | None:
        """The layer that a tensor comes from, its heads told apart, moved and scaled on the way."""
        node = self.makers.get(name)
        while node is not None:
            if node.op_type == "Add":
                for product, bias in (tuple(node.input), tuple(reversed(node.input))):
                    made = self.makers.get(product)
                    if made is not None and made.op_type == "MatMul" and bias not in self.makers:
                        return _Linear(made.input[0], made.input[1], bias)
            node = self.makers.get(node.input[0]) if node.input else None
        return None


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, in their order."""
    makers = {name: node for node in nodes for name in node.output}
    needed: set[str] = set()
    waiting = list(outputs)
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            waiting.extend(node.input)
    return [node for node in nodes if node.output[0] in needed]
