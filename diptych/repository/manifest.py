"""A model's manifest: what it is, whose it is, which bytes it consists of and where they come from."""

import hashlib
import math
import tomllib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from diptych.errors import FailedPrecondition

FILE_NAME = "manifest.toml"
SUFFIXES = (".onnx", ".safetensors", ".json", ".toml", ".txt", ".md")

# Advice where pydantic's own words do not say what to write.
_ADVICE = {
    "missing": "is missing; add it",
    "extra_forbidden": "is no key here; remove it or mend its spelling",
    "union_tag_not_found": "has no type; add one",
}


def _relative_path(value: str) -> str:
    path = PurePosixPath(value)
    if "\\" in value or ":" in value or path.is_absolute() or ".." in path.parts or str(path) != value or value == ".":
        raise ValueError("give a plain relative path with forward slashes, such as unet/model.onnx")
    return value


def _known_suffix(value: str) -> str:
    if PurePosixPath(value).suffix not in SUFFIXES:
        raise ValueError(f"give a file that ends in one of {', '.join(SUFFIXES)}; other formats are not loaded")
    return value


def _size(value: Any) -> int | str:
    if (type(value) is int and value > 0) or (type(value) is str and value):
        return value
    raise ValueError('give a whole number above zero, or a name for a size that varies, such as "N"')


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]*$")]
Reference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*(@[0-9A-Za-z][0-9A-Za-z.+-]*)?$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
RelativePath = Annotated[str, AfterValidator(_relative_path)]
ModelPath = Annotated[str, AfterValidator(_relative_path), AfterValidator(_known_suffix)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Table):
    """One file inside a package's archive."""

    path: RelativePath
    sha256: Sha256 | None = None


class RepositorySource(_Table):
    """A file in the model's own folder, at `path` (default: the entry's path)."""

    type: Literal["repository"]
    path: RelativePath | None = None

    @property
    def place(self) -> str:
        """What lists show of it."""
        return "file"


class ModelSource(_Table):
    """A file that another model of the repository already has."""

    type: Literal["model"]
    model: Reference
    path: ModelPath

    @property
    def place(self) -> str:
        """What lists show of it."""
        return f"model:{self.model}"


class PythonSource(_Table):
    """Members of a wheel. `wheel` names the tags of one wheel for every machine, such as `cp311-none-any`."""

    type: Literal["python"]
    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Version
    wheel: Annotated[str, StringConstraints(pattern=r"^(cp|py)\d+-\w+-[\w.]+$")] | None = None
    members: Annotated[tuple[Member, ...], Field(min_length=1)]

    @property
    def place(self) -> str:
        """What lists show of it."""
        return f"python:{self.package}=={self.version}"


class NpmSource(_Table):
    """Members of an npm package's tarball; their paths start with `package/`."""

    type: Literal["npm"]
    package: Annotated[str, StringConstraints(pattern=r"^(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*$")]
    version: Version
    members: Annotated[tuple[Member, ...], Field(min_length=1)]

    @property
    def place(self) -> str:
        """What lists show of it."""
        return f"npm:{self.package}@{self.version}"


class HubSource(_Table):
    """A file of a model hub's repository, at a revision: a commit, so that it never changes, or a branch or tag."""

    type: Literal["hub"]
    repository: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$")]
    revision: Text = "main"
    path: RelativePath

    @property
    def place(self) -> str:
        """What lists show of it."""
        return f"hub:{self.repository}@{self.revision}"


class ObjectSource(_Table):
    """An object in a store, such as `s3://bucket/models/unet.onnx`; credentials come from the environment."""

    type: Literal["object"]
    url: Annotated[str, StringConstraints(pattern=r"^(s3|gs|az)://[^/?#]+/[^?#]+$|^file:///[^?#]+$")]

    @property
    def place(self) -> str:
        """What lists show of it."""
        return self.url.rpartition("/")[0]


PackageSource = PythonSource | NpmSource
RemoteSource = HubSource | ObjectSource


class JoinConversion(_Table):
    """Chunks put together in the order that the first member, a JSON index, gives for `resource`.

    With `lean`, the ONNX file that they make is rewritten to give the output of that name alone, faster
    (see `lean.py`).
    """

    type: Literal["join"]
    resource: Text
    lean: Text | None = None


class NcnnConversion(_Table):
    """An ncnn network, members `.param` and `.bin`, rewritten as ONNX."""

    type: Literal["ncnn"]


class TfjsConversion(_Table):
    """A TensorFlow.js graph model, its graph first, then every shard, rewritten as ONNX; `outputs` empty for all."""

    type: Literal["tfjs"]
    outputs: tuple[Text, ...] = ()


class FfdnetConversion(_Table):
    """Torch weights of FFDNet, one member `.pth`, rewritten as ONNX."""

    type: Literal["ffdnet"]


class AttentionConversion(_Table):
    """A text encoder, one member `.onnx`, whose attentions of so many heads become one operation each; `products`
    in int8 are computed so, on whatever comes, and not only stored so."""

    type: Literal["attention"]
    heads: Annotated[int, Field(ge=1)]
    products: Literal["fp32", "int8"] = "fp32"


Conversion = JoinConversion | NcnnConversion | TfjsConversion | FfdnetConversion | AttentionConversion


class FileEntry(_Table):
    """One file of a model: where it lies in the model's folder, its hash, its source."""

    path: ModelPath
    sha256: Sha256
    source: Annotated[
        RepositorySource | ModelSource | PythonSource | NpmSource | HubSource | ObjectSource,
        Field(discriminator="type"),
    ]
    conversion: Annotated[Conversion, Field(discriminator="type")] | None = None

    @model_validator(mode="after")
    def _members_suit_the_conversion(self) -> Self:
        if not isinstance(self.source, PackageSource):
            if self.conversion is not None:
                raise ValueError("a conversion needs a source of type python or npm")
            return self
        members = self.source.members
        if self.conversion is None:
            if len(members) != 1:
                raise ValueError(
                    f"{len(members)} members give one file only by a conversion; add one, or name one member"
                )
            return self
        if any(member.sha256 is None for member in members):
            raise ValueError("members that are converted each need a sha256")
        if isinstance(self.conversion, NcnnConversion):
            suffixes = sorted(PurePosixPath(member.path).suffix for member in members)
            if suffixes != [".bin", ".param"]:
                raise ValueError("the ncnn conversion wants two members, one .param and one .bin")
        elif isinstance(self.conversion, FfdnetConversion | AttentionConversion):
            suffix = ".pth" if isinstance(self.conversion, FfdnetConversion) else ".onnx"
            if [PurePosixPath(member.path).suffix for member in members] != [suffix]:
                raise ValueError(f"the {self.conversion.type} conversion wants one member, a {suffix}")
        elif len(members) < 2:
            first, rest = ("graph", "shard") if isinstance(self.conversion, TfjsConversion) else ("index", "chunk")
            raise ValueError(f"the {self.conversion.type} conversion wants the {first} first, then every {rest}")
        return self


class TensorEntry(_Table):
    """Name, numpy dtype and shape of one tensor; a string in the shape is a size that may vary."""

    name: Text
    dtype: Literal["float32", "float16", "int64", "int32", "uint8", "int8", "bool"]
    shape: tuple[Annotated[Any, AfterValidator(_size)], ...]


class Tensors(_Table):
    """What the model's main graph takes and gives."""

    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]


class Preview(_Table):
    """A linear map from latents (C) to colours, 0 to 1, that previews are drawn with: three numbers a cell, or three
    for each of its n x n points, row by row."""

    weights: Annotated[tuple[tuple[float, ...], ...], Field(min_length=1)]
    bias: Annotated[tuple[float, ...], Field(min_length=3)]

    @model_validator(mode="after")
    def _points_make_a_square(self) -> Self:
        points = math.isqrt(len(self.bias) // 3)
        if len(self.bias) != 3 * points * points or {len(row) for row in self.weights} != {len(self.bias)}:
            raise ValueError("give bias and every row of weights three numbers for each of n x n points")
        return self


class Manifest(_Table):
    """One model, as its `manifest.toml` states it."""

    name: Name
    version: Version
    kind: Literal["GENERATIVE", "EDITING", "ANALYSIS", "ALGORITHM"]
    task: Text
    license: Text
    license_note: str = ""
    requires_acceptance: Annotated[bool, Field(strict=True)] = False
    origin: Text
    description: Text
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    requires: tuple[Reference, ...] = ()
    # Samples that a call of the denoiser may have, where its engine takes only some numbers; any when empty.
    batch_sizes: tuple[Annotated[int, Field(strict=True, gt=0)], ...] = ()
    defaults: dict[str, Any] = Field(default_factory=dict)
    tensors: Tensors | None = None
    # Of each exported part to torch: the largest difference, as a part of the largest number.
    differences: dict[str, float] = Field(default_factory=dict)
    preview: Preview | None = None
    files: tuple[FileEntry, ...] = ()

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        doubled = sorted(_doubled(entry.path for entry in self.files))
        if doubled:
            raise ValueError(f"several files have the path {doubled[0]}; give each its own")
        if self.name in {reference.partition("@")[0] for reference in self.needs}:
            raise ValueError("a model cannot need itself; remove its name from requires and sources")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """References to the models that must be there before this one can be used, in order, each once."""
        linked = (entry.source.model for entry in self.files if isinstance(entry.source, ModelSource))
        return tuple(dict.fromkeys((*self.requires, *linked)))

    @property
    def paths(self) -> tuple[str, ...]:
        """Of all files, in the model's folder."""
        return tuple(entry.path for entry in self.files)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the files come from, each place once, such as `npm:@scope/package@1.2`."""
        return tuple(dict.fromkeys(entry.source.place for entry in self.files))

    @property
    def digest(self) -> str:
        """`sha256:` and the hash of all files' paths and hashes: equal digests mean equal bytes."""
        lines = sorted(f"{entry.sha256}  {entry.path}\n" for entry in self.files)
        return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()

    def entry(self, path: str) -> FileEntry:
        """The file at `path`; FailedPrecondition names the files there are."""
        for entry in self.files:
            if entry.path == path:
                return entry
        known = ", ".join(entry.path for entry in self.files) or "none"
        raise FailedPrecondition(f"model {self.name} has no file {path}; it has: {known}", reason="NO_SUCH_FILE")


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`, NAME or NAME/VERSION; FailedPrecondition lists every fault with its file, its key and
    what to do."""
    label = f"{folder.name}/{FILE_NAME}"
    try:
        content = tomllib.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _invalid(label, ["the file is missing; write one"]) from error
    except UnicodeDecodeError as error:
        raise _invalid(label, [f"byte {error.start} is not UTF-8; save the file as UTF-8"]) from error
    except tomllib.TOMLDecodeError as error:
        raise _invalid(label, [f"is not TOML: {error}"]) from error
    misplaced = _misplaced(folder, content.get("name"), content.get("version"))
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise _invalid(label, [*describe_faults(error), *misplaced]) from error
    if misplaced:
        raise _invalid(label, misplaced)
    return manifest


def _misplaced(folder: Path, name: object, version: object) -> list[str]:
    """What is wrong with the folder that a manifest lies in; nothing that is no text is judged here."""
    if not isinstance(name, str) or name == folder.name:
        return []
    if name != folder.parent.name or not isinstance(version, str):
        return [f"name: is {name!r} in the folder {folder.name!r}; make them the same"]
    if version != folder.name:
        return [f"version: is {version!r} in the folder {folder.name!r}; make them the same"]
    return []


def describe_faults(error: ValidationError) -> list[str]:
    """Every fault of a TOML file: its key, and what to do."""
    return [_describe(fault["loc"], fault["type"], fault["msg"]) for fault in error.errors()]


def _describe(location: tuple[int | str, ...], kind: str, message: str) -> str:
    key = ""
    for before, part in zip((None, *location), location, strict=False):
        if before in ("source", "conversion"):
            continue  # pydantic names the alternative it took, which is no key of the file
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    advice = _ADVICE.get(kind) or message.removeprefix("Value error, ")
    return f"{key}: {advice}" if key else advice


def _invalid(label: str, faults: list[str]) -> FailedPrecondition:
    return FailedPrecondition("\n".join(f"{label}: {fault}" for fault in faults), reason="MANIFEST_INVALID")


def _doubled(values: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {value for value in values if value in seen or seen.add(value)}  # type: ignore[func-returns-value]
