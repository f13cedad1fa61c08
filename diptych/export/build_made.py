"""One graph of a model made anew: leaner, in the precision wanted, and how far it then is from the model."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from diptych.engines import open_engine
from diptych.engines.base import Precision, TensorSpec
from diptych.engines.fake import fake_of
from diptych.engines.select import ONNX, Built
from diptych.errors import DiptychError, FailedPrecondition
from diptych.export.build_compare import Errors, Tolerance, answers, company_error, compare
from diptych.export.build_cuda import faster_for_cuda
from diptych.export.build_graph import fuse, is_quantized, simplify
from diptych.export.build_inputs import Inputs, Outputs
from diptych.export.build_material import Material
from diptych.export.build_precision import Method, to_half, to_integers
from diptych.export.weights import LiftedWeights, store_weights

# A fused graph that is further from the plain one than this computes something else.
_SAME = 1e-3
# A graph whose weights take more than this part of what they took is not one in 8 bits.
_SMALLER = 0.7


@dataclass(frozen=True)
class MadeGraph:
    """`source`, a file of the model, made anew at `path` for `engine`.

    `company`: how far rows that share a call are from the same rows alone; None where that is not known.
    """

    source: str
    path: Path
    precision: Precision
    method: str
    errors: Errors
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    company: float | None
    engine: str = ONNX

    @property
    def shapes(self) -> dict[str, TensorSpec]:
        """Inputs and outputs by name."""
        return {spec.name: spec for spec in (*self.inputs, *self.outputs)}

    @property
    def built(self) -> Built:
        """What `open_engine` needs of it."""
        return Built(self.path, self.engine, self.precision, (self.inputs, self.outputs))


def make_graph(
    path: Path,
    source: str,
    material: Material,
    work: Path,
    *,
    precision: Precision,
    fuses: bool,
    for_cuda: bool = False,
    allowed: Tolerance,
) -> MadeGraph | None:
    """The graph at `path` made anew below `work`; None for one that computes with integers already.

    `fuses`: the engine that it is for does so by itself, and does not know the names of ONNX Runtime's operations;
    `for_cuda`: it may take operations that CUDA alone has, where they are faster.
    """
    folder = work / "graphs" / source.replace("/", "-")
    folder.mkdir(parents=True)
    weights = LiftedWeights(path, folder / "scratch")
    model = simplify(weights.lifted, folder / "scratch")
    if is_quantized(model):
        return None
    trial = _Trial(source, material, weights, folder, precision=precision, fuses=fuses, for_cuda=for_cuda)
    return trial.best(model, allowed)


@dataclass
class _Trial:
    """One graph on its way to the precision wanted: ways of making it are tried until one holds."""

    source: str
    material: Material
    weights: LiftedWeights
    folder: Path
    precision: Precision
    fuses: bool
    for_cuda: bool

    def best(self, plain: onnx.ModelProto, allowed: Tolerance) -> MadeGraph:
        """The first way that is within what is allowed, else the nearest."""
        best: MadeGraph | None = None
        for number, (model, label) in enumerate(self._ways(plain)):
            kept = self.folder / f"way-{number}"
            kept.mkdir()
            made = self._measured(model, kept / "model.onnx", label)
            if made.company and self.precision == "int8":
                continue  # Scales found in every run are those of all rows: one caller would change another's picture.
            if best is None or made.errors.mean < best.errors.mean:
                best, made = made, best
            if made is not None:
                shutil.rmtree(made.path.parent)
            if best.errors.largest <= allowed.largest and best.errors.mean <= allowed.mean:
                break
        if best is None:
            raise FailedPrecondition(
                f"{self.source} has nothing that can be computed in 8 bits with each row for itself; try another "
                "precision",
                reason="BUILD_DIFFERS",
            )
        return best

    def _ways(self, plain: onnx.ModelProto) -> Iterator[tuple[onnx.ModelProto, str]]:
        """Ways to make the graph, each with what it is called, the one hoped for first."""
        scratch = self.folder / "scratch"
        if self.precision == "int8":
            whole = self.weights.read_in(plain)
            methods: tuple[Method, ...] = ("static",) if self.fuses else ("static", "dynamic")
            for method in methods:
                samples = self.material.samples[self.source]
                model = to_integers(whole, samples, scratch, method=method, symmetric=self.fuses)
                if _weight_bytes(model) <= _SMALLER * _weight_bytes(whole):  # Else it has few operations of that kind.
                    yield model, f"{method} int8"
            return
        model, notes = (plain, list[str]()) if self.fuses else self._fused(plain)
        if self.precision == "fp16":
            model = to_half(model, scratch, lifted=self.weights.names)
        if self.for_cuda:
            whole = self.weights.read_in(model)
            model, more = faster_for_cuda(whole, self.material.samples[self.source][0], scratch)
            notes += more
        yield model, ", ".join(notes)

    def _fused(self, plain: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """The graph with its fusions, if it still computes the same; what was fused."""
        fused, scratch = onnx.ModelProto(), self.folder / "scratch"
        fused.CopyFrom(plain)
        sample = {**self.material.samples[self.source][0], **self.weights.arrays}
        counts = fuse(fused, sample, scratch)
        try:
            found = _answers(fused, sample, scratch)
        except DiptychError:
            return plain, []
        if compare(self.material.own[self.source][:1], [found]).largest > _SAME:
            return plain, []
        return fused, [f"{count} {name}" for name, count in counts.items()]

    def _measured(self, model: onnx.ModelProto, path: Path, label: str) -> MadeGraph:
        """`model` written to `path`, and how far it is from the model there."""
        if any(value.name in self.weights.names for value in model.graph.input):
            self.weights.put_back(model, path)
        else:
            store_weights(_raw(model), path)
        samples = self.material.samples[self.source]
        engine = open_engine(path, choice="onnx", keep_memory=False)
        errors = compare(self.material.answers[self.source], answers(engine, samples))
        company = company_error(engine, samples)
        engine.close()
        fake = fake_of(path)
        return MadeGraph(self.source, path, self.precision, label, errors, fake.inputs, fake.outputs, company)


def _answers(model: onnx.ModelProto, sample: Inputs, work: Path) -> Outputs:
    path = work / "run.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save(copy, path, save_as_external_data=True, location="run.bin", size_threshold=1024)
    try:
        engine = open_engine(path, choice="onnx", keep_memory=False)
        (found,) = answers(engine, [sample])
        engine.close()
        return found
    finally:
        for remains in work.glob("run.*"):
            remains.unlink()


def _raw(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every weight as bytes, which is what is moved beside a large graph."""
    for tensor in model.graph.initializer:
        if not tensor.raw_data:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    return model


def _weight_bytes(model: onnx.ModelProto) -> int:
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)
