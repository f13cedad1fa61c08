"""Which models there are under the roots, in which versions, which of them is the default, and their other names.

ROOT/NAME/manifest.toml            a model, one version
ROOT/NAME/VERSION/manifest.toml    a model, as many versions as there are folders
ROOT/repository.toml               optional: default versions and aliases
"""

import contextlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diptych.errors import FailedPrecondition, ModelNotFound
from diptych.repository.manifest import FILE_NAME, Manifest, Name, Reference, Version, describe_faults, read_manifest

SETTINGS_NAME = "repository.toml"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # Model -> the version that serves whoever names none; without an entry the newest does.
    default_versions: dict[Name, Version] = Field(default_factory=dict)
    # Another name -> NAME or NAME@VERSION.
    aliases: dict[Name, Reference] = Field(default_factory=dict)


@dataclass(frozen=True)
class Shelved:
    """A model's manifest and the folder where it lies."""

    manifest: Manifest
    folder: Path


class Shelves:
    """Models under `roots`; an earlier root wins over a later one. Reads the disk on every call.

    A manifest at fault hides its own version alone: somebody may be copying a model while others are asked for.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)

    def all(self) -> list[Shelved]:
        """Every version of every model, by name and version, but those whose manifests are at fault."""
        return [shelved for name in self._names() for shelved in self._read(name)[0]]

    def faults(self) -> list[FailedPrecondition]:
        """What is wrong with each manifest that is at fault."""
        return [fault for name in self._names() for fault in self._read(name)[1]]

    def _names(self) -> list[str]:
        found = (folder for root in self._roots for folder in root.iterdir() if not folder.name.startswith("."))
        return sorted({folder.name for folder in found if _folders(folder)})

    def _read(self, name: str) -> tuple[list[Shelved], list[FailedPrecondition]]:
        """All versions of one model, the oldest first, and what is wrong with others."""
        found: dict[str, Shelved] = {}
        faults = []
        for root in self._roots:
            for folder in _folders(root / name):
                try:
                    shelved = Shelved(_manifest(folder, name), folder)
                except FailedPrecondition as fault:
                    faults.append(fault)
                else:
                    found.setdefault(shelved.manifest.version, shelved)
        return [found[version] for version in sorted(found, key=_age)], faults

    def find(self, reference: str) -> Shelved:
        """The model of a reference: NAME, NAME@VERSION, or an alias.

        ModelNotFound lists what there is, FailedPrecondition names the setting that points at nothing, or what is wrong
        with the manifest.
        """
        name, _, version = reference.partition("@")
        aliased = self._targets().get(name)
        if aliased is None:
            return self._find(reference)
        target, _, fixed = aliased.partition("@")
        wanted = version or fixed
        try:
            return self._find(f"{target}@{wanted}" if wanted else target)
        except ModelNotFound as error:
            if version:
                raise
            raise _invalid([f"aliases.{name}: is {aliased!r}; {error.message}"]) from error

    def aliases(self) -> dict[str, str]:
        """Other names of models that there are, and the reference that each stands for."""
        found = {}
        for alias, reference in self._targets().items():
            with contextlib.suppress(ModelNotFound):
                self._find(reference)
                found[alias] = reference
        return found

    def _find(self, reference: str) -> Shelved:
        name, _, version = reference.partition("@")
        versions, faults = self._read(name)
        version = version or self._default(name, versions)
        for shelved in versions:
            if shelved.manifest.version == version:
                return shelved
        if faults:
            raise faults[0]
        known = [f"{name}@{one.manifest.version}" for one in versions]
        raise ModelNotFound(reference, known or {one.manifest.name for one in self.all()})

    def _targets(self) -> dict[str, str]:
        """Every alias of the settings but those that are a model's own name."""
        found: dict[str, str] = {}
        for root in reversed(self._roots):
            for alias, reference in _settings(root).aliases.items():
                if not any(_folders(each / alias) for each in self._roots):
                    found[alias] = reference
        return found

    def _default(self, name: str, versions: Sequence[Shelved]) -> str:
        """The version that the settings name; else the newest of the earliest root that has the model."""
        known = [one.manifest.version for one in versions]
        for root in self._roots:
            chosen = _settings(root).default_versions.get(name)
            if chosen is not None and versions and chosen not in known:
                raise _invalid([f"default_versions.{name}: is {chosen!r}; there are {', '.join(known)}"])
            if chosen is not None:
                return chosen
        for root in self._roots:
            newest = [one.manifest.version for one in versions if one.folder.is_relative_to(root)]
            if newest:
                return newest[-1]
        return ""


def _manifest(folder: Path, name: str) -> Manifest:
    """The manifest in the folder of a model, or of a version of it, called `name`."""
    manifest = read_manifest(folder)
    if manifest.name != name:
        raise FailedPrecondition(
            f"{name}/{folder.name}/{FILE_NAME}: name: is {manifest.name!r} in the folder {name!r}; make them the same",
            reason="MANIFEST_INVALID",
        )
    return manifest


def _folders(folder: Path) -> list[Path]:
    """Where manifests of a model lie below its folder."""
    return [path.parent for path in (folder / FILE_NAME, *sorted(folder.glob(f"*/{FILE_NAME}"))) if path.is_file()]


def _settings(root: Path) -> _Settings:
    path = root / SETTINGS_NAME
    if not path.is_file():
        return _Settings()
    try:
        return _Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        faults = describe_faults(error)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults = [f"is not TOML: {error}"]
    raise _invalid(faults)


def _invalid(faults: Sequence[str]) -> FailedPrecondition:
    text = "\n".join(f"{SETTINGS_NAME}: {fault}" for fault in faults)
    return FailedPrecondition(text, reason="REPOSITORY_INVALID")


def _age(version: str) -> list[tuple[int, int, str]]:
    """Orders versions by their numbers, as people read them; 1.0-rc1 comes before 1.0."""
    parts = re.findall(r"\d+|[A-Za-z]+", version.partition("+")[0])
    order: Mapping[bool, int] = {True: 1, False: -1}
    key = [
        (order[part.isdigit()], int(part) if part.isdigit() else 0, "" if part.isdigit() else part) for part in parts
    ]
    return [*key, (0, 0, version)]
