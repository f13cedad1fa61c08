"""Pulls through the real clients: pip from its registry, npm from a registry on this machine."""

import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diptych.engines import open_engine
from diptych.errors import DataCorrupted, FailedPrecondition
from diptych.repository import ModelRepository
from diptych.repository.sources import npm_command

pytestmark = pytest.mark.system

TEXT = b"words of a model card\n"


def test_a_small_model_is_pulled_converted_and_runs(tmp_path: Path) -> None:
    repository = ModelRepository(cache=tmp_path)
    repository.pull("span-x2")
    local = repository.open("span-x2")
    engine = open_engine(local.path("model.onnx"), threads=1)
    rows, columns = np.mgrid[0:24, 0:32].astype(np.float32)
    disc = ((rows - 12) ** 2 + (columns - 16) ** 2 < 64).astype(np.float32)
    image = np.stack([disc * red for red in (0.9, 0.5, 0.1)])[None]
    upscaled = engine.run({"image": image})["upscaled"]
    assert upscaled.shape == (1, 3, 48, 64)
    shrunk = upscaled.reshape(1, 3, 24, 2, 32, 2).mean(axis=(3, 5))
    assert np.abs(shrunk - image).mean() < 0.02
    assert repository.pull("span-x2") == local.directory


@pytest.fixture
def npm_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves `@made/cards` 1.0.0 to npm; gives the list of paths that were asked for."""
    try:
        npm_command()
    except FailedPrecondition as error:
        pytest.skip(error.message)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tarball:
        package = json.dumps({"name": "@made/cards", "version": "1.0.0", "scripts": {"prepare": "exit 1"}}).encode()
        for path, content in {"package/package.json": package, "package/cards/one.md": TEXT}.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tarball.addfile(info, io.BytesIO(content))
    archive = buffer.getvalue()
    asked: list[str] = []

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            host = f"http://127.0.0.1:{self.server.server_address[1]}"
            dist = {"tarball": f"{host}/cards-1.0.0.tgz", "shasum": hashlib.sha1(archive).hexdigest()}
            version = {"name": "@made/cards", "version": "1.0.0", "dist": dist}
            document = {"name": "@made/cards", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
            known = {"/cards-1.0.0.tgz": archive, "/@made%2fcards": json.dumps(document).encode()}
            content = known.get(self.path, b"{}")
            self.send_response(200 if self.path in known else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Keeps the test's output clean."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_address[1]}/")
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm-cache"))
        monkeypatch.setenv("npm_config_fetch_retries", "0")
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield asked
        server.shutdown()
        thread.join()


def write_manifest(folder: Path, package: str, member: str) -> ModelRepository:
    """A repository with the model `cards`, one file from an npm package."""
    (folder / "models" / "cards").mkdir(parents=True)
    (folder / "models" / "cards" / "manifest.toml").write_text(
        f"""
name = "cards"
version = "1"
kind = "ANALYSIS"
task = "none"
license = "MIT"
origin = "made by a test"
description = "One text"

[[files]]
path = "one.md"
sha256 = "{hashlib.sha256(TEXT).hexdigest()}"
source = {{ type = "npm", package = "{package}", version = "1.0.0", members = [{{ path = "{member}" }}] }}
"""
    )
    return ModelRepository([folder / "models"], cache=folder / "cache")


def test_a_member_of_an_npm_package_is_pulled(tmp_path: Path, npm_registry: list[str]) -> None:
    repository = write_manifest(tmp_path, "@made/cards", "package/cards/one.md")
    said: list[str] = []
    assert (repository.pull("cards", progress=said.append) / "one.md").read_bytes() == TEXT
    assert said[0] == "Downloading @made/cards 1.0.0 with npm"
    assert npm_registry[-1] == "/cards-1.0.0.tgz"
    left = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sorted(left) == [".lock", "one.md"]


def test_a_member_that_the_tarball_lacks_is_named(tmp_path: Path, npm_registry: list[str]) -> None:
    repository = write_manifest(tmp_path, "@made/cards", "package/cards/two.md")
    with pytest.raises(DataCorrupted, match=r"@made/cards 1.0.0 has no member package/cards/two.md"):
        repository.pull("cards")


def test_npm_s_own_words_explain_an_unknown_package(tmp_path: Path, npm_registry: list[str]) -> None:
    repository = write_manifest(tmp_path, "no-such-package", "package/one.md")
    with pytest.raises(FailedPrecondition, match=r"npm could not download no-such-package 1.0.0; it said: .*404"):
        repository.pull("cards")
