"""A model of the repository made into files that engines run faster, compared with the model before they are kept."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnxruntime

from diptych.engines import Engine, open_engine
from diptych.engines.base import Precision, TensorSpec
from diptych.engines.machine import Machine, tensorrt_module, this_machine
from diptych.engines.providers import CUDA
from diptych.engines.select import FOR_CUDA, MNN, ONNX, Built
from diptych.engines.variants import built_of
from diptych.errors import FailedPrecondition
from diptych.export.build_compare import (
    TOLERANCES,
    Errors,
    Tolerance,
    answers,
    company_error,
    compare,
    require,
    require_pictures,
    times,
)
from diptych.export.build_made import MadeGraph, make_graph
from diptych.export.build_material import Material, end_to_end, gather
from diptych.export.build_mnn import convert, require_mnn, why_not
from diptych.export.build_tensorrt import Compiler, Sizes
from diptych.repository.builds import BUILD_FILE, Build, BuildKey, BuiltPart, read_build, write_build
from diptych.repository.manifest import TensorEntry
from diptych.repository.repository import LocalModel, ModelRepository
from diptych.repository.verify import outside_data, sha256_of

Progress = Callable[[str], None]
_ONNX_ENGINE = "onnx"
# A graph that is made this many times as large, its weights written out, is only worth it where the time goes.
_GROWN = 1.5


@dataclass(frozen=True)
class BuildOptions:
    """What to build. `targets`: GPUs for TensorRT, such as `sm89`, none for the one that is here; `batch` and
    `resolution`: least and most pictures in a call and pixels a side, None for what the model was made for; `torch`:
    the diffusers folder that the model was imported from, to compare with instead of its ONNX files; `pictures`: a
    folder of photographs to compare and calibrate on; `tolerance`: None for that of the precision."""

    precision: Precision = "fp32"
    engine: Literal["onnx", "tensorrt", "mnn"] = "onnx"
    targets: tuple[str, ...] = ()
    batch: tuple[int, int] = (1, 4)
    resolution: tuple[int, int] | None = None
    torch: Path | None = None
    pictures: Path | None = None
    tolerance: Tolerance | None = None

    @property
    def allowed(self) -> Tolerance:
        """What the build may differ by."""
        return self.tolerance or TOLERANCES[self.precision]


def build_model(
    repository: ModelRepository, name: str, options: BuildOptions, *, progress: Progress = lambda _: None
) -> list[tuple[Path, Build]]:
    """The builds that `options` ask for, one for each target, with their folders. What is there already is not built
    again.

    Nothing is left half-done. FailedPrecondition for a build that differs from the model by more than is allowed, for
    what an engine cannot build and for missing modules; ModelNotPulled, DataCorrupted as the repository says.
    """
    local = repository.open(name)
    compiler = _compiler(local, options)
    machine = this_machine()
    keys = _keys(local, options, compiler, machine)
    missing = [key for key in keys if not _is_done(local.builds / key.folder, machine)]
    for key in keys:
        if key not in missing:
            progress(f"{key.folder} is there already")
    if missing:
        local.builds.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=local.builds, prefix=".partial-") as work:
            _Making(local, options, compiler, Path(work), progress).make(missing)
    return [(local.builds / key.folder, read_build(local.builds / key.folder)) for key in keys]


@dataclass
class _Making:
    """Builds of one model under way."""

    local: LocalModel
    options: BuildOptions
    compiler: Compiler | None
    work: Path
    progress: Progress
    # Whether builds are to come that hold the same files.
    several: bool = False

    def make(self, keys: Sequence[BuildKey]) -> None:
        """Makes the graphs once, compares them, and finishes each key's build."""
        self.progress("Running the model on real inputs")
        options = self.options
        material = gather(self.local, options.torch, options.pictures, options.resolution, self.progress)
        graphs = [self._graph(path, material) for path in material.samples]
        made = [graph for graph in graphs if graph is not None]
        self.progress("Running what was made on the same inputs")
        built = {graph.source: graph.built for graph in made}
        psnr = end_to_end(self.local, material, built, options.resolution, self.progress)
        if psnr is not None:
            self.progress(f"Pictures agree to {psnr:.1f} dB")
            require_pictures(psnr, self.options.allowed)
        for key in keys:
            self.several = key != keys[-1]
            folder = self.work / key.folder
            folder.mkdir()
            build = self._finish(key, folder, made, material, psnr)
            write_build(folder, build)
            shutil.rmtree(self.local.builds / key.folder, ignore_errors=True)
            folder.rename(self.local.builds / key.folder)
            self.progress(f"{key.folder} is ready ({sum(part.bytes for part in build.parts) / 1e6:.1f} MB)")

    def _graph(self, source: str, material: Material) -> MadeGraph | None:
        """One graph of the model made anew and compared; None for one that is left as it is."""
        precision = self.options.precision
        if precision == "int8" and source != material.main:
            precision = "fp32"  # Only the graph that takes the time is worth the risk.
        self.progress(f"Optimising {source} ({precision})")
        made = make_graph(
            self.local.path(source),
            source,
            material,
            self.work,
            precision=precision,
            fuses=self.options.engine != _ONNX_ENGINE,
            for_cuda=_is_for_cuda(self.options),
            allowed=self.options.allowed,
        )
        if made is None:
            self.progress(f"{source} computes with integers already and stays as it is")
            return None
        grown = _size_of(made.path) > _GROWN * _size_of(self.local.path(source))
        if made.precision == "fp32" and source != material.main and grown:
            self.progress(f"{source} keeps its weights in fewer bits and stays as it is")
            return None
        if self.options.engine == MNN:
            return self._converted(made, material)
        require(source, made.errors, self.options.allowed)
        return made

    def _converted(self, graph: MadeGraph, material: Material) -> MadeGraph | None:
        """The graph as a file of MNN, compared; None for one beside the main one that MNN does not run."""
        if reason := why_not(graph.shapes.values()):
            if graph.source == material.main:
                raise FailedPrecondition(f"MNN builds are for float32: {reason}", reason="UNSUPPORTED_GRAPH")
            self.progress(f"{graph.source} stays as it is: {reason}")
            return None
        folder = graph.path.parent.with_name("mnn")
        folder.mkdir()
        convert(graph.path, folder / "model.mnn")
        made = replace(graph, path=folder / "model.mnn", engine=MNN, method="converted")
        samples = material.samples[graph.source]
        opened = open_engine(self.local.path(graph.source), built=made.built)
        errors = compare(material.answers[graph.source], answers(opened, samples))
        company = company_error(opened, samples)
        opened.close()
        require(graph.source, errors, self.options.allowed)
        return replace(made, errors=errors, company=company)

    def _finish(
        self, key: BuildKey, folder: Path, graphs: Sequence[MadeGraph], material: Material, psnr: float | None
    ) -> Build:
        """Fills `folder` with the files of one build."""
        parts, engines_checked = [], True
        for graph in graphs:
            part = None if self.compiler is None else self._serialize(key, folder, graph, material)
            part = part or _stored(graph, folder, shutil.copyfile if self.several else shutil.move)
            engines_checked &= not part.path.endswith(".engine") or key.target == this_machine().gpu
            parts.append(part)
        provider, now, own = "", None, None
        if engines_checked:
            self.progress("Timing it")
            provider, own, now = self._time(parts, folder, key, material)
        return Build(
            model=self.local.manifest.name,
            version=self.local.manifest.version,
            digest=self.local.digest,
            key=key,
            reference="torch" if self.options.torch else "onnx",
            checked="engine" if engines_checked else "graph",
            psnr=psnr,
            provider=provider,
            milliseconds=now,
            source_milliseconds=own,
            parts=tuple(parts),
        )

    def _serialize(self, key: BuildKey, folder: Path, graph: MadeGraph, material: Material) -> BuiltPart | None:
        """The graph as an engine for the key's target; None where TensorRT refuses a graph beside the main one."""
        assert self.compiler is not None
        self.progress(f"Building {graph.source} for {key.target}")
        sizes = _sizes(key, material, doubled=graph.source == material.main and material.draws)
        target = "" if key.target == this_machine().gpu and key.engine == "tensorrt" else key.target
        try:
            engine = self.compiler.compile(graph.path, target, sizes, graph.shapes)
        except FailedPrecondition as error:
            if graph.source == material.main:
                raise
            self.progress(f"{graph.source} stays ONNX: {error.message}")
            return None
        path = f"{Path(graph.source).parent}/model.engine".removeprefix("./")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(engine.content)
        errors, company = graph.errors, None
        if key.target == this_machine().gpu:
            opened = open_engine(
                self.local.path(graph.source),
                built=Built(folder / path, key.engine, graph.precision, (engine.inputs, engine.outputs)),
            )
            errors = compare(material.answers[graph.source], answers(opened, material.samples[graph.source]))
            company = company_error(opened, material.samples[graph.source])
            opened.close()
            require(f"{graph.source} for {key.target}", errors, self.options.allowed)
        return _part(graph, folder, path, errors, company, engine.inputs, engine.outputs)

    def _time(
        self, parts: Sequence[BuiltPart], folder: Path, key: BuildKey, material: Material
    ) -> tuple[str, float | None, float | None]:
        """The provider, and milliseconds of the main graph: the model's own, the build's."""
        main = next((part for part in parts if part.source == material.main), None)
        if main is None:
            return "", None, None
        path = self.local.path(material.main)
        built = built_of(main, folder, key.engine)
        engines: list[Engine] = [open_engine(path, choice="onnx"), open_engine(path, choice="onnx", built=built)]
        own, now = times(engines, material.samples[material.main][0])
        provider = engines[1].provider
        for engine in engines:
            engine.close()
        return provider, own, now


def _compiler(local: LocalModel, options: BuildOptions) -> Compiler | None:
    if options.engine != "tensorrt":
        if options.targets:
            raise FailedPrecondition("targets are for --engine tensorrt; other builds need no GPU", reason="NO_TARGET")
        if options.engine == MNN and options.precision != "fp32":
            raise FailedPrecondition("MNN builds are fp32; leave --precision out", reason="UNSUPPORTED_PRECISION")
        return None
    # Ahead of time, for a GPU that is not here, only TensorRT for RTX builds.
    wanted = "tensorrt" if not options.targets and tensorrt_module("tensorrt") is not None else "tensorrt_rtx"
    return Compiler(wanted, local.builds / "timings" if wanted == "tensorrt" else None)


def _keys(local: LocalModel, options: BuildOptions, compiler: Compiler | None, machine: Machine) -> list[BuildKey]:
    resolution = options.resolution or _native(local)
    if options.engine == MNN:
        return [_key(options, MNN, require_mnn(), "", resolution)]
    if compiler is None:
        return [_key(options, ONNX, onnxruntime.__version__, FOR_CUDA if _is_for_cuda(options) else "", resolution)]
    targets = options.targets or ((machine.gpu,) if machine.gpu else ())
    if not targets:
        raise FailedPrecondition(
            f"there is no GPU here to build for; name one with --target: {', '.join(compiler.targets())}",
            reason="NO_TARGET",
        )
    for target in options.targets:  # Before the work of the first.
        compiler.require(target)
    return [_key(options, compiler.engine, compiler.version, target, resolution) for target in targets]


def _is_for_cuda(options: BuildOptions) -> bool:
    """Whether graphs may take operations that CUDA alone has: in half precision, and where they can be run."""
    machine = this_machine()
    return (
        options.engine == _ONNX_ENGINE
        and options.precision == "fp16"
        and bool(machine.gpu)
        and CUDA in machine.providers
    )


def _key(options: BuildOptions, engine: str, version: str, target: str, resolution: tuple[int, int]) -> BuildKey:
    return BuildKey(
        engine=engine,
        engine_version=version,
        precision=options.precision,
        target=target,
        batch=options.batch,
        resolution=resolution,
    )


def _is_done(folder: Path, machine: Machine) -> bool:
    """Whether the build is there and as well checked as this machine can."""
    if not (folder / BUILD_FILE).is_file():
        return False
    build = read_build(folder)
    return build.checked == "engine" or build.key.target != machine.gpu


def _native(local: LocalModel) -> tuple[int, int]:
    defaults = local.manifest.defaults
    if "width" in defaults:
        sides = int(defaults["width"]), int(defaults["height"])
        return min(sides), max(sides)
    return 128, 1024


def _sizes(key: BuildKey, material: Material, *, doubled: bool) -> Sizes:
    """The range of sizes. Guided rows bring two samples to the denoiser. The comparison asks for one row and for two,
    so these are always within."""
    each = 2 if doubled else 1
    least, most = key.batch
    low, high = key.resolution
    return Sizes(
        (min(least, each), max(least, each), each * max(most, 2)),
        (low, min(high, max(low, material.side)), high),
        material.cell,
    )


def _stored(graph: MadeGraph, folder: Path, bring: Callable[[Path, Path], object]) -> BuiltPart:
    """The graph's files brought into the build."""
    place = (folder / graph.source).parent
    place.mkdir(parents=True, exist_ok=True)
    for file in graph.path.parent.iterdir():
        bring(file, place / file.name)
    path = (place / graph.path.name).relative_to(folder).as_posix()
    specs = () if graph.engine == ONNX else (graph.inputs, graph.outputs)
    return _part(graph, folder, path, graph.errors, graph.company, *specs)


def _part(
    graph: MadeGraph,
    folder: Path,
    path: str,
    errors: Errors,
    company: float | None,
    inputs: tuple[TensorSpec, ...] = (),
    outputs: tuple[TensorSpec, ...] = (),
) -> BuiltPart:
    weights = (folder / path).with_suffix(".safetensors")
    beside = weights.is_file() and path.endswith(".onnx")
    return BuiltPart(
        source=graph.source,
        path=path,
        sha256=sha256_of(folder / path),
        weights=weights.relative_to(folder).as_posix() if beside else None,
        weights_sha256=sha256_of(weights) if beside else None,
        precision=graph.precision,
        method=graph.method,
        bytes=_size_of(folder / path),
        max_error=errors.largest,
        mean_error=errors.mean,
        company_error=company,
        inputs=_entries(inputs),
        outputs=_entries(outputs),
    )


def _size_of(path: Path) -> int:
    """Bytes of a file and of those that hold its weights."""
    return sum(file.stat().st_size for file in (path, *(path.parent / name for name in outside_data(path))))


def _entries(specs: tuple[TensorSpec, ...]) -> tuple[TensorEntry, ...]:
    return tuple(
        TensorEntry.model_validate({"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}) for spec in specs
    )
