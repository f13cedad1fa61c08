"""A server that speaks what model hubs and S3 speak, as far as weights are fetched by it, and can be told to fail.

Hub: `/api/models/OWNER/NAME/revision/REV?blobs=true` and `/OWNER/NAME/resolve/COMMIT/PATH`, large files by way of a
redirect to `/cdn/SHA256`. S3: `/BUCKET/KEY` and `/BUCKET?list-type=2&prefix=...`, requests signed. Ranges everywhere.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

COMMIT = "c0ffee" + "0" * 34
LARGE = 1000  # bytes from which a hub keeps a file apart


@dataclass
class Shelf:
    """What is served. `cuts`: path -> bytes after which the next answer breaks off; `closed`: status for all of a path
    after a cut; `lies`: path -> content that is sent in place of the right one."""

    hub: dict[str, dict[str, bytes]] = field(default_factory=dict)
    buckets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    lies: dict[str, bytes] = field(default_factory=dict)
    token: str = ""
    # (path, Range) of every request for content.
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def ranges(self, path: str) -> list[str]:
        """The ranges that were asked for of one path, "" for the whole."""
        return [span for asked, span in self.asked if asked == path]


def blob(content: bytes) -> str:
    """Git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sibling(path: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": blob(content)}
    if len(content) >= LARGE:
        entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shelf: Shelf

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path).strip("/")
        if path.startswith("api/models/"):
            self._api(path.removeprefix("api/models/"))
        elif "/resolve/" in path:
            self._resolve(path)
        elif path.startswith("cdn/"):
            every = (content for files in self.shelf.hub.values() for content in files.values())
            named = {hashlib.sha256(content).hexdigest(): content for content in every}
            self._content(path, named[path.removeprefix("cdn/")])
        else:
            self._s3(path, parse_qs(parts.query))

    def _api(self, path: str) -> None:
        repository, _, revision = path.partition("/revision/")
        files = self.shelf.hub.get(repository)
        if self.shelf.token and self.headers.get("authorization") != f"Bearer {self.shelf.token}":
            self._refuse(401, "GatedRepo")
        elif files is None:
            self._refuse(404, "RepoNotFound")
        elif revision not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        else:
            listing = {"id": repository, "sha": COMMIT, "siblings": [_sibling(*pair) for pair in files.items()]}
            self._send(200, json.dumps(listing).encode(), {"content-type": "application/json"})

    def _resolve(self, path: str) -> None:
        repository, _, rest = path.partition("/resolve/")
        commit, _, name = rest.partition("/")
        content = self.shelf.hub[repository][name]
        if commit != COMMIT:
            self._refuse(404, "RevisionNotFound")
        elif len(content) >= LARGE:
            digest = hashlib.sha256(content).hexdigest()
            self._send(302, b"", {"location": f"{self.shelf.url}/cdn/{digest}", "x-linked-etag": f'"{digest}"'})
        else:
            self._content(path, content)

    def _s3(self, path: str, query: dict[str, list[str]]) -> None:
        bucket, _, key = path.partition("/")
        objects = self.shelf.buckets.get(bucket)
        if "AWS4-HMAC-SHA256" not in self.headers.get("authorization", ""):
            self._send(403, b"<Error><Code>AccessDenied</Code></Error>", {})
        elif objects is None or (key and key not in objects):
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
        elif key:
            self._content(path, objects[key])
        else:
            prefix = query.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{hashlib.md5(content).hexdigest()}&quot;</ETag><Size>{len(content)}</Size></Contents>"
                for name, content in objects.items()
                if name.startswith(prefix)
            )
            body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
            self._send(200, body.encode(), {"content-type": "application/xml"})

    def _content(self, path: str, content: bytes) -> None:
        """The bytes or the range asked for, broken off or refused where the shelf says so."""
        tag = hashlib.md5(content).hexdigest()
        if self.command == "HEAD":
            self._send(200, b"", {"content-length": str(len(content)), "etag": f'"{tag}"', **_DATED})
            return
        span = self.headers.get("range", "")
        self.shelf.asked.append((path, span))
        if path in self.shelf.closed and path not in self.shelf.cuts:
            self._send(self.shelf.closed[path], b"", {})
            return
        if self.headers.get("if-match", f'"{tag}"') != f'"{tag}"':
            self._send(412, b"", {})
            return
        content = self.shelf.lies.get(path, content)
        start = int(span.removeprefix("bytes=").partition("-")[0]) if span else 0
        headers = {"etag": f'"{tag}"', "accept-ranges": "bytes", **_DATED}
        if span:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.shelf.cuts.pop(path, None)
        self._send(206 if span else 200, content[start:], headers, cut=cut)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"x-error-code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str], *, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


_DATED = {"last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"}


@contextmanager
def weight_server() -> Iterator[Shelf]:
    """A running server's shelf; put on it what is to be served."""
    shelf = Shelf()
    handler = type("Handler", (_Handler,), {"shelf": shelf})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    shelf.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield shelf
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def hub(repositories: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A running server that the hub's client takes for the hub."""
    from huggingface_hub import constants

    with weight_server() as shelf:
        shelf.hub.update(repositories)
        monkeypatch.setattr(constants, "ENDPOINT", shelf.url)
        template = shelf.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield shelf
