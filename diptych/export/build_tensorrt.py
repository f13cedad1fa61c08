"""Engines of TensorRT and TensorRT for RTX, built ahead of time for a named GPU, which need not be there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.engines.base import TensorSpec
from diptych.engines.machine import tensorrt_module
from diptych.engines.tensorrt import dtype_of
from diptych.errors import FailedPrecondition, FieldViolation, InvalidRequest

_TARGET = re.compile(r"sm\d{2,3}")
_BATCH = ("batch", "B", "N", "batch_size")
_PIXELS = ("H", "W", "picture_height", "picture_width", "sample_height", "sample_width")
_CELLS = re.compile(r"(?:height|width)(?:_(\d+))?")
_TEXT = ("sequence", "tokens")
_MOST_TOKENS = 128


@dataclass(frozen=True)
class Sizes:
    """What sizes that vary may be: least, usual and most. `cell`: pixels a side of one cell of latents."""

    batch: tuple[int, int, int]
    pixels: tuple[int, int, int]
    cell: int = 8

    def of(self, name: str) -> tuple[int, int, int]:
        """The range of the size called `name`; FailedPrecondition for a name that says nothing."""
        if name in _BATCH:
            return self.batch
        if name in _TEXT:
            return 1, 32, _MOST_TOKENS
        if name in _PIXELS:
            return self.pixels
        if match := _CELLS.fullmatch(name):
            least, usual, most = (max(1, pixels // (self.cell * int(match[1] or 1))) for pixels in self.pixels)
            return least, usual, most
        raise FailedPrecondition(
            f"the graph has a size called {name!r}, and what it may be is not known", reason="UNSUPPORTED_GRAPH"
        )


@dataclass(frozen=True)
class Serialized:
    """An engine's bytes, and what it takes and gives as its network says."""

    content: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Compiler:
    """Builds engines with the module of `engine`: `tensorrt_rtx` or `tensorrt`.

    FailedPrecondition where neither it nor its like is installed. `timings` is a file that what was measured while
    building is kept in, by modules that measure.
    """

    def __init__(self, engine: str, timings: Path | None = None) -> None:
        self._trt: Any = tensorrt_module(engine)
        if self._trt is None:
            raise FailedPrecondition(
                f"{engine} is not installed; run: pip install 'diptych[tensorrt]'", reason="NO_TENSORRT"
            )
        self.engine = engine
        self.version = str(self._trt.__version__)
        self._timings = timings
        self._logger = _Log(self._trt)

    def targets(self) -> list[str]:
        """The GPUs that engines can be built for without having them, such as `sm89`; none for a module that cannot."""
        kinds = getattr(self._trt, "ComputeCapability", None)
        names = [] if kinds is None else [name for name in dir(kinds) if re.fullmatch(r"SM\d+", name)]
        return sorted((name.lower() for name in names), key=lambda name: int(name[2:]))

    def require(self, target: str) -> None:
        """Nothing if engines can be built for the target; FailedPrecondition otherwise."""
        known = self.targets()
        if target not in known:
            able = ", ".join(known) or "the GPU that is here"
            raise FailedPrecondition(
                f"{self.engine} {self.version} builds for {able}, not for {target}", reason="NO_TARGET"
            )

    def compile(self, path: Path, target: str, sizes: Sizes, shapes: Mapping[str, TensorSpec]) -> Serialized:
        """The engine of an ONNX file for `target` (empty: the GPU that is here).

        `shapes`: the file's inputs and outputs, whose names of sizes TensorRT does not keep. FailedPrecondition says
        what TensorRT cannot do with the graph.
        """
        trt = self._trt
        builder = trt.Builder(self._logger.sink)
        flags = trt.NetworkDefinitionCreationFlag
        typed = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
        network = builder.create_network(typed)
        parser = trt.OnnxParser(network, self._logger.sink)
        if not parser.parse_from_file(str(path)):
            raise self._refused(path, str(parser.get_error(0)) if parser.num_errors else "")
        config = builder.create_builder_config()
        if target:
            self.require(target)
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
        config.add_optimization_profile(_profile(builder, network, sizes, shapes))
        self._recall(config)
        content = builder.build_serialized_network(network, config)
        if content is None:
            raise self._refused(path, self._logger.last)
        self._remember(config)
        return Serialized(
            bytes(content),
            tuple(_spec(network.get_input(index), shapes) for index in range(network.num_inputs)),
            tuple(_spec(network.get_output(index), shapes) for index in range(network.num_outputs)),
        )

    def _refused(self, path: Path, why: str) -> FailedPrecondition:
        return FailedPrecondition(
            f"{self.engine} {self.version} cannot build {path.name}: {why[:300] or 'it does not say why'}",
            reason="UNSUPPORTED_GRAPH",
        )

    def _recall(self, config: Any) -> None:
        """Gives what was measured before to a module that measures while it builds; TensorRT for RTX does not."""
        if self._timings is None or self.engine != "tensorrt":
            return
        content = self._timings.read_bytes() if self._timings.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(content), False)

    def _remember(self, config: Any) -> None:
        if self._timings is not None and self.engine == "tensorrt":
            self._timings.parent.mkdir(parents=True, exist_ok=True)
            self._timings.write_bytes(bytes(config.get_timing_cache().serialize()))


class _Log:
    """TensorRT's messages, the last error of which says why a build failed."""

    def __init__(self, trt: Any) -> None:
        log = self
        self.last = ""

        class Sink(trt.ILogger):  # type: ignore[misc]
            """Keeps errors, drops the rest."""

            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    log.last = message

        self.sink = Sink()


def read_targets(text: str) -> tuple[str, ...]:
    """The targets in `sm89,sm120`; InvalidRequest for one of another form."""
    targets = [part.strip().lower() for part in text.split(",") if part.strip()]
    wrong = [name for name in targets if not _TARGET.fullmatch(name)]
    if wrong:
        raise InvalidRequest(
            [FieldViolation("--target", f"is {name[:40]!r}; give compute capabilities such as sm89") for name in wrong]
        )
    return tuple(dict.fromkeys(targets))


def _profile(builder: Any, network: Any, sizes: Sizes, shapes: Mapping[str, TensorSpec]) -> Any:
    """One optimization profile with the range of each input's shape."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        name = network.get_input(index).name
        ranges = [(size,) * 3 if isinstance(size, int) else sizes.of(size) for size in shapes[name].shape]
        least, usual, most = (tuple(size[place] for size in ranges) for place in range(3))
        profile.set_shape(name, least, usual, most)
    return profile


def _spec(tensor: Any, shapes: Mapping[str, TensorSpec]) -> TensorSpec:
    """What the network says of a tensor, sizes that vary called as in the ONNX file."""
    known = shapes[tensor.name].shape if tensor.name in shapes else ("?",) * len(tensor.shape)
    shape = tuple(
        int(size) if size >= 0 else name if isinstance(name, str) else "?"
        for size, name in zip(tensor.shape, known, strict=True)
    )
    return TensorSpec(tensor.name, dtype_of(tensor.dtype), shape)
