"""Builds of a model: files that engines run faster than the model's own, and how far from it they were measured to be.

A build lies in the cache, under the digest of the model that it was made of; `build.toml` is its manifest.
"""

import hashlib
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diptych.errors import DataCorrupted
from diptych.repository.manifest import ModelPath, RelativePath, Sha256, TensorEntry, Text
from diptych.repository.verify import check_hash

BUILD_FILE = "build.toml"
# Raised when the same options come to make other files, so that older builds are not taken for them.
FORMAT = 2
Range = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BuildKey(_Table):
    """What decides a build's bytes, beside the model: an equal key means that there is nothing to do."""

    # onnxruntime, mnn, tensorrt or tensorrt_rtx
    engine: Text
    engine_version: Text
    precision: Literal["fp32", "fp16", "int8"]
    # The compute capability that an engine is for, such as sm89; `cuda` for graphs that CUDA alone runs; else empty.
    target: str = ""
    # Pictures in one call, and pixels a side, least and most.
    batch: Range
    resolution: Range

    @property
    def folder(self) -> str:
        """The build's folder below its model's."""
        content = json.dumps([FORMAT, self.model_dump()], sort_keys=True)
        name = "-".join(part for part in (self.engine, self.precision, self.target) if part)
        return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


class BuiltPart(_Table):
    """One file of the build, what it stands for, and how far its outputs are from that.

    Errors are parts of the largest number in the reference's answer. `method` says how it was made. `company_error` is
    how far rows that share a call are from the same rows alone; none where the engine was not run or takes no company.
    """

    source: ModelPath
    path: RelativePath
    sha256: Sha256
    # Weights beside the graph, where they are too large to be in it.
    weights: RelativePath | None = None
    weights_sha256: Sha256 | None = None
    precision: Literal["fp32", "fp16", "int8"]
    method: str
    bytes: int
    max_error: float
    mean_error: float
    company_error: float | None = None
    inputs: tuple[TensorEntry, ...] = ()
    outputs: tuple[TensorEntry, ...] = ()


class Build(_Table):
    """A build as its `build.toml` states it."""

    model: Text
    version: Text
    digest: Text
    key: BuildKey
    # What the parts were compared with: the torch modules of the model's own folder, or its ONNX files.
    reference: Literal["torch", "onnx"]
    # Whether the engine itself was run and compared, or, for want of the GPU, only the graph that it was built from.
    checked: Literal["engine", "graph"]
    # Of whole pictures, dB, against those of the model's own files; none for models that make no pictures.
    psnr: float | None = None
    # Milliseconds of one call of the main graph on the machine of the build, and of the model's own file.
    provider: str = ""
    milliseconds: float | None = None
    source_milliseconds: float | None = None
    parts: tuple[BuiltPart, ...]


def builds_folder(cache: Path, model: str, digest: str) -> Path:
    """Where the builds of one model lie: below `cache`, or the folder in `DIPTYCH_BUILDS`."""
    configured = os.environ.get("DIPTYCH_BUILDS")
    return (Path(configured) if configured else cache / "builds") / model / digest.removeprefix("sha256:")[:12]


def read_builds(folder: Path) -> list[tuple[Path, Build]]:
    """The builds in `folder` with their folders; DataCorrupted for one whose manifest is at fault."""
    return [(path.parent, read_build(path.parent)) for path in sorted(folder.glob(f"*/{BUILD_FILE}"))]


def read_build(folder: Path) -> Build:
    """The build in `folder`; DataCorrupted when its manifest cannot be read."""
    try:
        return Build.model_validate(tomllib.loads((folder / BUILD_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise DataCorrupted(
            f"the build {folder.name} has an unreadable {BUILD_FILE}; delete {folder} and build again",
            reason="BUILD_UNREADABLE",
        ) from error


def check_build(folder: Path, build: Build) -> None:
    """Nothing if every file of the build has its hash; DataCorrupted names the first that has not."""
    for part in build.parts:
        for path, expected in ((part.path, part.sha256), (part.weights, part.weights_sha256)):
            if path is not None and expected is not None:
                mend = f"delete {folder} and build again"
                if not (folder / path).is_file():
                    raise DataCorrupted(f"{build.model}/{path} of a build is missing; {mend}", reason="FILE_MISSING")
                check_hash(folder / path, expected, label=f"{build.model}/{path} of a build", mend=mend)


def write_build(folder: Path, build: Build) -> None:
    """Writes `folder`/build.toml."""
    content = build.model_dump(exclude_none=True)
    parts = content.pop("parts")
    key = content.pop("key")
    lines = [f"{name} = {_toml(value)}" for name, value in content.items()]
    lines += ["", "[key]", *(f"{name} = {_toml(value)}" for name, value in key.items())]
    for part in parts:
        lines += ["", "[[parts]]", *(f"{name} = {_toml(value)}" for name, value in part.items())]
    (folder / BUILD_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    if isinstance(value, float):
        return f"{value:.6g}" if "." in f"{value:.6g}" or "e" in f"{value:.6g}" else f"{value:.6g}.0"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
