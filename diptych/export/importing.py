"""A model folder made into a repository entry that the generator serves."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from diptych.diffusion import Defaults, open_pipeline
from diptych.diffusion.families import Family, family_of
from diptych.diffusion.schedules import NoiseSchedule, ScheduleSettings
from diptych.engines.base import TensorSpec
from diptych.errors import FailedPrecondition, FieldViolation, InvalidRequest
from diptych.export.entry import Entry, write_entry
from diptych.export.from_onnx import copy_onnx
from diptych.export.from_torch import Made, Wishes, export_torch
from diptych.export.graph import TOLERANCE
from diptych.export.parts import check_sizes, read_json

LICENSE = "unknown: user's"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")
_PARTIAL = ".partial-"
# What libraries raise at configurations that make no sense.
_UNFIT = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError, MemoryError)
_KINDS = {1: "float32", 10: "float16", 7: "int64", 6: "int32", 2: "uint8", 3: "int8", 9: "bool"}


@dataclass(frozen=True)
class ImportOptions:
    """What an import can be told. `controlnets`: folder by kind (edges, depth, pose); `loras`: file and weight;
    `ip_adapter`: a safetensors file, the vision encoder in image_encoder/ beside it or in the model's folder;
    `clip_skip`: text layers to leave out; steps and guidance: defaults of requests, None for the family's."""

    name: str
    license: str = LICENSE
    controlnets: Mapping[str, Path] = field(default_factory=dict)
    loras: tuple[tuple[Path, float], ...] = ()
    ip_adapter: Path | None = None
    clip_skip: int = 0
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    tolerance: float = TOLERANCE
    origin: str = "Imported from a folder of the user's."


def import_model(
    source: Path, root: Path, options: ImportOptions, *, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """The new model's folder `root`/`options.name`: a diffusers folder exported, or a folder of ONNX graphs taken over.

    It is drawn with once before it is kept; nothing is left half-done. InvalidRequest for a bad name,
    FailedPrecondition for what is not served and for a disk that is full, DataCorrupted for a file that is not what
    its name says.
    """
    target = root / options.name
    if not _NAME.fullmatch(options.name):
        fault = "give up to 100 lower-case letters, digits, dots and dashes, beginning with a letter or digit"
        raise InvalidRequest([FieldViolation("name", f"is {options.name[:100]!r}; {fault}")])
    if target.exists():
        raise FailedPrecondition(
            f"there is a model {options.name} already; choose another name, or delete {target}", reason="MODEL_EXISTS"
        )
    if not source.is_dir():
        raise InvalidRequest.single("path", f"{source} {_no_folder(source)}", reason="NO_FOLDER")
    index = read_json(source / "model_index.json", "model_index.json; give the folder of a whole pipeline")
    family = family_of(index)
    _check_schedule(source, family)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _workplace(root) as work:
            complete = work / options.name
            complete.mkdir()
            _make(source, complete, family, index, options, progress)
            complete.rename(target)
    except OSError as error:
        raise FailedPrecondition(
            f"{options.name} cannot be made: {error.strerror or error}"
            + (f" ({Path(error.filename).name})" if error.filename else ""),
            reason="IMPORT_FAILED",
        ) from error
    return target


def _no_folder(source: Path) -> str:
    if not source.exists():
        return "does not exist; give the folder of a whole pipeline"
    if source.suffix not in (".safetensors", ".ckpt"):
        return "is a file; give the folder of a whole pipeline"
    return (
        "is a single file; give a folder: diffusers makes one of it with "
        "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
    )


@contextmanager
def _workplace(root: Path) -> Iterator[Path]:
    """A folder under `root` for as long as the block lasts. Those of imports that were killed are cleared away."""
    with ExitStack() as held:
        with _locked(root):  # Nobody clears away what is not locked yet.
            for left in root.glob(f"{_PARTIAL}*"):
                with suppress(BlockingIOError), _locked(left, wait=False):
                    shutil.rmtree(left, ignore_errors=True)
            work = Path(held.enter_context(tempfile.TemporaryDirectory(dir=root, prefix=_PARTIAL)))
            held.enter_context(_locked(work))
        yield work


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """The folder for this process alone; BlockingIOError when another has it and there is no waiting."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _make(
    source: Path,
    complete: Path,
    family: Family,
    index: Mapping[str, Any],
    options: ImportOptions,
    progress: Callable[[str], None],
) -> None:
    """Fills the folder `complete`, its manifest last."""
    if (source / family.denoiser / "model.onnx").is_file():
        _refuse_torch_options(options)
        made = copy_onnx(source, complete, family, index, progress)
    else:
        wishes = Wishes(options.controlnets, options.loras, options.clip_skip, options.tolerance, options.ip_adapter)
        made = export_torch(source, complete, family, index, wishes, progress)
    defaults = _defaults(source, index, family, options)
    progress("Drawing with it once")
    width, height = _draw_once(complete, defaults)
    inputs, outputs = _specs(complete / family.denoiser / "model.onnx")
    write_entry(
        complete,
        Entry(
            name=options.name,
            description=_description(family, made),
            license=options.license,
            origin=options.origin,
            defaults={**defaults, "width": width, "height": height},
            inputs=inputs,
            outputs=outputs,
            differences=made.differences,
            preview=made.preview,
        ),
    )


def _check_schedule(source: Path, family: Family) -> None:
    """Takes a walk without a model, before the work of exporting one."""
    name = "scheduler/scheduler_config.json"
    config = read_json(source / name, name)
    check_sizes(config, name)
    settings = ScheduleSettings(config, family.even_sigmas, family.fixed_schedule)
    try:
        NoiseSchedule(settings.default, settings, num_inference_steps=2)
    except _UNFIT as error:
        raise FailedPrecondition(
            f"{name} describes no walk: {type(error).__name__}: {str(error)[:200]}", reason="UNSUPPORTED_SCHEDULE"
        ) from error


def _refuse_torch_options(options: ImportOptions) -> None:
    if options.controlnets or options.loras or options.clip_skip or options.ip_adapter:
        raise FailedPrecondition(
            "LoRA, ControlNets, IP-Adapters and clip-skip are put in before a model becomes ONNX; give its diffusers "
            "folder instead",
            reason="ALREADY_EXPORTED",
        )


def _defaults(source: Path, index: Mapping[str, Any], family: Family, options: ImportOptions) -> dict[str, Any]:
    """Steps and guidance; models distilled to a few steps are known by their schedule or their name."""
    steps, guidance = family.num_inference_steps, family.guidance_scale
    scheduler = read_json(source / "scheduler/scheduler_config.json", "scheduler/scheduler_config.json")
    names = f"{index.get('_name_or_path', '')} {source.name} {options.name}".lower()
    if "turbo" in names:
        steps, guidance = 4, 1.0
    elif scheduler.get("_class_name") == "LCMScheduler" and family.num_inference_steps > 4:
        steps, guidance = 4, 1.5
    return {
        "num_inference_steps": options.num_inference_steps or steps,
        "guidance_scale": guidance if options.guidance_scale is None else options.guidance_scale,
    }


def _draw_once(folder: Path, defaults: Mapping[str, Any]) -> tuple[int, int]:
    """The native size of the pipeline in `folder`, once it has drawn."""
    pipeline = None
    try:
        pipeline = open_pipeline(folder, Defaults.from_table(defaults))
        with np.errstate(divide="raise", invalid="raise"):
            pipeline.warm_up()
        return pipeline.sizes.native
    except FloatingPointError:
        raise FailedPrecondition(
            "what the model draws are no numbers; its weights or its scaling_factor are spoilt", reason="CANNOT_DRAW"
        ) from None
    except _UNFIT as error:
        raise FailedPrecondition(
            f"the model cannot draw: {type(error).__name__}: {str(error)[:200]}; look at its configurations",
            reason="CANNOT_DRAW",
        ) from error
    finally:
        if pipeline is not None:
            pipeline.close()


def _description(family: Family, made: Made) -> str:
    extras = [f"with ControlNets for {', '.join(made.control_kinds)}"] if made.control_kinds else []
    extras += ["with an IP-Adapter"] if made.has_ip_adapter else []
    extras += [f"with {made.num_loras} LoRA adapters merged"] if made.num_loras else []
    return ", ".join([f"The user's own model ({family.title})", *extras]) + "."


def _specs(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of an ONNX file."""
    graph = onnx.load(path, load_external_data=False).graph
    names = {tensor.name for tensor in graph.initializer}

    def specs(values: Any) -> tuple[TensorSpec, ...]:
        return tuple(_spec(value) for value in values if value.name not in names)

    return specs(graph.input), specs(graph.output)


def _spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(size.dim_value or size.dim_param or "?" for size in tensor.shape.dim)
    return TensorSpec(value.name, _KINDS[tensor.elem_type], shape)
