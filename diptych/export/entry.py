"""Writes the manifest of an imported model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.engines.base import TensorSpec
from diptych.repository.manifest import FILE_NAME, SUFFIXES
from diptych.repository.verify import check_content, sha256_of


@dataclass(frozen=True)
class Entry:
    """What a manifest says beside its files. `differences`: of each exported part to torch, as a part of its range."""

    name: str
    description: str
    license: str
    origin: str
    defaults: Mapping[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    differences: Mapping[str, float] = field(default_factory=dict)
    preview: tuple[list[list[float]], list[float]] | None = None


def write_entry(folder: Path, entry: Entry) -> None:
    """Writes `folder`/manifest.toml with the hash of every file that lies there."""
    lines = [
        *(f"{key} = {_text(getattr(entry, key))}" for key in ("name",)),
        'version = "1"',
        'kind = "GENERATIVE"',
        'task = "text-to-image"',
        *(f"{key} = {_text(getattr(entry, key))}" for key in ("license", "origin", "description")),
        'precision = "fp32"',
        "",
        "[defaults]",
        *(f"{key} = {json.dumps(value)}" for key, value in entry.defaults.items()),
        "",
        "[tensors]",
        *_tensors("inputs", entry.inputs),
        *_tensors("outputs", entry.outputs),
    ]
    if entry.differences:
        lines += ["", "# Largest difference to torch, as a part of the largest number.", "[differences]"]
        lines += [f"{_text(part)} = {difference:.3g}" for part, difference in entry.differences.items()]
    if entry.preview:
        lines += [
            "",
            "[preview]",
            f"weights = {json.dumps(entry.preview[0])}",
            f"bias = {json.dumps(entry.preview[1])}",
        ]
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and path.name != FILE_NAME:
            name = path.relative_to(folder).as_posix()
            check_content(path, label=name)
            lines += ["", "[[files]]", f"path = {_text(name)}", f'sha256 = "{sha256_of(path)}"']
            lines.append('source = { type = "repository" }')
    (folder / FILE_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tensors(title: str, specs: tuple[TensorSpec, ...]) -> list[str]:
    return [
        f"{title} = [",
        *(
            f"  {{ name = {_text(spec.name)}, dtype = {_text(spec.dtype)}, shape = {json.dumps(list(spec.shape))} }},"
            for spec in specs
        ),
        "]",
    ]


def _text(value: str) -> str:
    # JSON's strings are TOML's basic strings, but for the one character that TOML wants escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
