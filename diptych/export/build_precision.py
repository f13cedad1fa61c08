"""Graphs in fewer bits: half precision, or integers calibrated on real inputs."""

import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

import onnx

from diptych.export.build_inputs import Inputs

Method = Literal["static", "dynamic"]
_WEIGHTED = ["Conv", "MatMul", "Gemm"]


def to_half(model: onnx.ModelProto, work: Path, *, lifted: Collection[str] = ()) -> onnx.ModelProto:
    """The graph with half-precision weights and arithmetic; inputs and outputs stay single, and so do the angles of
    timesteps, which run up to a thousand: half precision would leave their sines to chance. `lifted`: inputs that are
    weights, which do not stay single."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    path = _saved(model, work, "single")
    kept = [value.name for value in (*model.graph.input, *model.graph.output) if value.name not in lifted]
    with warnings.catch_warnings():
        # It warns of each weight that half precision rounds to nought; the comparison tells whether that matters.
        warnings.simplefilter("ignore")
        converted: onnx.ModelProto = convert_float_to_float16(
            str(path), keep_io_types=kept, node_block_list=_angles(model.graph)
        )
    _clear(work, "single")
    _without_detours(converted.graph)
    return converted


def _angles(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that take sines and cosines, and of all that makes what they take."""
    makers = {name: node for node in graph.node for name in node.output}
    rest = [node for node in graph.node if node.op_type in ("Sin", "Cos")]
    found: dict[str, onnx.NodeProto] = {}
    while rest:
        node = rest.pop()
        if node.name not in found:
            found[node.name] = node
            rest += [makers[name] for name in node.input if name in makers]
    return list(found)


def _without_detours(graph: onnx.GraphProto) -> None:
    """Between two nodes that stay single, numbers need not become half precision on the way."""
    made: set[str] = set()
    for node in list(graph.node):  # The conversion casts a tensor once for each node that takes it, under one name.
        if _cast(node) and node.output[0] in made:
            graph.node.remove(node)
        made.update(node.output)
    halved = {node.output[0]: node.input[0] for node in graph.node if _cast(node) == onnx.TensorProto.FLOAT16}
    single = {node.output[0]: node.input[0] for node in graph.node if _cast(node) == onnx.TensorProto.FLOAT}
    straight = {name: halved[given] for name, given in single.items() if given in halved}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = straight.get(name, name)
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in [node for node in graph.node if node.output[0] not in used]:
        graph.node.remove(node)


def _cast(node: onnx.NodeProto) -> int:
    return node.attribute[0].i if node.op_type == "Cast" else 0


def to_integers(
    model: onnx.ModelProto, samples: Sequence[Inputs], work: Path, *, method: Method, symmetric: bool
) -> onnx.ModelProto:
    """The graph with 8-bit products and convolutions.

    `static`: scales of activations fixed by the `samples`. `dynamic`: found anew in every run, products alone.
    `symmetric`: around nought, as TensorRT wants it; otherwise as CPUs do it best, with weights of 7 bits, for
    processors without dot products of bytes would overflow with 8.
    """
    path, target = _saved(model, work, "whole"), work / "integers.onnx"
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # The package advises, through the root logger, what was done before.
    try:
        _quantize(path, target, samples, method, symmetric)
    finally:
        root.setLevel(level)
    quantized = onnx.load(target)
    _clear(work, "whole")
    _clear(work, "integers")
    return quantized


def _quantize(path: Path, target: Path, samples: Sequence[Inputs], method: Method, symmetric: bool) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization import QuantType

    if method == "dynamic":
        quantization.quantize_dynamic(
            path, target, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8, use_external_data_format=True,
        )  # fmt: skip
    else:
        quantization.quantize_static(
            path,
            target,
            _Reader(samples),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_WEIGHTED,
            per_channel=True,
            reduce_range=not symmetric,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": not symmetric},
        )


class _Reader:
    """The samples one by one, as the calibrator asks for them."""

    def __init__(self, samples: Sequence[Inputs]) -> None:
        self._rest: Iterator[Inputs] = iter(samples)

    def get_next(self) -> Inputs | None:
        """The next sample's inputs, None after the last."""
        return next(self._rest, None)


def _saved(model: onnx.ModelProto, work: Path, name: str) -> Path:
    path = work / f"{name}.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # Saving weights elsewhere takes them out of what is saved.
    onnx.save(copy, path, save_as_external_data=True, location=f"{name}.bin", size_threshold=1024)
    return path


def _clear(work: Path, name: str) -> None:
    for remains in work.glob(f"{name}*"):
        remains.unlink()
