"""Attention written out as products and a softmax, made one operation again.

The pattern, whichever exporter wrote it: softmax(a b) v, where `a` and `b` are the heads of queries and keys (batch,
heads, length, width), moved and scaled on their way, and the result's heads are put back behind the length. The fused
operation of ONNX Runtime never holds the whole matrix of weights (Dao et al. 2022, FlashAttention).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from diptych.engines.base import Array

_HEADS_FIRST = (0, 2, 1, 3)
# From (batch, length, heads, width) to where the product wants keys: as heads, or turned at once.
_KEYS = (_HEADS_FIRST, (0, 2, 3, 1))
_TURNED = (0, 1, 3, 2)
_LONGEST_WAY = 6


@dataclass(frozen=True)
class _Heads:
    """Where queries, keys or values come from: a tensor (batch, length, heads, width), or (batch, heads, length,
    width) where `first` says so; `scales` are what it is multiplied with on its way."""

    name: str
    first: bool
    scales: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """One attention, whose result (batch, length, heads, width) is made by `last`."""

    q: _Heads
    k: _Heads
    v: _Heads
    last: onnx.NodeProto

    @property
    def parts(self) -> tuple[_Heads, _Heads, _Heads]:
        return self.q, self.k, self.v


def fuse_attention(model: onnx.ModelProto, samples: Mapping[str, Array], work: Path) -> int:
    """Replaces in place each attention that it recognises; how many. `samples`: inputs that tell heads and scales."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            takers[name].append(node)
    candidates = [_match(node, makers, takers) for node in graph.node if node.op_type == "Softmax"]
    found = [one for one in candidates if one is not None]
    if not found:
        return 0
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.dims in ([], [1])}
    names = [name for one in found for part in one.parts for name in (part.name, *part.scales)]
    values = {**constants, **_run(model, [name for name in names if name in makers], samples, work)}
    fused = 0
    for number, one in enumerate(found):
        scales = [values.get(name) for part in one.parts for name in part.scales]
        heads = [np.shape(values[part.name])[1 if part.first else 2] for part in one.parts if part.name in values]
        if len(set(heads)) != 1 or len(heads) != 3 or any(scale is None or np.size(scale) != 1 for scale in scales):
            continue
        scale = float(np.prod([float(np.squeeze(value)) for value in scales if value is not None]))
        _replace(graph, one, number, heads=int(heads[0]), scale=scale)
        fused += 1
    return fused


def _match(
    softmax: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], takers: Mapping[str, list[onnx.NodeProto]]
) -> _Found | None:
    product = makers.get(softmax.input[0])
    after = takers[softmax.output[0]]
    if product is None or product.op_type != "MatMul" or len(after) != 1 or after[0].op_type != "MatMul":
        return None
    last = takers[after[0].output[0]]
    if after[0].input[0] != softmax.output[0] or len(last) != 1 or _order(last[0]) != _HEADS_FIRST:
        return None
    q = _origin(product.input[0], makers, (_HEADS_FIRST,))
    k = _origin(product.input[1], makers, _KEYS, turned=True)
    v = _origin(after[0].input[1], makers, (_HEADS_FIRST,))
    if q is None or k is None or v is None or v.scales:
        return None
    return _Found(q, k, v, last[0])


def _origin(
    name: str, makers: Mapping[str, onnx.NodeProto], orders: tuple[tuple[int, ...], ...], *, turned: bool = False
) -> _Heads | None:
    """Where `name` comes from by scaling and moving alone; None if by more. `turned`: with its last axes swapped."""
    begin, scales = name, list[str]()
    for _ in range(_LONGEST_WAY):
        node = makers.get(name)
        if node is None or node.op_type not in ("Mul", "Transpose", "Reshape"):
            break
        if _order(node) in orders:
            return _Heads(node.input[0], False, tuple(scales))
        if node.op_type == "Mul":
            scales.append(node.input[1])
        name = node.input[0]
    name, scales = begin, []
    for _ in range(_LONGEST_WAY):
        node = makers.get(name)
        if node is not None and node.op_type == "Mul" and (turned or not scales):
            scales.append(node.input[1])
        elif node is not None and turned and _order(node) == _TURNED:
            turned = False
        else:
            break
        name = node.input[0]
    return None if turned else _Heads(name, True, tuple(scales))


def _order(node: onnx.NodeProto) -> tuple[int, ...]:
    if node.op_type != "Transpose":
        return ()
    return tuple(next((attribute.ints for attribute in node.attribute if attribute.name == "perm"), ()))


def _run(model: onnx.ModelProto, names: list[str], samples: Mapping[str, Array], work: Path) -> dict[str, Array]:
    """Tensors inside the graph when it runs on `samples`."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    for name in dict.fromkeys(names):
        probe.graph.output.append(helper.make_empty_tensor_value_info(name))
    path = work / "probe.onnx"
    onnx.save(probe, path, save_as_external_data=True, location="probe.bin", size_threshold=1024)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = [output.name for output in session.get_outputs()]
    values = dict(zip(wanted, session.run(wanted, dict(samples)), strict=True))
    for remains in work.glob("probe.*"):
        remains.unlink()
    return values


def _replace(graph: onnx.GraphProto, found: _Found, number: int, *, heads: int, scale: float) -> None:
    """Puts one operation in the place of the attention; what it no longer needs is pruned later."""
    prefix = f"attention_{number}"
    shape, back = f"{prefix}_flat", f"{prefix}_heads"
    graph.initializer.append(numpy_helper.from_array(np.array([0, 0, -1], np.int64), shape))
    graph.initializer.append(numpy_helper.from_array(np.array([0, 0, heads, -1], np.int64), back))
    nodes, flat = [], []
    for letter, part in zip("qkv", found.parts, strict=True):
        name, result = part.name, f"{prefix}_{letter}"
        if part.first:
            name = f"{result}_turned"
            nodes.append(helper.make_node("Transpose", [part.name], [name], name, perm=_HEADS_FIRST))
        nodes.append(helper.make_node("Reshape", [name, shape], [result], result))
        flat.append(result)
    out = f"{prefix}_out"
    fused = helper.make_node(
        "MultiHeadAttention", flat, [out], prefix, domain="com.microsoft", num_heads=heads, scale=scale
    )
    nodes += [fused, helper.make_node("Reshape", [out, back], list(found.last.output), f"{prefix}_back")]
    index = next(place for place, node in enumerate(graph.node) if node == found.last)
    del graph.node[index]
    for offset, node in enumerate(nodes):
        graph.node.insert(index + offset, node)
