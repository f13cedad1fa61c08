"""One graph of a model made anew: leaner, in the precision wanted, and how far it then is from the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from diptych.engines import open_engine
from diptych.engines.base import Precision, TensorSpec
from diptych.engines.fake import fake_of
from diptych.engines.select import ONNX, Built
from diptych.errors import DiptychError, FailedPrecondition
from diptych.export.build_compare import Errors, Outputs, Tolerance, answers, company_error, compare
from diptych.export.build_cuda import faster_for_cuda
from diptych.export.build_graph import fuse, is_quantized, simplify
from diptych.export.build_inputs import Inputs
from diptych.export.build_material import Material
from diptych.export.build_precision import Method, to_half, to_integers
from diptych.export.weights import store_weights

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
    model = simplify(path, folder / "scratch")
    if is_quantized(model):
        return None
    best = _best(
        model,
        material.samples[source],
        material.answers[source],
        folder / "scratch",
        precision=precision,
        fuses=fuses,
        for_cuda=for_cuda,
        allowed=allowed,
    )
    if best is None:
        raise FailedPrecondition(
            f"{source} has nothing that can be computed in 8 bits with each row for itself; try another precision",
            reason="BUILD_DIFFERS",
        )
    errors, label, model, company = best
    kept = folder / "kept"
    kept.mkdir()
    store_weights(_raw(model), kept / "model.onnx")
    fake = fake_of(kept / "model.onnx")
    return MadeGraph(source, kept / "model.onnx", precision, label, errors, fake.inputs, fake.outputs, company)


def _best(
    plain: onnx.ModelProto,
    samples: Sequence[Inputs],
    expected: Sequence[Outputs],
    scratch: Path,
    *,
    precision: Precision,
    fuses: bool,
    for_cuda: bool,
    allowed: Tolerance,
) -> tuple[Errors, str, onnx.ModelProto, float | None] | None:
    """The graph's errors, how it was made, itself, and how far rows in company are from themselves alone; the first
    that is within what is allowed, else the nearest. None where nothing can be computed in the precision."""
    model, notes = plain, list[str]()
    if not fuses:
        model, notes = _fused(plain, samples, scratch)
    if precision == "fp16":
        model = to_half(model, scratch)
    if for_cuda:
        model, more = faster_for_cuda(model, samples[0], scratch)
        notes += more
    methods: tuple[Method | None, ...] = (None,)
    if precision == "int8":
        methods = ("static",) if fuses else ("static", "dynamic")
    best: tuple[Errors, str, onnx.ModelProto, float | None] | None = None
    for method in methods:
        candidate = model if method is None else to_integers(
            plain, samples, scratch, method=method, symmetric=fuses
        )  # fmt: skip
        if method is not None and _weight_bytes(candidate) > _SMALLER * _weight_bytes(plain):
            continue  # It has next to none of the operations that this method knows.
        found, company = _run(candidate, samples, scratch)
        if method is not None and company:
            continue  # Scales found in every run are those of all rows: one caller would change another's picture.
        errors = compare(expected, found)
        label = ", ".join([*([f"{method} int8"] if method else []), *([] if method else notes)])
        if best is None or errors.mean < best[0].mean:
            best = errors, label, candidate, company
        if errors.largest <= allowed.largest and errors.mean <= allowed.mean:
            break
    return best


def _fused(model: onnx.ModelProto, samples: Sequence[Inputs], work: Path) -> tuple[onnx.ModelProto, list[str]]:
    """The graph with its fusions, if it still computes the same; what was fused."""
    fused = onnx.ModelProto()
    fused.CopyFrom(model)
    counts = fuse(fused, samples[0], work)
    try:
        errors = compare(_run(model, samples[:1], work)[0], _run(fused, samples[:1], work)[0])
    except DiptychError:
        return model, []
    if errors.largest > _SAME:
        return model, []
    return fused, [f"{count} {name}" for name, count in counts.items()]


def _run(model: onnx.ModelProto, samples: Sequence[Inputs], work: Path) -> tuple[list[Outputs], float | None]:
    """Its answers, and how far rows in company are from themselves alone."""
    path = work / "run.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save(copy, path, save_as_external_data=True, location="run.bin", size_threshold=1024)
    try:
        engine = open_engine(path, choice="onnx", keep_memory=False)
        found = answers(engine, samples), company_error(engine, samples)
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
