"""The files of TensorFlow.js graph models: a graph in JSON and shards of numbers, or both wrapped as script modules.

Formats: TensorFlow.js's own reader, `tfjs-core/src/io`; `node` is TensorFlow's `GraphDef` written as JSON.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.errors import DataCorrupted

Array = NDArray[Any]

# The bytes that stand for a weight, by the dtype that is written.
_STORED = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "uint16": "<u2", "bool": "?"}
_VALUE_TYPES: dict[str, type] = {"float32": np.float32, "int32": np.int64, "bool": np.bool_}
_EXPORTED = re.compile(r"\.exports=(?=[{\"])")
# What a script writes otherwise than JSON does: bare keys, !0 and !1 for true and false, numbers without a leading 0.
_SCRIPT = re.compile(
    r"(?P<text>\"(?:[^\"\\]|\\.)*\")|(?P<key>[A-Za-z_$][\w$]*)(?=:)|!(?P<truth>[01])|(?<![\w.])(?P<fraction>\.\d)"
)


@dataclass(frozen=True)
class Node:
    """One operation of a graph. Inputs are names of nodes."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def text(self, key: str, default: str = "") -> str:
        """A string attribute."""
        value = self.attributes.get(key, {}).get("s")
        return default if value is None else _decode(value)

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        return [_decode(value) for value in self.attributes.get(key, {}).get("list", {}).get("s", ())]

    def integers(self, key: str) -> list[int]:
        """A list of whole numbers."""
        return [int(value) for value in self.attributes.get(key, {}).get("list", {}).get("i", ())]

    def truth(self, key: str) -> bool:
        """A yes or no; no when it is not said."""
        return bool(self.attributes.get(key, {}).get("b", False))

    def dtype(self, key: str) -> str:
        """A tensor type, such as DT_FLOAT."""
        return str(self.attributes.get(key, {}).get("type", ""))

    def shape(self, key: str) -> tuple[int, ...]:
        """Sizes of a tensor, -1 where they vary."""
        return _sizes(self.attributes.get(key, {}).get("shape", {}))


@dataclass(frozen=True)
class Graph:
    """Nodes by name, constants by the names of their nodes, and the shapes of the outputs by theirs."""

    nodes: Mapping[str, Node]
    constants: Mapping[str, Array]
    outputs: Mapping[str, tuple[int, ...]]


def read_graph(topology: bytes, shards: Mapping[str, bytes]) -> Graph:
    """The graph in `topology` with its numbers from `shards`, by file name. DataCorrupted if they are no such model."""
    model = _exported(topology) if _is_script(topology) else _json(topology)
    try:
        if not model["modelTopology"].get("node"):
            raise unreadable("holds layers, not a graph; only graph models can be rewritten")
        signature = model.get("signature") or model["userDefinedMetadata"]["signature"]
        nodes = [_node(entry) for entry in model["modelTopology"]["node"]]
        outputs = {node_name(one["name"]): _sizes(one.get("tensorShape", {})) for one in signature["outputs"].values()}
        groups = [(group["paths"], group["weights"]) for group in model["weightsManifest"]]
        constants: dict[str, Array] = {}
        for paths, weights in groups:
            constants.update(_weights(weights, b"".join(_shard(shards, path) for path in paths)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable("is not written as TensorFlow.js writes graph models") from error
    return Graph({node.name: node for node in nodes}, constants, outputs)


def node_name(reference: str) -> str:
    """The node whose first result `name`, `name:0` or `^name` is. Another result keeps its number: no node has it."""
    return reference.removeprefix("^").removesuffix(":0")


def unreadable(what: str) -> DataCorrupted:
    """The error for a model that does not follow its format."""
    return DataCorrupted(f"the TensorFlow.js model {what}", reason="TFJS_UNREADABLE")


def _node(entry: Mapping[str, Any]) -> Node:
    inputs = tuple(node_name(one) for one in entry.get("input", ()))
    return Node(str(entry["name"]), str(entry["op"]), inputs, entry.get("attr", {}))


def _sizes(shape: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(one.get("size", -1)) for one in shape.get("dim", ()))


def _weights(entries: Sequence[Mapping[str, Any]], content: bytes) -> dict[str, Array]:
    """Arrays by name, cut from the joined shards in the order of the entries."""
    found: dict[str, Array] = {}
    position = 0
    for entry in entries:
        dtype, shape = _VALUE_TYPES[entry["dtype"]], tuple(int(size) for size in entry["shape"])
        packing = entry.get("quantization", {})
        stored = np.dtype(_STORED[packing.get("dtype", entry["dtype"])])
        count = math.prod(shape)
        part = content[position : position + count * stored.itemsize]
        if len(part) != count * stored.itemsize:
            raise unreadable("has weights that end too early")
        values = np.frombuffer(part, stored).reshape(shape)
        if "scale" in packing:
            values = values * np.float32(packing["scale"]) + np.float32(packing["min"])
            values = np.rint(values) if entry["dtype"] == "int32" else values
        found[str(entry["name"])] = values.astype(dtype)
        position += len(part)
    if position != len(content):
        raise unreadable(f"has {len(content) - position} bytes of weights too many")
    return found


def _shard(shards: Mapping[str, bytes], path: str) -> bytes:
    """The numbers of one shard; a script module holds them in base 64."""
    for name, content in shards.items():
        if name == path:
            return content
        if name.removesuffix(".js").removesuffix(".min") == path:
            return base64.b64decode(_exported(content), validate=True)
    raise unreadable(f"wants the weights {path}, which are not among the members")


def _is_script(content: bytes) -> bool:
    return not content.lstrip().startswith(b"{")


def _exported(script: bytes) -> Any:
    """The value that a bundled script module exports."""
    text = script.decode("utf-8", errors="replace")
    start = _EXPORTED.search(text)
    if start is None:
        raise unreadable("is a script that exports nothing")
    literal = text[start.end() :]
    if literal.startswith('"'):
        return literal[1 : literal.index('"', 1)]
    try:
        return json.JSONDecoder().raw_decode(_SCRIPT.sub(_as_json, literal))[0]
    except ValueError as error:
        raise unreadable("is a script whose export cannot be read") from error


def _as_json(found: re.Match[str]) -> str:
    if found["text"]:
        return found["text"]
    if found["key"]:
        return f'"{found["key"]}"'
    return f"0{found['fraction']}" if found["fraction"] else ("true", "false")[int(found["truth"])]


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise unreadable("has a graph that is no JSON") from error


def _decode(value: Any) -> str:
    """A string of a `GraphDef`: base 64, or a list of bytes."""
    try:
        return base64.b64decode(value).decode() if isinstance(value, str) else bytes(value).decode()
    except (ValueError, binascii.Error) as error:
        raise unreadable("has a string that is no text") from error
