"""Tensors out of a torch `.pth` file, read as data: nothing that the file names is ever called.

The format is the one that torch wrote before version 1.6: pickles of a magic number, the protocol, the machine and the
dictionary of tensors, then the list of storages, then each storage's length and bytes. The unpickler knows four names
and refuses every other, so a file that carries code is an error and not a program.
"""

import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.errors import DataCorrupted

Weights = NDArray[np.float32]

_MAGIC = 0x1950A86A20F9469CFC6C
_FLOAT = "torch.FloatStorage"


@dataclass(frozen=True)
class _Storage:
    key: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


_KNOWN: Mapping[str, Callable[..., Any] | str] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    _FLOAT: _FLOAT,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[f"{module}.{name}"]
        except KeyError as error:
            raise _unreadable(f"it names {module}.{name}, which is no plain float tensor") from error

    def persistent_load(self, key: Any) -> _Storage:
        if not isinstance(key, tuple) or len(key) < 5 or key[:2] != ("storage", _FLOAT):
            raise _unreadable("it holds other numbers than floats")
        return _Storage(str(key[2]), int(key[4]))


def read_weights(path: Path) -> dict[str, Weights]:
    """Every tensor of the file by name, float32. DataCorrupted for anything but a dictionary of float tensors."""
    stream = io.BytesIO(path.read_bytes())
    try:
        magic, _protocol, _machine = (_Reader(stream).load() for _ in range(3))
        if magic != _MAGIC:
            raise _unreadable("it does not start as one")
        tensors, keys = _Reader(stream).load(), _Reader(stream).load()
        storages = {str(key): _numbers(stream) for key in keys}
        return {str(name): _laid_out(tensor, storages) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, struct.error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable("its parts do not fit together") from error


def _numbers(stream: io.BytesIO) -> Weights:
    (count,) = struct.unpack("<q", stream.read(8))
    content = stream.read(4 * count)
    if len(content) != 4 * count:
        raise _unreadable("it ends too early")
    return np.frombuffer(content, "<f4").astype(np.float32)


def _laid_out(tensor: _Tensor, storages: Mapping[str, Weights]) -> Weights:
    """The tensor as an array of its own; its numbers must lie in order and inside its storage."""
    count = int(np.prod(tensor.shape, dtype=np.int64))
    in_order = tuple(int(np.prod(tensor.shape[axis + 1 :], dtype=np.int64)) for axis in range(len(tensor.shape)))
    if tuple(tensor.strides) != in_order:
        raise _unreadable("a tensor is not laid out row by row")
    part = storages[tensor.storage.key][tensor.offset : tensor.offset + count]
    return part.reshape(tensor.shape).copy()


def _unreadable(why: str) -> DataCorrupted:
    return DataCorrupted(f"the torch weights cannot be read: {why}", reason="TORCH_UNREADABLE")
