"""Files of a model hub's repositories, by the hub's own client: single ones, or a whole diffusers folder.

The client decides which hub, token and proxy it uses (`HF_ENDPOINT`, `HF_TOKEN`). What is being downloaded is named
after its content, so a download that was cut off goes on where it stopped, in this process or another one.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from diptych.errors import DataCorrupted, FailedPrecondition, InvalidRequest, NotFound
from diptych.repository.manifest import HubSource
from diptych.repository.verify import sha256_of

Progress = Callable[[str], None]

_CHUNK = 1 << 20
# What a diffusers folder needs to be imported; pickles are left where they are.
_WANTED = (".json", ".txt", ".model", ".safetensors", ".onnx", ".onnx_data")


@dataclass(frozen=True)
class HubFile:
    """One file of a repository. `digest` is its sha256 where it is large (`large`), else git's own hash of it."""

    path: str
    size: int
    digest: str
    large: bool


@dataclass(frozen=True)
class HubListing:
    """A repository at one commit."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]


def fetch_file(source: HubSource, folder: Path, progress: Progress) -> Path:
    """The file that a manifest names, below `folder`; NotFound, FailedPrecondition, or DataCorrupted."""
    listing = look_up(source.repository, source.revision)
    for file in listing.files:
        if file.path == source.path:
            return _download(listing, file, folder, progress)
    raise NotFound(
        f"{source.repository} at {source.revision} has no file {source.path}; mend the manifest", reason="NO_SUCH_FILE"
    )


def fetch_folder(repository: str, revision: str, folder: Path, progress: Progress) -> Path:
    """`folder`, holding what an import needs of a diffusers repository: its parts' weights once each, and no pickle."""
    listing = look_up(repository, revision)
    chosen = choose_files([file.path for file in listing.files])
    if "model_index.json" not in chosen:
        raise FailedPrecondition(
            f"{repository} has no model_index.json; name the repository of a whole diffusers pipeline",
            reason="UNSUPPORTED_MODEL",
        )
    for file in listing.files:
        if file.path in chosen:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (target.is_file() and _digest(target, file) == file.digest):
                _download(listing, file, folder, progress).replace(target)
    return folder


def choose_files(paths: list[str]) -> set[str]:
    """Of a diffusers repository's files those that an import reads.

    A part's weights in one precision only: the plain ones, else a variant such as `fp16`. Nothing else at the top but
    the index: single-file checkpoints of the same model lie there.
    """
    found = {path for path in paths if path.endswith(_WANTED) and ("/" in path or path == "model_index.json")}
    plain = {str(PurePosixPath(path).parent) for path in found if path.endswith(".safetensors") and not _variant(path)}
    return {path for path in found if not (_variant(path) and str(PurePosixPath(path).parent) in plain)}


def look_up(repository: str, revision: str) -> HubListing:
    """What the hub has of a repository. NotFound, or FailedPrecondition with what to do."""
    # Imported here: it takes long, and listing models does without.
    from huggingface_hub import HfApi

    with _told(repository, revision):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        files = tuple(_file(one) for one in info.siblings or ())
        return HubListing(repository, str(info.sha), files)


def _file(sibling: Any) -> HubFile:
    path = PurePosixPath(sibling.rfilename)
    if path.is_absolute() or ".." in path.parts or "\\" in sibling.rfilename:
        raise DataCorrupted(f"the hub lists a file at {sibling.rfilename[:100]!r}", reason="LISTING_REFUSED")
    if sibling.lfs is not None:
        return HubFile(str(path), int(sibling.lfs.size), str(sibling.lfs.sha256), large=True)
    return HubFile(str(path), int(sibling.size or 0), str(sibling.blob_id), large=False)


def _download(listing: HubListing, file: HubFile, folder: Path, progress: Progress) -> Path:
    """The file below `folder`, under a name of its content; what is there of it already is not fetched again."""
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils.tqdm import disable_progress_bars

    partial = folder / f".{file.digest}.part"
    partial.parent.mkdir(parents=True, exist_ok=True)
    here = partial.stat().st_size if partial.is_file() else 0
    if here > file.size:
        partial.unlink()
        here = 0
    rest = f", from {here / 1e6:.1f} MB on" if here else ""
    progress(f"Downloading {file.path} of {listing.repository} ({file.size / 1e6:.1f} MB{rest})")
    disable_progress_bars()
    with _told(listing.repository, listing.commit), partial.open("ab") as target:
        url = hf_hub_url(listing.repository, file.path, revision=listing.commit)
        # Compressed on its way, a file has no size to check and nothing to go on from.
        headers = {"accept-encoding": "identity"}
        if token := get_token():
            headers["authorization"] = f"Bearer {token}"
        http_get(url, target, resume_size=here, headers=headers, expected_size=file.size or None)
    if _digest(partial, file) != file.digest:
        partial.unlink()
        raise DataCorrupted(
            f"{file.path} of {listing.repository} is not what the hub says it is; try again", reason="HASH_MISMATCH"
        )
    return partial


def _digest(path: Path, file: HubFile) -> str:
    if file.large:
        return sha256_of(path)
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            blob.update(chunk)
    return blob.hexdigest()


def _variant(path: str) -> bool:
    """Whether a weights file's name has a precision in it: `model.fp16.safetensors`, `model.fp16-00001-of-00002...`."""
    name = PurePosixPath(path).name
    return path.endswith(".safetensors") and "." in name.removesuffix(".safetensors")


@contextmanager
def _told(repository: str, revision: str) -> Iterator[None]:
    """Makes the client's failures ours."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise FailedPrecondition(
            f"{repository} is only for those who accepted its terms; accept them on its page, then set HF_TOKEN",
            reason="HUB_GATED",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise NotFound(
            f"the hub has no repository {repository}, or not for you; mind its spelling, or set HF_TOKEN",
            reason="HUB_REPOSITORY_NOT_FOUND",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise NotFound(
            f"{repository} has no revision {revision}; give a branch, tag or commit", reason="HUB_REVISION_NOT_FOUND"
        ) from error
    except errors.HFValidationError as error:
        raise InvalidRequest.single("repository", f"is {repository!r}; give OWNER/NAME") from error
    except (httpx2.HTTPError, errors.OfflineModeIsEnabled) as error:
        raise FailedPrecondition(
            f"{repository} could not be downloaded: {type(error).__name__}; check the network and try again, what is "
            "here already is kept",
            reason="DOWNLOAD_FAILED",
        ) from error
