"""The models of this installation: known by manifest, pulled on request, opened only when every hash is right."""

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from filelock import FileLock, Timeout

from diptych.errors import DataCorrupted, DiptychError, FailedPrecondition, ModelNotPulled
from diptych.repository.builds import Build, builds_folder, read_builds
from diptych.repository.conversions import convert
from diptych.repository.manifest import (
    FileEntry,
    Manifest,
    Member,
    ModelSource,
    PackageSource,
    RemoteSource,
    RepositorySource,
)
from diptych.repository.places import default_cache, default_root, users_models
from diptych.repository.shelves import Shelved, Shelves
from diptych.repository.sources import by_package, fetch, fetch_remote
from diptych.repository.verify import check_content, check_hash, outside_data

ModelState = Literal["READY", "NOT_PULLED"]
Progress = Callable[[str], None]

_DOWNLOADS = ".downloads"
_WEIGHTS = (".onnx", ".safetensors")


@dataclass(frozen=True)
class LocalModel:
    """A model whose files are on this machine and are what its manifest promises. `builds`: folder of its builds."""

    manifest: Manifest
    directory: Path
    digest: str
    builds: Path

    def path(self, path: str) -> Path:
        """The file that the manifest lists as `path`; FailedPrecondition names the files there are."""
        return _locate(self.manifest, self.directory, path)

    @property
    def weight_bytes(self) -> int:
        """Size of the files that hold weights, which is about what they take in memory."""
        return _weight_bytes(self.manifest, self.directory)


class ModelRepository:
    """Models under `roots` (an earlier root wins over a later one), pulled files under `cache`.

    `roots` defaults to the folder `models` beside the package, or the one in `DIPTYCH_MODELS`; `cache` to the user's
    cache folder, or the one in `DIPTYCH_CACHE`. With `users`, models that the user imported come first. A reference is
    a name (its default version), `name@version`, or an alias, see `shelves`. Safe to use from several threads and
    processes.
    """

    def __init__(self, roots: Sequence[Path] | None = None, cache: Path | None = None, *, users: bool = False) -> None:
        own = (users_models(),) if users and users_models().is_dir() else ()
        roots = (*own, *(roots if roots is not None else (default_root(),)))
        self._cache = (cache or default_cache()) / "models"
        for root in roots:
            if not root.is_dir():
                raise FailedPrecondition(
                    f"there is no folder of models at {root}; set DIPTYCH_MODELS to one", reason="NO_MODELS"
                )
        self._shelves = Shelves(roots)

    def manifests(self) -> list[Manifest]:
        """Every version of every model, sorted by name and version, but for those that `faults` names."""
        return [shelved.manifest for shelved in self._shelves.all()]

    def faults(self) -> list[FailedPrecondition]:
        """What is wrong with each manifest that is at fault."""
        return self._shelves.faults()

    def aliases(self) -> dict[str, str]:
        """Other names of models, and the reference that each stands for."""
        return self._shelves.aliases()

    def get(self, reference: str) -> Manifest:
        """One model's manifest; ModelNotFound lists the models there are."""
        return self._shelves.find(reference).manifest

    def state(self, reference: str) -> ModelState:
        """Whether the model's files and those of every model it needs are there; their hashes are not checked."""
        shelved = self._shelves.find(reference)
        directory = self._directory(shelved)
        if not all(_locate(shelved.manifest, directory, path).is_file() for path in shelved.manifest.paths):
            return "NOT_PULLED"
        needed = (self.state(needed) for needed in shelved.manifest.needs)
        return "NOT_PULLED" if "NOT_PULLED" in needed else "READY"

    def weight_bytes(self, reference: str) -> int:
        """Size of the model's files that hold weights; ModelNotPulled if they are not here."""
        shelved = self._shelves.find(reference)
        try:
            return _weight_bytes(shelved.manifest, self._directory(shelved))
        except FileNotFoundError as error:
            raise ModelNotPulled(reference) from error

    def open(self, reference: str) -> LocalModel:
        """The model, every hash checked; ModelNotPulled says what to run, DataCorrupted names the file at fault."""
        shelved = self._shelves.find(reference)
        self._verify(shelved)
        if self.state(_exactly(shelved.manifest)) != "READY":
            raise ModelNotPulled(reference)
        manifest = shelved.manifest
        builds = builds_folder(self._cache.parent, manifest.name, manifest.digest)
        return LocalModel(manifest, self._directory(shelved), manifest.digest, builds)

    def builds(self, reference: str) -> list[tuple[Path, Build]]:
        """What was built of the model, with the folders; nothing of it is checked but its manifest."""
        manifest = self.get(reference)
        return read_builds(builds_folder(self._cache.parent, manifest.name, manifest.digest))

    def verify(self, reference: str) -> None:
        """Nothing if every file of the model has its hash; DataCorrupted names the first that has not."""
        self._verify(self._shelves.find(reference))

    def pull(self, reference: str, *, accept_licenses: Collection[str] = (), progress: Progress | None = None) -> Path:
        """The folder of the model's files, fetched where they are missing or damaged; the models it needs come first.

        Nothing is left half-done: files appear in the cache all at once. `progress` is given plain sentences.
        FailedPrecondition if a licence must be accepted or a download fails, DataCorrupted if bytes are not the
        promised ones.
        """
        return self._pull(self._shelves.find(reference), accept_licenses, progress or _silent, ())

    def remove(self, reference: str, *, force: bool = False) -> int:
        """Bytes that deleting the model's pulled files, or the user's imported model, gives back.

        FailedPrecondition for a model whose files lie in the repository itself, and, without `force`, for one that
        another model needs.
        """
        shelved = self._shelves.find(reference)
        manifest, directory = shelved.manifest, self._directory(shelved)
        if _stays_in_place(manifest) and not shelved.folder.is_relative_to(users_models()):
            raise FailedPrecondition(
                f"the files of {manifest.name} are part of the folder of models and are not pulled; there is nothing "
                "to remove",
                reason="NOT_REMOVABLE",
            )
        needing = self._needing(shelved)
        if needing and not force:
            raise FailedPrecondition(
                f"{', '.join(needing)} {'needs' if len(needing) == 1 else 'need'} {manifest.name}; remove that first, "
                "or give --force",
                reason="MODEL_NEEDED",
            )
        if not directory.is_dir():
            raise ModelNotPulled(reference)
        # Files that are linked from another model's folder stay there and free nothing.
        freed = sum(
            path.stat().st_size for path in directory.rglob("*") if path.is_file() and path.stat().st_nlink == 1
        )
        shutil.rmtree(directory)
        return freed

    def downloads(self, name: str) -> Path:
        """Where what is being imported as `name` is downloaded to."""
        return self._cache.parent / "downloads" / name

    def _needing(self, shelved: Shelved) -> list[str]:
        """Names of the models, here, that need this one."""
        found = set()
        for other in self._shelves.all():
            needs = [self._shelves.find(reference) for reference in other.manifest.needs]
            if shelved in needs and self._directory(other).is_dir():
                found.add(other.manifest.name)
        return sorted(found)

    def _verify(self, shelved: Shelved) -> None:
        manifest, directory = shelved.manifest, self._directory(shelved)
        for entry in manifest.files:
            path = _locate(manifest, directory, entry.path)
            if not path.is_file():
                raise _absent(manifest, entry)
            check_hash(path, entry.sha256, label=f"{manifest.name}/{entry.path}", mend=_mend(manifest))
            _check_entry(manifest, entry, path)

    def _pull(self, shelved: Shelved, accepted: Collection[str], progress: Progress, asking: tuple[str, ...]) -> Path:
        manifest = shelved.manifest
        if manifest.name in asking:
            circle = " -> ".join((*asking, manifest.name))
            raise FailedPrecondition(f"models need each other in a circle: {circle}", reason="MANIFEST_INVALID")
        for needed in manifest.needs:
            self._pull(self._shelves.find(needed), accepted, progress, (*asking, manifest.name))
        directory = self._directory(shelved)
        if _stays_in_place(manifest):
            self._verify(shelved)
            progress(f"{manifest.name} {manifest.version} is ready; its files need no download")
            return directory
        try:
            self._fill(shelved, directory, accepted, progress)
        except OSError as error:
            raise FailedPrecondition(
                f"the cache cannot be written: {error.strerror or error}; free space there, or set DIPTYCH_CACHE to a "
                "folder that can be written",
                reason="CACHE_UNWRITABLE",
            ) from error
        return directory

    def _fill(self, shelved: Shelved, directory: Path, accepted: Collection[str], progress: Progress) -> None:
        """Makes `directory` hold the model, or changes nothing."""
        manifest = shelved.manifest
        shelf = self._cache / manifest.name
        shelf.mkdir(parents=True, exist_ok=True)
        with _locked(shelf / ".lock", manifest.name, progress):
            if self._is_whole(shelved, directory, progress):
                progress(f"{manifest.name} {manifest.version} is ready")
                return
            _require_acceptance(manifest, accepted)
            for remains in shelf.glob(".partial-*"):
                shutil.rmtree(remains)
            with tempfile.TemporaryDirectory(dir=shelf, prefix=".partial-") as work:
                complete = Path(work) / "complete"
                complete.mkdir()
                self._collect(shelved, complete, Path(work), progress)
                # The directory's name holds the digest, so what stood there was a damaged copy of the same bytes.
                shutil.rmtree(directory, ignore_errors=True)
                complete.rename(directory)
            shutil.rmtree(shelf / _DOWNLOADS, ignore_errors=True)
        megabytes = sum(directory.joinpath(path).stat().st_size for path in manifest.paths) / 1e6
        progress(f"{manifest.name} {manifest.version} is ready ({megabytes:.1f} MB)")

    def _is_whole(self, shelved: Shelved, directory: Path, progress: Progress) -> bool:
        if not all((directory / path).is_file() for path in shelved.manifest.paths):
            return False
        try:
            self._verify(shelved)
        except DataCorrupted as error:
            progress(f"{error.message}; pulling again")
            return False
        return True

    def _collect(self, shelved: Shelved, complete: Path, work: Path, progress: Progress) -> None:
        """Puts every file of the model into `complete`, checked."""
        manifest = shelved.manifest
        members = self._fetch_packages(manifest, work, progress)
        for entry in manifest.files:
            label = f"{manifest.name}/{entry.path}"
            target = complete / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            source = entry.source
            if isinstance(source, RepositorySource):
                own = shelved.folder / (source.path or entry.path)
                if not own.is_file():
                    raise _missing(label)
                shutil.copyfile(own, target)
            elif isinstance(source, ModelSource):
                _link(self._other_file(source), target)
            elif isinstance(source, RemoteSource):
                # Outside of `work`, which goes with a failure: the next pull goes on from here.
                _link(fetch_remote(source, work.parent / _DOWNLOADS, progress), target)
            elif entry.conversion is None:
                _link(members[entry.path][source.members[0].path], target)
            else:
                progress(f"Converting {label}")
                convert(entry.conversion, source.members, members[entry.path], target)
            check_hash(target, entry.sha256, label=label, mend=_mend_source(entry))
            _check_entry(manifest, entry, target)

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
        other = self._shelves.find(source.model)
        other.manifest.entry(source.path)
        return _locate(other.manifest, self._directory(other), source.path)

    def _directory(self, shelved: Shelved) -> Path:
        manifest = shelved.manifest
        if _stays_in_place(manifest):
            return shelved.folder
        digest = manifest.digest.removeprefix("sha256:")
        return self._cache / manifest.name / f"{manifest.version}-{digest[:12]}"


def _check_entry(manifest: Manifest, entry: FileEntry, path: Path) -> None:
    """Nothing if the bytes are what the name says and need no file but those of the manifest; else DataCorrupted."""
    label = f"{manifest.name}/{entry.path}"
    check_content(path, label=label)
    for location in outside_data(path):
        if str(PurePosixPath(entry.path).parent / location) not in manifest.paths:
            raise DataCorrupted(
                f"{label} keeps data in {location}, which the manifest does not list; add it with its sha256",
                reason="CONTENT_REFUSED",
            )


def _exactly(manifest: Manifest) -> str:
    return f"{manifest.name}@{manifest.version}"


def _weight_bytes(manifest: Manifest, directory: Path) -> int:
    weights = [path for path in manifest.paths if path.endswith(_WEIGHTS)]
    return sum(_locate(manifest, directory, path).stat().st_size for path in weights)


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
