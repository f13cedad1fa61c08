"""An editor in this process, with networks small enough to write here: enlargers, and a matte of what is dark."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from diptych.images import from_message, to_message
from diptych.serving.server import ServiceServer
from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2
from services.editor.app import EditorConfig, build

SIDE = 64

MANIFEST = """
name = "{name}"
version = "1.0"
kind = "EDITING"
task = "{task}"
license = "CC0-1.0"
origin = "Written by a test"
description = "{name}, tiny"
[defaults]
{defaults}
[[files]]
path = "model.onnx"
sha256 = "{sha256}"
source = {{ type = "repository" }}
"""


def write_models(root: Path) -> Path:
    """`root` with isnet, ffdnet, enlargers, the style networks, and `far`, whose file is not here."""
    for name, factor in (("span-x2", 2), ("span-x4", 4), ("realesr-animevideov3-x4", 4)):
        _write(root, name, "upscale", _enlarger(factor), f"scale = {factor}")
    _write(root, "isnet", "matting", _matte(), f"side = {SIDE}\nmean = 128.0\nscale = 256.0\nborder = 0.25")
    _write(root, "ffdnet", "denoise", _smoother(), "")
    _write(root, "multistyle-26", "named-style", _named_painter(), "")
    _write(root, "magenta-style-code", "style-code", _style_reader(), "")
    _write(root, "magenta-style", "style", _painter(), "")
    far = root / "far"
    far.mkdir()
    text = MANIFEST.format(name="far", task="upscale", defaults="scale = 2", sha256="0" * 64)
    source = 'source = { type = "python", package = "p", version = "1", members = [{ path = "model.onnx" }] }'
    (far / "manifest.toml").write_text(text.replace('source = { type = "repository" }', source))
    return root


def write_inpainting(root: Path, *, side: int | None = None) -> Path:
    """`root` with `painter`, a network for inpainting that makes its hole green; of a fixed `side` if one is given."""
    constants = [numpy_helper.from_array(np.array([0, 1, 0], np.float32).reshape(1, 3, 1, 1), "green")]
    nodes = [
        helper.make_node("Sub", ["green", "image"], ["away"]),
        helper.make_node("Mul", ["away", "mask"], ["bound"]),
        helper.make_node("Add", ["image", "bound"], ["painted"]),
    ]
    sides = [side, side] if side else ["H", "W"]
    taken = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, *sides])
        for name, channels in (("mask", 1), ("image", 3))
    ]
    given = helper.make_tensor_value_info("painted", TensorProto.FLOAT, ["N", 3, *sides])
    graph = helper.make_graph(nodes, "paint", taken, [given], constants)
    _write(root, "painter", "inpainting", graph, "side = 64")
    return root


def _write(root: Path, name: str, task: str, graph: onnx.GraphProto, defaults: str) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / "manifest.toml").write_text(MANIFEST.format(name=name, task=task, defaults=defaults, sha256=sha256))


def _enlarger(factor: int) -> onnx.GraphProto:
    scales = numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), "scales")
    node = helper.make_node("Resize", ["image", "", "scales"], ["upscaled"], mode="nearest", nearest_mode="floor",
                            coordinate_transformation_mode="asymmetric")  # fmt: skip
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    given = helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, ["N", 3, f"{factor}H", f"{factor}W"])
    return helper.make_graph([node], "enlarge", [taken], [given], [scales])


def _smoother() -> onnx.GraphProto:
    """The mean of three by three pixels, whatever the noise map, the fourth channel, says."""
    kernel = np.zeros((3, 4, 3, 3), np.float32)
    kernel[range(3), range(3)] = 1 / 9
    node = helper.make_node("Conv", ["image", "kernel"], ["denoised"], pads=[1, 1, 1, 1])
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 4, "H", "W"])
    given = helper.make_tensor_value_info("denoised", TensorProto.FLOAT, ["N", 3, "H", "W"])
    return helper.make_graph([node], "smooth", [taken], [given], [numpy_helper.from_array(kernel, "kernel")])


def _named_painter() -> onnx.GraphProto:
    """Darkens by the share of style 19, van Gogh's, and leaves other styles as they are."""
    constants = [
        numpy_helper.from_array(np.eye(26, dtype=np.float32)[19] * -0.5, "darkness"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
    ]
    nodes = [
        helper.make_node("Mul", ["style_weights", "darkness"], ["shares"]),
        helper.make_node("ReduceSum", ["shares"], ["share"], keepdims=0),
        helper.make_node("Add", ["share", "one"], ["factor"]),
        helper.make_node("Mul", ["image", "factor"], ["stylized"]),
    ]
    taken = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "H", "W"]),
        helper.make_tensor_value_info("style_weights", TensorProto.FLOAT, [26]),
    ]
    given = helper.make_tensor_value_info("stylized", TensorProto.FLOAT, [1, 3, "H", "W"])
    return helper.make_graph(nodes, "paint-by-name", taken, [given], constants)


def _style_reader() -> onnx.GraphProto:
    """The mean colour of an example, (1, 1, 1, 3)."""
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    taken = helper.make_tensor_value_info("style_image", TensorProto.FLOAT, [1, 16, 16, 3])
    given = helper.make_tensor_value_info("code", TensorProto.FLOAT, [1, 1, 1, 4])
    four = numpy_helper.from_array(np.eye(3, 4, dtype=np.float32), "four")
    nodes = [
        helper.make_node("ReduceMean", ["style_image", "axes"], ["mean"], keepdims=1),
        helper.make_node("MatMul", ["mean", "four"], ["code"]),
    ]
    return helper.make_graph(nodes, "read-style", [taken], [given], [axes, four])


def _painter() -> onnx.GraphProto:
    """Half the picture, half the example's mean colour; squares of 128 pixels."""
    constants = [
        numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "three"),
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
    ]
    nodes = [
        helper.make_node("MatMul", ["code", "three"], ["color"]),
        helper.make_node("Add", ["picture", "color"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["painted"]),
    ]
    taken = [
        helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 128, 128, 3]),
        helper.make_tensor_value_info("code", TensorProto.FLOAT, [1, 1, 1, 4]),
    ]
    given = helper.make_tensor_value_info("painted", TensorProto.FLOAT, [1, 128, 128, 3])
    return helper.make_graph(nodes, "paint", taken, [given], constants)


def _matte() -> onnx.GraphProto:
    """1 where it is dark, 0 where it is bright."""
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "channels"),
        numpy_helper.from_array(np.array(-3, np.float32), "slope"),
        numpy_helper.from_array(np.array(0.5, np.float32), "middle"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["input", "channels"], ["grey"], keepdims=1),
        helper.make_node("Mul", ["grey", "slope"], ["steep"]),
        helper.make_node("Add", ["steep", "middle"], ["moved"]),
        helper.make_node("Clip", ["moved", "zero", "one"], ["output"]),
    ]
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    given = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    return helper.make_graph(nodes, "matte", [taken], [given], constants)


@asynccontextmanager
async def editor(models: Path, **settings: object) -> AsyncIterator[tuple[ServiceServer, grpc.aio.Channel]]:
    """A running editor and a channel to it."""
    config = EditorConfig(port=0, models=models, threads=1, **settings)  # type: ignore[arg-type]
    server = await build(config)
    async with server, grpc.aio.insecure_channel(server.address) as channel:
        yield server, channel


def spec(pixels: np.ndarray, *operations: editor_pb2.Operation) -> editor_pb2.EditSpec:
    """An edit whose result comes back as rows."""
    return editor_pb2.EditSpec(
        image=to_message(pixels),
        operations=operations,
        output=image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW),
    )


async def edit(
    channel: grpc.aio.Channel, pixels: np.ndarray, *operations: editor_pb2.Operation
) -> tuple[np.ndarray, editor_pb2.EditImageResponse]:
    """The edited pixels and the whole answer."""
    stub = editor_pb2_grpc.EditorServiceStub(channel)
    response = await stub.EditImage(editor_pb2.EditImageRequest(spec=spec(pixels, *operations)))
    return from_message(response.image, field="image"), response


def operation(name: str, /, **fields: object) -> editor_pb2.Operation:
    """An operation by name and fields."""
    descriptor = editor_pb2.Operation.DESCRIPTOR.fields_by_name[name]
    made = getattr(editor_pb2, descriptor.message_type.name)(**fields)
    return editor_pb2.Operation(**{name: made})


def picture(width: int = 40, height: int = 30, *, alpha: bool = False) -> np.ndarray:
    """A dark disc on a light ground with a colour ramp; with alpha, soft at its left and clear at its right edge."""
    y, x = np.mgrid[:height, :width]
    disc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 3) ** 2
    ramp = np.stack([200 + x * 55 // width, 210 + y * 40 // height, 255 - x * 30 // width], axis=2)
    pixels = np.where(disc[..., np.newaxis], [60, 20, 30], ramp).astype(np.uint8)
    if not alpha:
        return pixels
    opacity = np.full((height, width), 255, np.uint8)
    opacity[:, : width // 6] = 128
    opacity[:, -width // 6 :] = 0
    return np.dstack([pixels, opacity])
