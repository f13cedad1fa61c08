"""What every engine is: named tensors in, named tensors out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from diptych.errors import FieldViolation, InvalidRequest

Precision = Literal["fp32", "fp16", "int8"]
Array = NDArray[Any]


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype and shape of one tensor; a string in the shape is a size that may vary, such as `"N"`.

    The dtype of text is `object`: an array of `str`.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join(str(size) for size in self.shape)})"


class Held:
    """An input that stays where the engine works, for runs to come: an array, or rows that are stacked, as given;
    `device` is what the engine made of them."""

    def __init__(self, given: Array | Sequence[Array], device: Any) -> None:
        self.device = device
        self._given = given
        one: Array = given if isinstance(given, np.ndarray) else given[0]
        self.dtype = one.dtype
        self.shape: tuple[int, ...] = one.shape if one is given else (len(given), *one.shape)

    @property
    def array(self) -> Array:
        """What was given, rows stacked."""
        if not isinstance(self._given, np.ndarray):
            self._given = np.stack(self._given)
        return self._given

    @property
    def nbytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.dtype.itemsize


class Engine(Protocol):
    """One executable graph. `run` is synchronous and may be called from several threads."""

    @property
    def name(self) -> str:
        """What executes the graph: `onnxruntime`, `tensorrt`, `tensorrt_rtx`, `mnn`, `fake`."""

    @property
    def precision(self) -> Precision:
        """Number format of the weights."""

    @property
    def provider(self) -> str:
        """The device backend in use, such as `CPUExecutionProvider`."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors `run` wants."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors `run` gives back."""

    def run(self, inputs: Mapping[str, Array | Held], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The named outputs (default: all); InvalidRequest names each input or output that does not fit its spec."""

    def hold(self, given: Array | Sequence[Array]) -> Held:
        """The array, or the rows stacked, where the engine works: given to `run` again and again, they cross to the
        device once."""

    @property
    def memory_bytes(self) -> int:
        """Memory it holds at rest as far as that is known: its weights at least."""

    def close(self) -> None:
        """Frees the graph; a later `run` raises FailedPrecondition."""


def choose_outputs(specs: Sequence[TensorSpec], names: Sequence[str] | None) -> list[TensorSpec]:
    """The specs of the named outputs, all of them for None; InvalidRequest with every unknown name."""
    if names is None:
        return list(specs)
    by_name = {spec.name: spec for spec in specs}
    faults = [
        FieldViolation(f"outputs.{name}", f"the graph has no such output; it gives {', '.join(by_name)}")
        for name in names
        if name not in by_name
    ]
    if faults:
        raise InvalidRequest(faults, reason="TENSOR_MISMATCH")
    return [by_name[name] for name in names]


def arrays_of(inputs: Mapping[str, Array | Held]) -> dict[str, Array]:
    """The inputs as arrays, held ones too."""
    return {name: value.array if isinstance(value, Held) else value for name, value in inputs.items()}


def check_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, Array | Held]) -> None:
    """Nothing if the arrays fit the specs; otherwise InvalidRequest with every fault, field `inputs.<name>`."""
    known = {spec.name for spec in specs}
    faults = [
        FieldViolation(f"inputs.{name}", f"the graph has no such input; it takes {', '.join(sorted(known))}")
        for name in inputs
        if name not in known
    ]
    sizes: dict[str, int] = {}
    for spec in specs:
        array = inputs.get(spec.name)
        fault = f"is missing; give {spec}" if array is None else _fault(spec, array, sizes)
        if fault:
            faults.append(FieldViolation(f"inputs.{spec.name}", fault))
    if faults:
        raise InvalidRequest(faults, reason="TENSOR_MISMATCH")


def _fault(spec: TensorSpec, array: Array | Held, sizes: dict[str, int]) -> str:
    """What is wrong with an array, or an empty string. `sizes` remembers each named size from the first use on."""
    if array.dtype != np.dtype(spec.dtype):
        return f"has dtype {array.dtype}; give {spec}"
    return shape_fault(spec, array.shape, sizes)


def shape_fault(spec: TensorSpec, shape: tuple[int, ...], sizes: dict[str, int]) -> str:
    """What is wrong with a shape, or an empty string. `sizes` remembers each named size from the first use on."""
    if len(shape) != len(spec.shape):
        return f"has shape {shape}; give {spec}"
    for axis, (size, wanted) in enumerate(zip(shape, spec.shape, strict=True)):
        if isinstance(wanted, int):
            if size != wanted:
                return f"has size {size} on axis {axis}; give {spec}"
        elif wanted != "?" and sizes.setdefault(wanted, size) != size:
            return f"has size {size} on axis {axis}, but {wanted} is {sizes[wanted]} in another input"
    return ""
