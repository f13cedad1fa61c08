"""Rows of inputs kept where the engine works, each taken there once and stacked there."""

import ctypes
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import onnxruntime

from diptych.engines.base import Array
from diptych.engines.cuda import driver


class Copying(Protocol):
    """Copies between addresses of one device."""

    def copy(self, target: int, source: int, size: int) -> None:
        """Begins to copy `size` bytes."""

    def wait(self) -> None:
        """Returns when all that was begun is done."""


class WithinHost:
    """Copies in the host's memory."""

    def copy(self, target: int, source: int, size: int) -> None:
        """Copies at once."""
        ctypes.memmove(target, source, size)

    def wait(self) -> None:
        """Nothing: all is done."""


class WithinGpu:
    """Copies in the GPU's memory, which never touch the host's."""

    def __init__(self) -> None:
        driver().enter()
        self._stream = driver().stream()

    def copy(self, target: int, source: int, size: int) -> None:
        """Queues a copy."""
        driver().enter()  # Contexts belong to threads.
        driver().copy_within(target, source, size, self._stream)

    def wait(self) -> None:
        """Returns when the queue is empty."""
        driver().enter()
        driver().wait(self._stream)


@lru_cache(2)
def copying(device: str) -> Copying:
    """What copies within `device`, `cpu` or `cuda`."""
    return WithinHost() if device == "cpu" else WithinGpu()


class KeptRows:
    """Arrays by identity, on `device` for as long as somebody here holds them. They must not be written to."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._known: dict[int, tuple[weakref.ref[Array], onnxruntime.OrtValue]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def stack(self, rows: Sequence[Array]) -> onnxruntime.OrtValue:
        """(len(rows), ...): the rows one after another; ValueError unless all are alike."""
        first = rows[0]
        if any(row.shape != first.shape or row.dtype != first.dtype for row in rows):
            raise ValueError(f"rows of a call differ: {', '.join(str(row.shape) for row in rows)}")
        places = [self._place(row) for row in rows]
        shape = [len(rows), *first.shape]
        stacked = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, first.dtype, self._device, 0)
        target, within = stacked.data_ptr(), copying(self._device)
        for number, place in enumerate(places):
            within.copy(target + number * first.nbytes, place.data_ptr(), first.nbytes)
        within.wait()
        return stacked

    def _place(self, row: Array) -> onnxruntime.OrtValue:
        key = id(row)
        known = self._known.get(key)
        if known is not None and known[0]() is row:
            return known[1]
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(row.shape), row.dtype, self._device, 0)
        value.update_inplace(np.ascontiguousarray(row))
        # Gone with the array: its number may then be another's.
        self._known[key] = (weakref.ref(row, lambda _: self._known.pop(key, None)), value)
        return value
