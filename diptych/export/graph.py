"""One torch module as an ONNX file, and how far the two are apart."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor, nn

from diptych.engines.onnx import OnnxEngine
from diptych.errors import DataCorrupted, FailedPrecondition
from diptych.export.weights import store_weights

_OPSET = 18
# Largest difference that is taken for rounding, as a part of the largest number in torch's answer.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Graph:
    """What to export: `module` called with `inputs` by position, giving `outputs`.

    `axes` names the sizes that may vary, by tensor and axis. `others` are inputs of other sizes to compare on.
    """

    part: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    axes: Mapping[str, Mapping[int, str]]
    others: Mapping[str, Tensor]


def export_graph(graph: Graph, folder: Path, *, tolerance: float = TOLERANCE) -> float:
    """Writes `folder`/model.onnx (large weights beside it in model.safetensors) and gives its difference to torch.

    The difference is the largest one, as a part of the largest number. FailedPrecondition when it is beyond
    `tolerance`, DataCorrupted when torch's own answer is no number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    module = graph.module.eval().requires_grad_(False)
    raw = folder / "raw"
    raw.mkdir()
    with warnings.catch_warnings(), torch.inference_mode():
        # Tracing warns of every size it might freeze; `others` below shows whether one was. The tracing exporter is
        # on its way out, yet it is ten times as fast as its successor and leaves sizes free without being told how.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(graph.inputs.values()),
            str(raw / "model.onnx"),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: dict(axes) for name, axes in graph.axes.items()},
            dynamo=False,
            opset_version=_OPSET,
        )
    model = onnx.load(raw / "model.onnx")
    for remains in raw.iterdir():
        remains.unlink()
    raw.rmdir()
    _keep_inputs(model, graph)
    store_weights(model, path)
    difference = _difference(graph, path)
    if math.isnan(difference):
        raise DataCorrupted(
            f"{graph.part} answers with what are no numbers; weights of it, or of what was merged into it, are spoilt",
            reason="UNREADABLE_WEIGHTS",
        )
    if not difference <= tolerance:
        raise FailedPrecondition(
            f"{graph.part} as ONNX differs from torch by {difference:.2g} of its range, more than {tolerance:g}; "
            "this version of torch does not export it faithfully",
            reason="EXPORT_DIFFERS",
        )
    return difference


def _keep_inputs(model: onnx.ModelProto, graph: Graph) -> None:
    """Names again what the exporter dropped because the module ignores it: who calls gives all of `inputs`."""
    present = {tensor.name for tensor in model.graph.input}
    for name, tensor in graph.inputs.items():
        if name not in present:
            shape = [graph.axes.get(name, {}).get(axis, size) for axis, size in enumerate(tensor.shape)]
            kind = TensorProto.INT64 if tensor.dtype == torch.int64 else TensorProto.FLOAT
            model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, shape))


def _difference(graph: Graph, path: Path) -> float:
    engine = OnnxEngine(path, providers=["CPUExecutionProvider"], keep_memory=False)
    differences = []
    for inputs in (graph.inputs, graph.others):
        with torch.inference_mode():
            answer = graph.module(*inputs.values())
        expected = [answer] if isinstance(answer, Tensor) else list(answer)
        outputs = engine.run({name: tensor.numpy() for name, tensor in inputs.items()})
        differences += [
            float(np.abs(outputs[name] - tensor.numpy()).max() / max(float(tensor.abs().max()), 1e-6))
            for name, tensor in zip(graph.outputs, expected, strict=True)
        ]
    engine.close()
    return float(np.max(differences))  # Unlike Python's, it keeps what is no number.
