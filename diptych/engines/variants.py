"""A model's builds as `select` looks at them, and the one that this machine runs."""

import logging
from collections.abc import Sequence
from pathlib import Path

from diptych.engines.base import TensorSpec
from diptych.engines.machine import Machine, this_machine
from diptych.engines.select import ONNX, Built, EngineChoice, Variant, choose_variant
from diptych.repository.builds import Build, BuiltPart, check_build, read_builds
from diptych.repository.manifest import TensorEntry

_LOG = logging.getLogger(__name__)


def variant_for(builds: Path, choice: EngineChoice = "auto", machine: Machine | None = None) -> Variant | None:
    """The build in the folder `builds` to run here, its hashes checked; None to run the model's own files.

    DataCorrupted for a build whose files are not what they were when it was measured.
    """
    if choice == "fake" or not builds.is_dir():
        return None
    found = [(variant_of(folder, build), folder, build) for folder, build in read_builds(builds)]
    chosen = choose_variant([variant for variant, _, _ in found], machine or this_machine(), choice)
    for variant, folder, build in found:
        if variant is chosen:
            check_build(folder, build)
            _LOG.info("build chosen", extra={"fields": {"model": build.model, "build": folder.name}})
    return chosen


def variant_of(folder: Path, build: Build) -> Variant:
    """What `select` needs to know of the build in `folder`."""
    own, now = build.source_milliseconds, build.milliseconds
    return Variant(
        engine=build.key.engine,
        engine_version=build.key.engine_version,
        precision=build.key.precision,
        target=build.key.target,
        checked=build.checked == "engine",
        provider=build.provider,
        speedup=own / now if own and now else 1.0,
        files={part.source: built_of(part, folder, build.key.engine) for part in build.parts},
        company_error=max((part.company_error for part in build.parts if part.company_error is not None), default=None),
    )


def built_of(part: BuiltPart, folder: Path, engine: str) -> Built:
    """What `open_engine` needs of one file of a build in `folder`."""
    if part.path.endswith(".onnx"):  # What TensorRT does not take stays ONNX, beside the engines.
        return Built(folder / part.path, ONNX, part.precision)
    return Built(folder / part.path, engine, part.precision, (_specs(part.inputs), _specs(part.outputs)))


def _specs(entries: Sequence[TensorEntry]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(entry.name, entry.dtype, entry.shape) for entry in entries)
