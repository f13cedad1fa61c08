"""Tensors on the wire of the Open Inference Protocol, to numpy arrays and back."""

import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from diptych.engines.base import Array, TensorSpec, shape_fault
from diptych.errors import FieldViolation, InvalidRequest
from diptych.inference import open_inference_pb2 as pb

# Datatype -> numpy dtype, and the field of typed contents; FP16 travels raw only.
_KINDS: Mapping[str, tuple[str, str]] = {
    "BOOL": ("bool", "bool_contents"),
    "UINT8": ("uint8", "uint_contents"),
    "UINT16": ("uint16", "uint_contents"),
    "UINT32": ("uint32", "uint_contents"),
    "UINT64": ("uint64", "uint64_contents"),
    "INT8": ("int8", "int_contents"),
    "INT16": ("int16", "int_contents"),
    "INT32": ("int32", "int_contents"),
    "INT64": ("int64", "int64_contents"),
    "FP16": ("float16", ""),
    "FP32": ("float32", "fp32_contents"),
    "FP64": ("float64", "fp64_contents"),
    "BYTES": ("object", "bytes_contents"),
}
_DATATYPES = {dtype: datatype for datatype, (dtype, _) in _KINDS.items()}
_IGNORED_PARAMETERS = {"triton_enable_empty_final_response", "timeout", "binary_data", "binary_data_output"}


def metadata_of(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    """A spec as metadata tells it: -1 for a size that may vary."""
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=_DATATYPES[spec.dtype], shape=shape)


def read_request(
    request: pb.ModelInferRequest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> dict[str, Array]:
    """The arrays of a request for a graph that takes `inputs` and gives `outputs`.

    InvalidRequest with every fault, by the field's path.
    """
    reading = _Reading(request, {spec.name: spec for spec in inputs})
    reading.check_outputs([spec.name for spec in outputs])
    arrays = reading.arrays()
    if reading.faults:
        raise InvalidRequest(reading.faults, reason="TENSOR_MISMATCH")
    return arrays


def fill_response(response: pb.ModelInferResponse, results: Mapping[str, Array], *, typed: bool) -> None:
    """Adds the arrays to a response, typed if asked for and FP16 is not among them, else raw."""
    typed = typed and not any(array.dtype == np.float16 for array in results.values())
    for name, array in results.items():
        datatype = _DATATYPES[array.dtype.name]
        output = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if not typed:
            response.raw_output_contents.append(_to_raw(array))
            continue
        elements = [_to_bytes(each) for each in array.flat] if datatype == "BYTES" else array.ravel().tolist()
        getattr(output.contents, _KINDS[datatype][1]).extend(elements)


class _Reading:
    """One request being read; `faults` grows."""

    def __init__(self, request: pb.ModelInferRequest, specs: Mapping[str, TensorSpec]) -> None:
        self.faults: list[FieldViolation] = []
        self._request = request
        self._specs = specs
        self._sizes: dict[str, int] = {}

    def check_outputs(self, known: Sequence[str]) -> None:
        self._parameters("parameters", self._request.parameters)
        for index, wanted in enumerate(self._request.outputs):
            self._parameters(f"outputs[{index}].parameters", wanted.parameters)
            if wanted.name not in known:
                fault = f"the graph has no output {wanted.name!r}; it gives {', '.join(known)}"
                self._fault(f"outputs[{index}].name", fault)

    def arrays(self) -> dict[str, Array]:
        request, arrays, seen = self._request, dict[str, Array](), set[str]()
        raws: Sequence[bytes] = request.raw_input_contents
        if raws and len(raws) != len(request.inputs):
            self._fault(
                "raw_input_contents", f"has {len(raws)} entries for {len(request.inputs)} inputs; give each one"
            )
        for index, tensor in enumerate(request.inputs):
            path = f"inputs[{index}]"
            spec = self._specs.get(tensor.name)
            if spec is None:
                self._fault(
                    f"{path}.name", f"the graph has no input {tensor.name!r}; it takes {', '.join(self._specs)}"
                )
            elif tensor.name in seen:
                self._fault(f"{path}.name", f"{tensor.name} is given twice; give it once")
            else:
                seen.add(tensor.name)
                raw = raws[index] if len(raws) == len(request.inputs) else None
                array = self._array(index, tensor, spec, raw, missing=not raws)
                if array is not None:
                    arrays[tensor.name] = array
        for name in self._specs.keys() - seen:
            self._fault("inputs", f"{name} is missing; give {self._specs[name]}")
        return arrays

    def _array(
        self,
        index: int,
        tensor: pb.ModelInferRequest.InferInputTensor,
        spec: TensorSpec,
        raw: bytes | None,
        *,
        missing: bool,
    ) -> Array | None:
        """The tensor's array; None, with the faults noted, when something is wrong with it."""
        path, before = f"inputs[{index}]", len(self.faults)
        self._parameters(f"{path}.parameters", tensor.parameters)
        datatype, shape = _DATATYPES[spec.dtype], tuple(tensor.shape)
        if tensor.datatype != datatype:
            self._fault(f"{path}.datatype", f"{spec.name} is {tensor.datatype or 'empty'}; the graph takes {datatype}")
        if any(size < 0 for size in shape):
            self._fault(f"{path}.shape", f"{spec.name} has a size below zero; give {spec}")
        elif fault := shape_fault(spec, shape, self._sizes):
            self._fault(f"{path}.shape", f"{spec.name} {fault}")
        filled = [field.name for field, _ in tensor.contents.ListFields()]
        if filled and raw is not None:
            self._fault(f"{path}.contents", f"{spec.name} is in raw_input_contents too; give its elements once")
        if len(self.faults) > before:
            return None
        try:
            if raw is not None:
                return _from_raw(raw, datatype, shape)
            return _from_contents(tensor.contents, filled, datatype, shape) if missing else None
        except ValueError as error:
            self._fault(f"{path}.contents" if raw is None else f"raw_input_contents[{index}]", f"{spec.name} {error}")
            return None

    def _parameters(self, path: str, parameters: Mapping[str, pb.InferParameter]) -> None:
        for name in sorted(parameters.keys() - _IGNORED_PARAMETERS):
            self._fault(f"{path}[{name}]", "is not served here; leave it out")

    def _fault(self, path: str, description: str) -> None:
        self.faults.append(FieldViolation(path, description))


def _from_contents(
    contents: pb.InferTensorContents, filled: Sequence[str], datatype: str, shape: tuple[int, ...]
) -> Array:
    """The array; ValueError says what is wrong."""
    dtype, field = _KINDS[datatype]
    if not field:
        raise ValueError(f"is {datatype}, which has no typed contents; use raw_input_contents")
    strangers = [name for name in filled if name != field]
    if strangers:
        raise ValueError(f"has elements in {', '.join(strangers)}; those of {datatype} belong in {field}")
    elements = getattr(contents, field)
    _check_count(len(elements), shape)
    if datatype == "BYTES":
        return _texts(list(elements), shape)
    if field in ("int_contents", "uint_contents"):
        wide = np.array(elements, np.int64)
        limits = np.iinfo(dtype)
        if wide.size and (wide.min() < limits.min or wide.max() > limits.max):
            raise ValueError(f"has an element that is no {datatype}; they go from {limits.min} to {limits.max}")
        return wide.astype(dtype).reshape(shape)
    return np.array(elements, dtype).reshape(shape)


def _from_raw(raw: bytes, datatype: str, shape: tuple[int, ...]) -> Array:
    """The array; ValueError says what is wrong."""
    if datatype == "BYTES":
        return _texts(_split(raw, math.prod(shape)), shape)
    dtype = np.dtype(_KINDS[datatype][0]).newbyteorder("<")
    wanted = math.prod(shape) * dtype.itemsize
    if len(raw) != wanted:
        raise ValueError(f"has {len(raw)} bytes; {datatype} of shape {shape} has {wanted}")
    if datatype == "BOOL":
        return np.frombuffer(raw, np.uint8).astype(bool).reshape(shape)
    return np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _split(raw: bytes, count: int) -> list[bytes]:
    elements, place = [], 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise ValueError("ends inside the length of an element")
        (length,) = struct.unpack_from("<I", raw, place)
        place += 4 + length
        if place > len(raw):
            raise ValueError("ends inside an element")
        elements.append(raw[place - length : place])
        if len(elements) > count:
            break
    _check_count(len(elements), (count,))
    return elements


def _check_count(found: int, shape: tuple[int, ...]) -> None:
    if found != math.prod(shape):
        raise ValueError(f"has {found} elements; shape {shape} has {math.prod(shape)}")


def _texts(elements: Sequence[bytes], shape: tuple[int, ...]) -> Array:
    try:
        texts = [element.decode("utf-8") for element in elements]
    except UnicodeDecodeError:
        raise ValueError("has an element that is not UTF-8, which the engine's text must be") from None
    array = np.empty(len(texts), object)
    array[:] = texts
    return array.reshape(shape)


def _to_raw(array: Array) -> bytes:
    if array.dtype == object:
        elements = [_to_bytes(each) for each in array.flat]
        return b"".join(struct.pack("<I", len(each)) + each for each in elements)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _to_bytes(element: object) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode("utf-8")
