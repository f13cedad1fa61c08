"""Graphs of denoisers without their matrices and kernels: a few megabytes, made in a minute or two with little memory,
on any machine. `fill` gives them weights where they are to run.

A weight that is not there is an input of its graph, named as in the module, with the order of its axes behind a colon
where the graph wants another: `owner.conv_in.weight:0,2,3,1`. Vectors, some of which decide what is fused, are in the
graph, and in SMALL for the module.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import StringStringEntryProto, TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.gpu_models import Denoiser
from diptych.engines.base import Array
from diptych.engines.machine import tensorrt_versions
from diptych.export.build_cuda import fuse_for_cuda
from diptych.export.build_graph import fuse, simplify
from diptych.export.build_precision import to_half

# What ONNX Runtime runs anywhere, what its CUDA provider alone has operations for, and what TensorRT reads.
FUSED, FOR_CUDA, PLAIN = "model.onnx", "cuda.onnx", "plain.onnx"
SMALL, WEIGHTS = "small.safetensors", "weights.safetensors"
_OPSET = 18
_PREFIX = "owner."
_CHANNELS_LAST = (0, 2, 3, 1)


def write_graphs(denoiser: Denoiser, folder: Path, *, half: bool, clock: Callable[[str], None]) -> dict[str, int]:
    """Writes the graphs to `folder`, the one for TensorRT where it is installed; what was fused."""
    work = folder / "work"
    work.mkdir(parents=True)
    module = _hollow(denoiser)
    clock("made")
    graph = denoiser.graph(module)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # Of sizes that tracing might freeze; the answers are compared when timed.
        torch.onnx.export(
            graph.module.eval(), tuple(graph.inputs.values()), str(work / "traced.onnx"),
            input_names=list(graph.inputs), output_names=list(graph.outputs),
            dynamic_axes={name: dict(axes) for name, axes in graph.axes.items()},
            dynamo=False, opset_version=_OPSET, export_params=False, do_constant_folding=False,
        )  # fmt: skip
    small = {name: tensor for name, tensor in module.state_dict().items() if tensor.ndim < 2}
    save_file({name: tensor.contiguous() for name, tensor in small.items()}, folder / SMALL)
    model = onnx.load(work / "traced.onnx")
    _put_in(model, {f"{_PREFIX}{name}": tensor.numpy() for name, tensor in small.items()})
    _turned(model)
    onnx.save(model, work / "traced.onnx")
    clock("exported")
    model = simplify(work / "traced.onnx", work)
    clock("simplified")
    large = {value.name: _shape(value) for value in model.graph.input if value.name.startswith(_PREFIX)}
    if tensorrt_versions():
        (folder / PLAIN).write_bytes(_precise(model, half, work, large).SerializeToString())
        clock(PLAIN)
    sample = {name: tensor.numpy() for name, tensor in graph.inputs.items()}
    counts = fuse(model, sample | {name: np.zeros(shape, np.float32) for name, shape in large.items()}, work)
    clock("fused")
    model = _precise(model, half, work, large)
    (folder / FUSED).write_bytes(model.SerializeToString())
    clock("in half precision" if half else "in single precision")
    counts |= _for_cuda(model)
    (folder / FOR_CUDA).write_bytes(model.SerializeToString())
    clock(FOR_CUDA)
    shutil.rmtree(work)
    return counts


def fill(module: nn.Module, folder: Path) -> None:
    """Writes the module's weights to `folder`, and into its graphs where to find them there."""
    state = module.state_dict()
    graphs = {path: onnx.load(path) for path in folder.glob("*.onnx")}
    inputs = {value.name: value for model in graphs.values() for value in model.graph.input}
    wanted = {name: value for name, value in inputs.items() if name.startswith(_PREFIX)}
    save_file({name: _placed(state, name, value) for name, value in wanted.items()}, folder / WEIGHTS)
    places = _places(folder / WEIGHTS)
    for path, model in graphs.items():
        kept = [value for value in model.graph.input if value.name not in wanted]
        for value in model.graph.input:
            if value.name in wanted:
                model.graph.initializer.append(_beside(value, places[value.name]))
        del model.graph.input[:]
        model.graph.input.extend(kept)
        path.write_bytes(model.SerializeToString())


def _hollow(denoiser: Denoiser) -> nn.Module:
    """The denoiser with matrices of one repeated number: they take no memory. Each has its own, for the exporter makes
    equal ones one."""
    with torch.device("meta"):
        module = denoiser.make()
    torch.manual_seed(0)
    number = 0
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, weight in list(held.items()):
                if weight is None:
                    continue
                number += 1
                one = torch.tensor(1e-2 + 1e-6 * number)
                value = _vector(part, name, weight) if weight.ndim < 2 else one.expand(weight.shape)
                held[name] = nn.Parameter(value, requires_grad=False)
    return module.eval()


def _vector(part: nn.Module, name: str, weight: Tensor) -> Tensor:
    """Scales of normalisations as they begin; shifts are small, and few different ones, so that they pack well."""
    scales = name == "weight" and "Norm" in type(part).__name__
    return torch.ones(weight.shape) if scales else 0.01 * torch.randint(-6, 7, weight.shape).float()


def _put_in(model: onnx.ModelProto, values: Mapping[str, Array]) -> None:
    """Makes weights of inputs."""
    kept = [value for value in model.graph.input if value.name not in values]
    named = {value.name for value in model.graph.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in values.items() if name in named
    )
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _turned(model: onnx.ModelProto) -> None:
    """Weights that are transposed before they are used are inputs as they are used."""
    large = {value.name: value for value in model.graph.input if value.name.startswith(_PREFIX)}
    turned: dict[str, str] = {}
    for node in list(model.graph.node):
        if node.op_type == "Transpose" and node.input[0] in large:
            order = next(tuple(one.ints) for one in node.attribute if one.name == "perm")
            made = _as_used(large[node.input[0]], order)
            if made.name not in large:
                model.graph.input.append(made)
                large[made.name] = made
            turned[node.output[0]] = made.name
            model.graph.node.remove(node)
    taken: set[str] = set()
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = turned.get(name, name)
        taken.update(node.input)
    kept = [value for value in model.graph.input if value.name in taken or value.name not in large]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _precise(model: onnx.ModelProto, half: bool, work: Path, large: Iterable[str]) -> onnx.ModelProto:
    return to_half(model, work, lifted=set(large)) if half else model


def _for_cuda(model: onnx.ModelProto) -> dict[str, int]:
    """Fuses what CUDA alone has operations for. Convolutions want weights to turn: they have noughts meanwhile."""
    inputs = {value.name: value for value in model.graph.input}
    convolutions = {node.name: node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    weights = {name for name in convolutions.values() if name in inputs}
    _put_in(model, {name: _noughts(inputs[name]) for name in weights})
    counts = fuse_for_cuda(model)
    for node in model.graph.node:
        # The package names such a node after the one that it was.
        source = convolutions[node.name.split("-", 1)[1]] if node.op_type == "NhwcConv" else ""
        if source in weights:
            node.input[1] = _ordered(source, _CHANNELS_LAST)
            inputs[node.input[1]] = _as_used(inputs[source], _CHANNELS_LAST)
    _take_out(model, inputs)
    return counts


def _take_out(model: onnx.ModelProto, inputs: Mapping[str, onnx.ValueInfoProto]) -> None:
    """Makes inputs of weights again, and drops those that nothing takes."""
    taken = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in taken and tensor.name not in inputs]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    present = {value.name for value in model.graph.input}
    model.graph.input.extend(value for name, value in inputs.items() if name in taken and name not in present)


def _noughts(value: onnx.ValueInfoProto) -> Array:
    return np.zeros(_shape(value), helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _as_used(value: onnx.ValueInfoProto, order: Sequence[int]) -> onnx.ValueInfoProto:
    shape = _shape(value)
    kind = value.type.tensor_type.elem_type
    return helper.make_tensor_value_info(_ordered(value.name, order), kind, [shape[axis] for axis in order])


def _ordered(name: str, order: Sequence[int]) -> str:
    return f"{name}:{','.join(map(str, order))}"


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


def _placed(state: Mapping[str, Tensor], name: str, value: onnx.ValueInfoProto) -> Tensor:
    """The weight as the graph wants it: axes in that order, in that type."""
    key, _, order = name.removeprefix(_PREFIX).partition(":")
    half = value.type.tensor_type.elem_type == TensorProto.FLOAT16
    tensor = state[key].to(torch.float16 if half else torch.float32)
    ordered = tensor.permute(*map(int, order.split(","))) if order else tensor
    return ordered.clone(memory_format=torch.contiguous_format)


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Where each tensor of a safetensors file begins, and its length."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    places = {name: one["data_offsets"] for name, one in header.items() if name != "__metadata__"}
    return {name: (8 + length + begin, end - begin) for name, (begin, end) in places.items()}


def _beside(value: onnx.ValueInfoProto, place: tuple[int, int]) -> TensorProto:
    """The weight of that name, to be read from the file beside the graph."""
    kind = value.type.tensor_type.elem_type
    tensor = TensorProto(name=value.name, data_type=kind, dims=_shape(value), data_location=TensorProto.EXTERNAL)
    keys = {"location": WEIGHTS, "offset": str(place[0]), "length": str(place[1])}
    tensor.external_data.extend(StringStringEntryProto(key=key, value=text) for key, text in keys.items())
    return tensor
