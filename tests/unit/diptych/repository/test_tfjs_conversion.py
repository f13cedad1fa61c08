import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diptych.engines.onnx import OnnxEngine
from diptych.errors import DataCorrupted
from diptych.repository import ModelRepository
from diptych.repository.tfjs import write_onnx

from .conftest import Workbench, sha256

ROOM = np.random.default_rng(11)


def attribute(value: Any) -> dict[str, Any]:
    """A value as a `GraphDef` in JSON writes it: a string in base 64, whole numbers as text."""
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, str):
        return {"s": base64.b64encode(value.encode()).decode()}
    if value and isinstance(value[0], str):
        return {"list": {"s": [base64.b64encode(one.encode()).decode() for one in value]}}
    return {"list": {"i": [str(one) for one in value]}}


class Net:
    """A graph model under construction, and its weights as they are written."""

    def __init__(self, shape: list[int]) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.weights: list[dict[str, Any]] = []
        self.content = b""
        dims = {"dim": [{"size": str(size)} for size in shape]}
        self.nodes.append({"name": "top/in", "op": "Placeholder",
                           "attr": {"dtype": {"type": "DT_FLOAT"}, "shape": {"shape": dims}}})  # fmt: skip

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> str:
        attr = {key: attribute(value) for key, value in attributes.items()}
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attr})
        return name

    def constant(self, name: str, values: Any, store: str = "") -> np.ndarray:
        """Adds a constant; gives the numbers that are in the file, after what `store` does to them."""
        array = np.asarray(values)
        array = array.astype(np.int32 if array.dtype.kind == "i" else np.float32)
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
        stored = array
        if store == "float16":
            entry["quantization"] = {"dtype": "float16"}
            stored = array.astype(np.float16)
            array = stored.astype(np.float32)
        elif store == "uint8":
            low, scale = float(array.min()), float((array.max() - array.min()) / 255)
            entry["quantization"] = {"dtype": "uint8", "min": low, "scale": scale}
            stored = np.rint((array - low) / scale).astype(np.uint8)
            array = (stored * np.float32(scale) + np.float32(low)).astype(np.float32)
        self.weights.append(entry)
        self.content += stored.tobytes()
        self.nodes.append({"name": name, "op": "Const", "attr": {}})
        return array

    def model(self, **outputs: list[int]) -> dict[str, Any]:
        signed = {
            name: {"name": f"{name}:0", "tensorShape": {"dim": [{"size": str(size)} for size in shape]}}
            for name, shape in outputs.items()
        }
        return {
            "format": "graph-model",
            "modelTopology": {"node": self.nodes},
            "signature": {"outputs": signed},
            "weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": self.weights}],
        }


def write(folder: Path, net: Net, outputs: tuple[str, ...] = (), **signed: list[int]) -> OnnxEngine:
    """The model, its weights in two shards, rewritten and opened."""
    (folder / "model.json").write_text(json.dumps(net.model(**signed)))
    middle = len(net.content) // 2
    (folder / "a.bin").write_bytes(net.content[:middle])
    (folder / "b.bin").write_bytes(net.content[middle:])
    shards = {name: folder / name for name in ("a.bin", "b.bin")}
    write_onnx(folder / "model.json", shards, outputs, folder / "model.onnx")
    return OnnxEngine(folder / "model.onnx", threads=1)


def windows(x: np.ndarray, size: int, stride: int, same: bool, fill: float) -> np.ndarray:
    """(N, H', W', size, size, C) from (N, H, W, C), padded as TensorFlow pads: more after than before."""
    if same:
        needed = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[1:3]]
        pads = [(0, 0), *((one // 2, one - one // 2) for one in needed), (0, 0)]
        x = np.pad(x, pads, constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return view[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def first(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("height", [7, 8])
def test_pictures_pass_convolutions_as_tensorflow_computes_them(tmp_path: Path, height: int) -> None:
    net = Net([-1, height, 9, 3])
    kernel = net.constant("k", ROOM.normal(size=(3, 3, 3, 4)), "float16")
    bias, slope = net.constant("b", ROOM.normal(size=4)), net.constant("s", ROOM.random((1, 1, 4)))
    depth = net.constant("d", ROOM.normal(size=(3, 3, 4, 2)), "uint8")
    net.constant("paddings", [[0, 0], [0, 0], [0, 0], [1, 2]])
    window = {"strides": [1, 2, 2, 1], "padding": "SAME", "dilations": [1, 1, 1, 1], "data_format": "NHWC"}
    net.node("c", "_FusedConv2D", "top/in", "k", "b", "s", fused_ops=["BiasAdd", "Prelu"], **window)
    net.node("dw", "DepthwiseConv2dNative", "c", "d", **{**window, "strides": [1, 1, 1, 1]})
    net.node("six", "Relu6", "dw")
    net.node("m", "MaxPool", "six", ksize=[1, 2, 2, 1], strides=[1, 1, 1, 1], padding="SAME")
    net.node("a", "AvgPool", "m", ksize=[1, 2, 2, 1], strides=[1, 1, 1, 1], padding="VALID")
    net.node("p", "Pad", "a", "paddings")
    engine = write(tmp_path, net, p=[-1, -1, -1, 11])
    assert engine.inputs[0].shape == ("N", 3, height, 9)
    x = ROOM.normal(size=(2, height, 9, 3)).astype(np.float32)
    c = np.einsum("nhwijc,ijco->nhwo", windows(x, 3, 2, True, 0), kernel) + bias
    c = np.where(c > 0, c, c * slope)
    spread = np.einsum("nhwijc,ijcm->nhwcm", windows(c, 3, 1, True, 0), depth)
    six = spread.reshape(*spread.shape[:3], 8).clip(0, 6)
    m = windows(six, 2, 1, True, -np.inf).max(axis=(3, 4))
    a = windows(m, 2, 1, False, 0).mean(axis=(3, 4))
    expected = np.pad(a, [(0, 0), (0, 0), (0, 0), (1, 2)])
    assert np.mean((six > 0) & (six < 6)) > 0.2
    np.testing.assert_allclose(engine.run({"in": first(x)})["p"], first(expected), atol=1e-5)


def test_values_turn_only_where_their_order_matters(tmp_path: Path) -> None:
    net = Net([-1, 4, 5, 3])
    gain, matrix = net.constant("gain", ROOM.random(3)), net.constant("matrix", ROOM.normal(size=(60, 6)))
    bias = net.constant("bias", ROOM.normal(size=6))
    for name, values in {"flat": [-1, 60], "square": [-1, 2, 1, 3], "size": [8, 10], "axes": [1, 2], "last": 3}.items():
        net.constant(name, values)
    net.node("scaled", "Mul", "gain", "top/in")
    net.node("gate/mean", "Mean", "scaled", "axes", keep_dims=True)
    net.node("gate", "Sigmoid", "gate/mean")
    net.node("gated", "Mul", "scaled", "gate")
    net.node("large", "ResizeBilinear", "gated", "size", half_pixel_centers=False, align_corners=False)
    net.node("both", "ConcatV2", "gated", "scaled", "last")
    net.node("row", "Reshape", "gated", "flat")
    net.node("dense", "_FusedMatMul", "row", "matrix", "bias", fused_ops=["BiasAdd", "Relu"])
    net.node("folded", "Reshape", "dense", "square")
    net.node("chance", "Softmax", "folded")
    net.node("average", "Mean", "scaled", "axes", keep_dims=False)
    shapes = {"large": [-1, 8, 10, 3], "both": [-1, 4, 5, 6], "chance": [-1, 2, 1, 3], "average": [-1, 3]}
    engine = write(tmp_path, net, **shapes)
    x = ROOM.normal(size=(2, 4, 5, 3)).astype(np.float32)
    got = engine.run({"in": first(x)})
    scaled = x * gain
    average = scaled.mean(axis=(1, 2))
    gated = scaled / (1 + np.exp(-average))[:, None, None]
    even = gated[:, [0, 0, 1, 1, 2, 2, 3, 3]][:, :, np.repeat(range(5), 2)]
    after = gated[:, [0, 1, 1, 2, 2, 3, 3, 3]][:, :, np.repeat(range(5), 2)]
    rows = (even + after) / 2  # twice the size, asymmetric: each second row lies halfway
    columns = np.concatenate([rows[:, :, 2:], rows[:, :, -1:], rows[:, :, -1:]], axis=2)
    large = np.where((np.arange(10) % 2 == 1)[:, None], (rows + columns) / 2, rows)
    dense = np.maximum(gated.reshape(2, 60) @ matrix + bias, 0).reshape(2, 2, 1, 3)
    chance = np.exp(dense) / np.exp(dense).sum(axis=3, keepdims=True)
    for name, expected in {"large": large, "both": np.concatenate([gated, scaled], 3), "chance": chance}.items():
        np.testing.assert_allclose(got[name], first(expected), atol=1e-5, err_msg=name)
    np.testing.assert_allclose(got["average"], average, atol=1e-6)


def simple() -> Net:
    net = Net([1, 4, 4, 3])
    net.constant("gain", [2.0, 3.0, 4.0])
    net.node("double", "Mul", "top/in", "gain")
    net.node("top/out", "Identity", "double:0", "^gain")
    net.node("other", "NonMaxSuppressionV5", "double", "double:1")
    return net


def test_only_what_the_wanted_outputs_need_must_be_known(tmp_path: Path) -> None:
    signed = {"top/out": [1, 4, 4, 3], "other": [1]}
    engine = write(tmp_path, simple(), ("top/out",), **signed)
    assert [spec.name for spec in engine.outputs] == ["out"]
    x = ROOM.random((1, 3, 4, 4), np.float32)
    np.testing.assert_allclose(engine.run({"in": x})["out"], x * np.array([2, 3, 4])[:, None, None], rtol=1e-6)
    content = (tmp_path / "model.onnx").read_bytes()
    write(tmp_path, simple(), ("top/out",), **signed)
    assert (tmp_path / "model.onnx").read_bytes() == content
    with pytest.raises(DataCorrupted, match="double:1, which no node gives"):
        write(tmp_path, simple(), **signed)
    with pytest.raises(DataCorrupted, match="has no output far; it has top/out, other"):
        write(tmp_path, simple(), ("far",), **signed)


def script(value: str) -> bytes:
    """A module as a bundler writes it."""
    start = '!function(e){if("object"==typeof exports&&"undefined"!=typeof module)module.exports=e();else{this.m=e()}}'
    return f"{start}(function(){{return e}}({{1:[function(t,e,n){{e.exports={value}}},{{}}]}},{{}},[1])(1)}});".encode()


def test_scripts_that_wrap_graph_and_weights_are_read(tmp_path: Path) -> None:
    net = Net([1, 2, 2, 3])
    net.constant("k", [0.5, -0.25, 3e-5], "uint8")
    net.node("out", "Mul", "top/in", "k", x=True, y=False)
    text = json.dumps(net.model(out=[1, 2, 2, 3]), separators=(",", ":"))
    for key in ("format", "modelTopology", "node", "name", "quantization", "min", "scale", "paths", "weights"):
        text = text.replace(f'"{key}":', f"{key}:")
    text = text.replace("true", "!0").replace("false", "!1").replace("0.", ".").replace("a.bin", "a,b:{!0.1")
    (tmp_path / "model.min.js").write_bytes(script(text))
    parts = {"a,b:{!0.1": net.content[:1], "b.bin": net.content[1:]}
    for name, content in parts.items():
        (tmp_path / f"{name}.min.js").write_bytes(script(f'"{base64.b64encode(content).decode()}"'))
    shards = {f"{name}.min.js": tmp_path / f"{name}.min.js" for name in parts}
    write_onnx(tmp_path / "model.min.js", shards, (), tmp_path / "model.onnx")
    result = OnnxEngine(tmp_path / "model.onnx", threads=1).run({"in": np.ones((1, 3, 2, 2), np.float32)})["out"]
    np.testing.assert_allclose(result[0, :, 0, 0], [0.5, -0.25, 3e-5], atol=3e-3)


def _layers(model: dict[str, Any]) -> None:
    model["modelTopology"] = {"model_config": {}}


def _operation(model: dict[str, Any]) -> None:
    model["modelTopology"]["node"][2]["op"] = "Einsum"


def _circle(model: dict[str, Any]) -> None:
    model["modelTopology"]["node"][2]["input"] = ["top/out", "gain"]


def _axes(model: dict[str, Any]) -> None:
    model["signature"]["outputs"]["top/out"]["tensorShape"]["dim"].pop()


def _shards(model: dict[str, Any]) -> None:
    model["weightsManifest"][0]["paths"].append("c.bin")


def _short(model: dict[str, Any]) -> None:
    model["weightsManifest"][0]["weights"][0]["shape"] = [4]


def _long(model: dict[str, Any]) -> None:
    model["weightsManifest"][0]["weights"][0]["shape"] = [2]


def _unsigned(model: dict[str, Any]) -> None:
    del model["signature"]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (_layers, "holds layers, not a graph"), (_operation, "the operation Einsum of double"),
        (_circle, "goes in a circle"), (_axes, "with 3 axes; it has 4"), (_shards, "wants the weights c.bin"),
        (_short, "end too early"), (_long, "4 bytes of weights too many"), (_unsigned, "is not written as"),
    ],
)  # fmt: skip
def test_names_what_it_cannot_rewrite(tmp_path: Path, damage: Callable[[dict[str, Any]], None], fault: str) -> None:
    net = simple()
    model = net.model(**{"top/out": [1, 4, 4, 3]})
    damage(model)
    (tmp_path / "model.json").write_text(json.dumps(model))
    (tmp_path / "a.bin").write_bytes(net.content)
    (tmp_path / "b.bin").write_bytes(b"")
    with pytest.raises(DataCorrupted, match=fault):
        shards = {name: tmp_path / name for name in ("a.bin", "b.bin")}
        write_onnx(tmp_path / "model.json", shards, (), tmp_path / "model.onnx")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_damage_is_always_reported_as_such(tmp_path: Path, data: st.DataObject) -> None:
    net = simple()
    text = json.dumps(net.model(**{"top/out": [1, 4, 4, 3]}))
    start = data.draw(st.integers(0, len(text) - 1))
    (tmp_path / "model.json").write_text(text[:start] + data.draw(st.text(max_size=3)) + text[start + 2 :])
    (tmp_path / "a.bin").write_bytes(net.content)
    (tmp_path / "b.bin").write_bytes(b"")
    shards = {name: tmp_path / name for name in ("a.bin", "b.bin")}
    try:
        write_onnx(tmp_path / "model.json", shards, (), tmp_path / "model.onnx")
    except DataCorrupted as error:
        assert error.reason in {"TFJS_UNREADABLE", "TFJS_UNSUPPORTED"}


def test_a_graph_in_a_wheel_becomes_a_model(workbench: Workbench, tmp_path: Path) -> None:
    net = simple()
    write(tmp_path, net, ("top/out",), **{"top/out": [1, 4, 4, 3]})
    expected = (tmp_path / "model.onnx").read_bytes()
    members = {f"net/{name}": (tmp_path / name).read_bytes() for name in ("model.json", "a.bin", "b.bin")}
    workbench.wheel("nets", members)
    listed = ", ".join(f'{{ path = "{path}", sha256 = "{sha256(content)}" }}' for path, content in members.items())
    source = f'source = {{ type = "python", package = "nets", version = "1.0", members = [{listed}] }}'
    workbench.manifest(
        "net",
        f'[[files]]\npath = "model.onnx"\nsha256 = "{sha256(expected)}"\n'
        f'conversion = {{ type = "tfjs", outputs = ["top/out"] }}\n{source}\n',
    )
    repository: ModelRepository = workbench.repository()
    assert (repository.pull("net") / "model.onnx").read_bytes() == expected
