"""Objects in stores: `s3://`, `gs://`, `az://`, and `file://` for a folder that stands in for one.

Credentials and endpoints come from the environment, as the stores' own tools read them (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL`, ...). A download that was cut off goes on where it stopped if the object is still the same.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from diptych.errors import DataCorrupted, FailedPrecondition, NotFound

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

Progress = Callable[[str], None]

# What a connection that breaks off can lose.
_CHUNK = 1 << 14


def fetch_object(url: str, folder: Path, progress: Progress) -> Path:
    """The object below `folder`; NotFound, FailedPrecondition with what to do, DataCorrupted if its size is wrong."""
    base, _, name = url.rpartition("/")
    with _told(url):
        store = _store(base)
        return _download(store, _head(store, name), url, folder, progress)


def fetch_prefix(url: str, folder: Path, progress: Progress) -> Path:
    """`folder`, holding every object below a prefix such as `s3://bucket/models/mine`."""
    import obstore

    with _told(url):
        store = _store(url.rstrip("/"))
        listed = [meta for batch in obstore.list(store) for meta in batch]
        if not listed:
            raise NotFound(f"there is nothing at {url}; mind its spelling", reason="OBJECT_NOT_FOUND")
        for meta in listed:
            target = folder / _inside(meta["path"])
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_file():
                _download(store, meta, f"{url}/{meta['path']}", folder, progress).replace(target)
    return folder


def _store(base: str) -> "ObjectStore":
    from obstore.store import from_url

    return from_url(base)


def _head(store: "ObjectStore", name: str) -> "ObjectMeta":
    import obstore

    return obstore.head(store, name)


def _inside(path: str) -> Path:
    if ".." in Path(path).parts or Path(path).is_absolute():
        raise DataCorrupted(f"the store lists an object at {path[:100]!r}", reason="LISTING_REFUSED")
    return Path(path)


def _download(store: "ObjectStore", meta: "ObjectMeta", url: str, folder: Path, progress: Progress) -> Path:
    """The object below `folder`, under a name of its address, tag, size and time."""
    import obstore

    tag, size = meta["e_tag"], meta["size"]
    identity = hashlib.sha256(f"{url}\n{tag}\n{size}\n{meta['last_modified']}".encode()).hexdigest()
    partial = folder / f".{identity}.part"
    here = partial.stat().st_size if partial.is_file() else 0
    rest = f", from {here / 1e6:.1f} MB on" if here else ""
    progress(f"Downloading {url} ({size / 1e6:.1f} MB{rest})")
    with partial.open("ab") as target:
        if here < size:
            # On the tag, so that what is put together is one object.
            answer = obstore.get(store, meta["path"], options={"range": {"offset": here}, "if_match": tag})
            for chunk in answer.stream(_CHUNK):
                target.write(chunk)
    if partial.stat().st_size != size:
        partial.unlink()
        raise DataCorrupted(f"{url} came with another size than the store says; try again", reason="SIZE_MISMATCH")
    return partial


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Makes the stores' failures ours."""
    from obstore import exceptions

    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError) as error:
        raise NotFound(f"there is no object at {url}; mind its spelling", reason="OBJECT_NOT_FOUND") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise FailedPrecondition(
            f"{url} may not be read with these credentials; set them in the environment", reason="OBJECT_FORBIDDEN"
        ) from error
    except exceptions.PreconditionError as error:
        raise FailedPrecondition(
            f"{url} changed while it was downloaded; try again", reason="DOWNLOAD_FAILED"
        ) from error
    except exceptions.BaseError as error:
        raise FailedPrecondition(
            f"{url} could not be downloaded: {type(error).__name__}; check the network, the endpoint and the bucket, "
            "and try again; what is here already is kept",
            reason="DOWNLOAD_FAILED",
        ) from error
