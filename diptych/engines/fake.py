"""An engine without a network: right shapes, repeatable numbers, a chosen latency."""

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from diptych.engines.base import Array, Held, Precision, TensorSpec, arrays_of, check_inputs, choose_outputs
from diptych.errors import FailedPrecondition

# "H", "4H", "4*H", "H*4" or "H/8": the sizes that graphs with resizing give their outputs.
_SIZE = re.compile(r"(?:(?P<times>\d+)\s*\*?\s*)?(?P<name>[A-Za-z_]\w*)(?:\s*(?P<sign>[*/])\s*(?P<by>\d+))?")


class FakeEngine:
    """Outputs in 0..1 that are a function of the inputs alone, after `latency` seconds.

    Where an output's first size is also an input's first size, row i of the output depends on row i of such inputs
    only, as in a real network: a batched result equals the solo result. Sizes such as `"4H"` or `"H/8"` are computed.
    """

    name = "fake"
    provider = "FakeExecutionProvider"

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        latency: float = 0.0,
        precision: Precision = "fp32",
    ) -> None:
        self.precision: Precision = precision
        self.inputs: tuple[TensorSpec, ...] = tuple(inputs)
        self.outputs: tuple[TensorSpec, ...] = tuple(outputs)
        self._latency = latency
        self._closed = False

    def run(self, inputs: Mapping[str, Array | Held], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The named outputs (default: all); InvalidRequest names each input or output that does not fit its spec."""
        if self._closed:
            raise FailedPrecondition("the fake engine is closed", reason="ENGINE_CLOSED")
        check_inputs(self.inputs, inputs)
        chosen = choose_outputs(self.outputs, outputs)
        arrays = arrays_of(inputs)
        if self._latency:
            time.sleep(self._latency)
        sizes = {
            wanted: size
            for spec in self.inputs
            for size, wanted in zip(arrays[spec.name].shape, spec.shape, strict=True)
            if isinstance(wanted, str)
        }
        return {spec.name: self._output(spec, arrays, sizes) for spec in chosen}

    @property
    def memory_bytes(self) -> int:
        """Nothing: it has no weights."""
        return 0

    def hold(self, given: Array | Sequence[Array]) -> Held:
        """The array itself."""
        return Held(given, None)

    def close(self) -> None:
        """Ends the engine; a later `run` raises FailedPrecondition."""
        self._closed = True

    def _output(self, spec: TensorSpec, inputs: Mapping[str, Array], sizes: Mapping[str, int]) -> Array:
        shape = tuple(_resolve(size, sizes, spec) for size in spec.shape)
        batch = spec.shape[0] if spec.shape else None
        batched = [one for one in self.inputs if isinstance(batch, str) and one.shape and one.shape[0] == batch]
        shared = hashlib.sha256(spec.name.encode())
        for one in self.inputs:
            if one not in batched:
                shared.update(np.ascontiguousarray(inputs[one.name]).tobytes())
        if not batched:
            return _numbers(shared.digest(), shape, spec.dtype)
        result = np.empty(shape, spec.dtype)
        for row in range(shape[0]):
            digest = shared.copy()
            for one in batched:
                digest.update(np.ascontiguousarray(inputs[one.name][row]).tobytes())
            result[row] = _numbers(digest.digest(), shape[1:], spec.dtype)
        return result


def fake_of(path: Path, *, latency: float = 0.0, precision: Precision = "fp32") -> FakeEngine:
    """A fake with the inputs and outputs that the ONNX file at `path` declares."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}

    def spec(value: onnx.ValueInfoProto) -> TensorSpec:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        sizes = (d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim)
        return TensorSpec(value.name, dtype, tuple(sizes))

    return FakeEngine(
        [spec(value) for value in graph.input if value.name not in weights],
        [spec(value) for value in graph.output],
        latency=latency,
        precision=precision,
    )


def _resolve(size: int | str, sizes: Mapping[str, int], spec: TensorSpec) -> int:
    if isinstance(size, int):
        return size
    if size != "?" and size in sizes:
        return sizes[size]
    match = _SIZE.fullmatch(size)
    if match is None or match["name"] not in sizes:
        raise FailedPrecondition(
            f"a fake engine cannot tell size {size!r} of output {spec.name}; no input has it",
            reason="UNKNOWN_SIZE",
        )
    value = sizes[match["name"]] * int(match["times"] or 1)
    if match["sign"] == "*":
        return value * int(match["by"])
    return value // int(match["by"]) if match["sign"] == "/" else value


def _numbers(digest: bytes, shape: tuple[int, ...], dtype: str) -> Array:
    random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    if np.dtype(dtype).kind == "f":
        return random.random(shape, dtype=np.float32).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)
