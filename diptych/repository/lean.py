"""Half-precision networks rewritten for processors without half-precision arithmetic.

Such a processor runs them in single precision anyway, with two conversions around every operation; written out like
that, and without the outputs that nobody asks for, the same network is faster and needs half of the memory.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from diptych.errors import DataCorrupted

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def write_lean(source: Path, output: str, target: Path) -> None:
    """Writes `target`: the network with `output` alone, its weights in half and its arithmetic in single precision.

    DataCorrupted when `source` is no ONNX file or has no such output.
    """
    try:
        model = onnx.load(source)
    except DecodeError as error:
        raise DataCorrupted(f"{source.name} is no ONNX file", reason="UNREADABLE_GRAPH") from error
    graph = model.graph
    kept = [value for value in graph.output if value.name == output]
    if not kept:
        raise DataCorrupted(f"{source.name} has no output {output}", reason="OUTPUT_MISSING")
    replaced = {node.output[0]: node.input[0] for node in graph.node if _is_float_cast(node)}
    nodes = [node for node in graph.node if not _is_float_cast(node)]
    for node in nodes:
        node.input[:] = [_origin(name, replaced) for name in node.input]
        # What a dropped conversion gave as the result keeps the result's name.
        node.output[:] = [output if name == _origin(output, replaced) else name for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype("float32")))
    widened = [_widened(tensor) for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    ordered = _needed(nodes, output)
    taken = {name for node in ordered for name in node.input}
    initializers = [tensor for tensor in graph.initializer if {tensor.name, tensor.name.removesuffix(_HALF)} & taken]
    lean = helper.make_graph(
        [node for node in widened if node.output[0] in taken] + ordered,
        graph.name,
        list(graph.input),
        kept,
        initializers,
    )
    opset = [helper.make_opsetid(entry.domain, entry.version) for entry in model.opset_import]
    onnx.save(helper.make_model(lean, opset_imports=opset, ir_version=model.ir_version), target)


_HALF = "/half"


def _widened(tensor: TensorProto) -> onnx.NodeProto:
    """The conversion of a weight, under the weight's name; the weight itself gets another."""
    name = tensor.name
    tensor.name = name + _HALF
    node: onnx.NodeProto = helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT)
    return node


def _is_float_cast(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i in _FLOATS


def _origin(name: str, replaced: dict[str, str]) -> str:
    while name in replaced:
        name = replaced[name]
    return name


def _needed(nodes: Sequence[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes that `output` depends on, each after those it takes from."""
    makers = {name: node for node in nodes for name in node.output}
    ordered: list[onnx.NodeProto] = []
    done: set[str] = set()
    stack = [output]
    while stack:
        name = stack[-1]
        node = makers.get(name)
        waiting = [] if node is None else [taken for taken in node.input if taken in makers and taken not in done]
        if name not in done and waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        if node is not None and name not in done:
            done.update(node.output)
            ordered.append(node)
    return ordered
