"""The README's Python and its `buf curl` call, run as they are printed against real services."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from stack import ROOT, Stack

README = (ROOT / "README.md").read_text()
BUF = ROOT / ".build/buf"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_runs_as_printed(stack: Stack, tmp_path: Path) -> None:
    (block,) = blocks("python")
    assert len([line for line in block.splitlines() if line.strip()]) <= 12
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        env=stack.environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    (name,) = re.findall(r'save\("([^"]+)"\)', block)
    with Image.open(tmp_path / name) as picture:
        assert picture.mode == "RGBA"
        assert max(picture.size) >= 256
    assert "generator" in done.stdout
    assert "editor" in done.stdout


def test_buf_curl_runs_as_printed(stack: Stack) -> None:
    if not BUF.exists():
        pytest.fail("buf is not installed; run: make test")
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    (command,) = [line for line in lines if line.startswith("buf curl ")]
    arguments = shlex.split(command.replace("localhost:50050", stack.orchestrator.address), comments=True)[1:]
    done = subprocess.run([str(BUF), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)["plan"]
    assert plan["route"] == "ROUTE_EDIT"
    assert plan["steps"]


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "serve", "test"} <= named <= targets


def test_links_and_pictures_of_the_readme_exist() -> None:
    local = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []
