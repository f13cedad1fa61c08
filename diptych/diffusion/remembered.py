"""Answers kept for as long as the arrays that they were computed from: the pictures of one order share theirs."""

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")
_Given = np.ndarray[Any, Any] | None


class Remembered(Generic[T]):
    """`compute(*arrays)`, computed once for the same objects. They, and the answer, are not to be changed."""

    def __init__(self, compute: Callable[..., T]) -> None:
        self._compute = compute
        self._known: dict[tuple[int, ...], tuple[list[weakref.ref[Any]], T]] = {}

    def __call__(self, *arrays: _Given) -> T:
        """The answer."""
        key = tuple(map(id, arrays))
        known = self._known.get(key)
        if known is None:
            answer = self._compute(*arrays)
            # Before an id can be given to another array, its own is gone and so is the entry.
            gone = [weakref.ref(one, lambda _: self._known.pop(key, None)) for one in arrays if one is not None]
            self._known[key] = known = (gone, answer)
        return known[1]
