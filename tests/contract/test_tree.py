"""The tree's own rules: sizes, names, and silence about the machine it was made on."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRACKED = [
    ROOT / line
    for line in subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
]
MODULES = [
    p for p in TRACKED if p.suffix == ".py" and "tests" not in p.relative_to(ROOT).parts and "_pb2" not in p.name
]
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "core", "misc"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_one_room(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 400, "two ideas live here: split it"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


def test_no_room_is_a_drawer() -> None:
    parts = {part.removesuffix(".py") for path in TRACKED for part in path.relative_to(ROOT).parts}
    assert not parts & FORBIDDEN_NAMES


def test_one_broad_except() -> None:
    broad = {
        name(path)
        for path in MODULES
        if path.is_relative_to(ROOT / "diptych") or path.is_relative_to(ROOT / "services")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node)
    }
    assert broad <= {"diptych/serving/interceptors.py"}


def _is_broad(handler: ast.ExceptHandler) -> bool:
    named = handler.type
    return named is None or (isinstance(named, ast.Name) and named.id in {"Exception", "BaseException"})


def test_no_file_names_a_registry_host_or_a_machine_path() -> None:
    """Weights count too: exporters like to note where they ran."""
    words = ["/" + "work/", "/" + "root/", "registry" + r"\.npmjs", "pypi" + r"\.org", "index" + "-url"]
    secret = re.compile("|".join(words).encode())
    found = [name(path) for path in TRACKED if path.is_file() and secret.search(path.read_bytes())]
    assert not found


def test_the_wheel_holds_the_library_alone() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["diptych*"]
