"""Toy graphs for raw tensors, served by a real editor."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from diptych.inference import open_inference_pb2 as pb
from tests.services import editor_house as house

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def write_graphs(root: Path) -> Path:
    """`root` with `echo`, one tensor of each datatype, and `echo-typed`, all but FP16; `double`, any length; `pair`,
    exactly two numbers; `total`, whose output has no batch axis."""
    house._write(root, "echo", "upscale", _echo(list(ONNX_TYPES)), "")
    house._write(root, "echo-typed", "upscale", _echo([kind for kind in ONNX_TYPES if kind != "FP16"]), "")
    house._write(root, "double", "upscale", _scaler(2, ["N", "length"]), "")
    house._write(root, "pair", "denoise", _scaler(3, [1, 2]), "")
    house._write(root, "total", "denoise", _total(), "")
    return root


def write_scaler(root: Path, name: str, factor: float) -> None:
    """One more model that multiplies, any length."""
    house._write(root, name, "upscale", _scaler(factor, ["N", "length"]), "")


def request(model: str, *rows: list[float], raw: bool = True, version: str = "") -> pb.ModelInferRequest:
    """A request for one of the graphs that take `x`."""
    values = np.array(rows, np.float32)
    asked = pb.ModelInferRequest(model_name=model, model_version=version, id="1")
    given = asked.inputs.add(name="x", datatype="FP32", shape=values.shape)
    if raw:
        asked.raw_input_contents.append(values.tobytes())
    else:
        given.contents.fp32_contents.extend(values.ravel().tolist())
    return asked


def answer(response: pb.ModelInferResponse, index: int = 0) -> list[list[float]]:
    """One FP32 output, wherever its elements are."""
    output = response.outputs[index]
    if response.raw_output_contents:
        values = np.frombuffer(response.raw_output_contents[index], np.float32)
    else:
        values = np.array(output.contents.fp32_contents, np.float32)
    return values.reshape(tuple(output.shape)).tolist()


def _echo(kinds: list[str]) -> onnx.GraphProto:
    names = {datatype: datatype.lower() for datatype in kinds}
    return helper.make_graph(
        [helper.make_node("Identity", [name], [f"out_{name}"]) for name in names.values()],
        "echo",
        [helper.make_tensor_value_info(name, ONNX_TYPES[kind], ["N", 2]) for kind, name in names.items()],
        [helper.make_tensor_value_info(f"out_{name}", ONNX_TYPES[kind], ["N", 2]) for kind, name in names.items()],
    )


def _scaler(factor: float, shape: list[int | str]) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(factor, np.float32), "factor")],
    )


def _total() -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=1)],
        "total",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "length"])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 1])],
    )
