"""The denoiser FFDNet as ONNX, from its published torch weights.

FFDNet (Zhang, Zuo and Zhang 2018): the picture is taken apart into its four half-size phases, which pass a chain of
3 x 3 convolutions together with a map of the noise's strength, and is put together again. Taking apart and the first
convolution are written as one 6 x 6 convolution of stride 2 here, so the map has the picture's size and is the fourth
channel of the one input.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from diptych.errors import DataCorrupted
from diptych.repository.torch_weights import Weights, read_weights

_OPSET = 17
_IR_VERSION = 9
_COLORS = 3
_PHASES = 4


def write_onnx(weights: Path, target: Path) -> None:
    """Writes the network that `weights`, a `.pth`, describes.

    Input `image` (N, 4, H, W): red, green, blue and the noise's standard deviation, all 0..1, H and W even. Output
    `denoised` (N, 3, H, W). DataCorrupted if the weights are not those of FFDNet for colour pictures.
    """
    layers = _layers(read_weights(weights))
    first, _ = layers[0]
    last, _ = layers[-1]
    if first.shape[1] != _COLORS * _PHASES + 1 or last.shape[0] != _COLORS * _PHASES:
        raise _unknown()
    layers[0] = (_with_phases(first), layers[0][1])
    nodes, constants, value = [], [], "image"
    for index, (kernel, bias) in enumerate(layers):
        constants += [numpy_helper.from_array(kernel, f"w{index}"), numpy_helper.from_array(bias, f"b{index}")]
        stride, pad = (2, 2) if index == 0 else (1, 1)
        made = f"conv{index}"
        nodes.append(
            helper.make_node(
                "Conv", [value, f"w{index}", f"b{index}"], [made],
                kernel_shape=list(kernel.shape[2:]), strides=[stride, stride], pads=[pad] * 4,
            )
        )  # fmt: skip
        value = made
        if index + 1 < len(layers):
            value = f"relu{index}"
            nodes.append(helper.make_node("Relu", [made], [value]))
    nodes.append(helper.make_node("DepthToSpace", [value], ["denoised"], blocksize=2, mode="CRD"))
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", _COLORS + 1, "H", "W"])
    given = helper.make_tensor_value_info("denoised", TensorProto.FLOAT, ["N", _COLORS, "H", "W"])
    graph = helper.make_graph(nodes, "ffdnet", [taken], [given], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _layers(weights: Mapping[str, Weights]) -> list[tuple[Weights, Weights]]:
    """Kernels and biases, first layer first."""
    numbers = sorted(int(found[1]) for name in weights if (found := re.fullmatch(r"model\.(\d+)\.weight", name)))
    layers = [(weights[f"model.{n}.weight"], weights.get(f"model.{n}.bias", np.empty(0, np.float32))) for n in numbers]
    if len(layers) < 2 or 2 * len(layers) != len(weights):
        raise _unknown()
    channels = layers[0][0].shape[1:2]
    for kernel, bias in layers:
        if kernel.ndim != 4 or kernel.shape[1:] != (*channels, 3, 3) or bias.shape != kernel.shape[:1]:
            raise _unknown()
        channels = kernel.shape[:1]
    return layers


def _with_phases(kernel: Weights) -> Weights:
    """(O, 4, 6, 6) of stride 2 that does what (O, 13, 3, 3) does to the four phases of each colour and to the map."""
    whole = np.empty((kernel.shape[0], _COLORS + 1, 6, 6), np.float32)
    for color in range(_COLORS):
        for phase in range(_PHASES):
            whole[:, color, phase // 2 :: 2, phase % 2 :: 2] = kernel[:, color * _PHASES + phase]
    whole[:, _COLORS] = kernel[:, -1].repeat(2, axis=1).repeat(2, axis=2) / _PHASES
    return whole


def _unknown() -> DataCorrupted:
    return DataCorrupted("the weights are not those of FFDNet for colour pictures", reason="FFDNET_UNREADABLE")
