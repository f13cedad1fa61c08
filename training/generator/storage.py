"""How large weights are stored in a graph: in half or a quarter of their size, widened again when it is opened.

The runtime folds the widening into the weights at load, so all arithmetic stays float32 and no step pays for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

SMALLEST = 2048  # numbers; smaller tensors are not worth a node
HALF, BYTES, SCALE = "_half", "_int8", "_scale"

Values = NDArray[Any]


def halve(name: str, values: Values) -> tuple[list[TensorProto], list[NodeProto]]:
    """float16 behind a Cast."""
    stored = numpy_helper.from_array(values.astype(np.float16), name + HALF)
    return [stored], [helper.make_node("Cast", [name + HALF], [name], to=TensorProto.FLOAT)]


def quantise(name: str, values: Values, axis: int) -> tuple[list[TensorProto], list[NodeProto]]:
    """int8 times a float32 scale for each index of `axis`, the outputs; symmetric around zero."""
    others = tuple(n for n in range(values.ndim) if n != axis % values.ndim)
    scale = np.maximum(np.abs(values).max(others, keepdims=True), 1e-12).astype(np.float32) / 127
    whole = np.rint(values / scale).astype(np.int8)
    tensors = [numpy_helper.from_array(whole, name + BYTES), numpy_helper.from_array(scale, name + SCALE)]
    wide = name + "_wide"
    cast = helper.make_node("Cast", [name + BYTES], [wide], to=TensorProto.FLOAT)
    return tensors, [cast, helper.make_node("Mul", [wide, name + SCALE], [name])]


def compress(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """The same graph with its large weights as `precision`: "float32" (as they are), "float16" or "int8"."""
    if precision == "float32":
        return model
    graph = model.graph
    multiplied = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    kept: list[TensorProto] = []
    widening: list[NodeProto] = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.ndim < 2 or values.size < SMALLEST:
            kept.append(tensor)
            continue
        if precision == "float16":
            stored, nodes = halve(tensor.name, values)
        else:
            stored, nodes = quantise(tensor.name, values, -1 if tensor.name in multiplied else 0)
        kept.extend(stored)
        widening.extend(nodes)
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*widening, *nodes])
    return model


def read_weights(path: Path) -> dict[str, Values]:
    """The arrays that a graph computes with, by name, however they are stored."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    weights = {}
    for name, values in stored.items():
        if name.endswith(HALF):
            weights[name.removesuffix(HALF)] = values.astype(np.float32)
        elif name.endswith(BYTES):
            plain = name.removesuffix(BYTES)
            weights[plain] = values.astype(np.float32) * stored[plain + SCALE]
        elif not name.endswith(SCALE):
            weights[name] = values
    return weights
