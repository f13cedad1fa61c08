"""Usage and bad input: exit code 2 and one line, before anything is called."""

import json
from pathlib import Path

import pytest
from PIL import Image

from diptych.cli.failures import run_command

NO_LINE = "shows the help"
CASES = {
    "no command": ([], NO_LINE),
    "unknown command": (["paint"], "paint"),
    "unknown option": (["create", "x", "--colour", "red"], "--colour"),
    "missing goal": (["create"], "goal"),
    "missing output of edit": (["edit", "in.png", "upscale"], "--output"),
    "no operations": (["edit", "in.png", "-o", "out.png"], "OPERATION"),
    "unknown operation": (["edit", "in.png", "upscal", "-o", "out.png"], "did you mean upscale"),
    "unknown key": (["edit", "in.png", "upscale:factor=4", "-o", "out.png"], "upscale.factor"),
    "missing file": (["edit", "gone.png", "upscale", "-o", "out.png"], "there is no file gone.png"),
    "directory for a file": (["analyze", "."], "is a directory"),
    "unknown suffix": (["create", "x", "-o", "out.tiff"], "must end in"),
    "no suffix": (["create", "x", "-o", "out"], "must end in"),
    "no such directory": (["create", "x", "-o", "nowhere/out.png"], "there is no directory nowhere"),
    "directory as output": (["create", "x", "-o", "folder.png"], "is a directory"),
    "bad size": (["generate", "x", "--size", "big"], "WIDTHxHEIGHT"),
    "bad number": (["generate", "x", "--seed", "many"], "--seed"),
    "seed that no message holds": (["generate", "x", "--seed", str(2**64)], "seed"),
    "no pictures": (["generate", "x", "--count", "0"], "--count"),
    "NaN in an operation": (["edit", "in.png", "rotate:angle=nan", "-o", "out.png"], "finite"),
    "bad address": (["create", "x", "--address", "nowhere"], "HOST:PORT"),
    "zero timeout": (["create", "x", "--timeout", "0"], "--timeout"),
    "goal and lines": (["plan", "x", "--jsonl"], "stdin"),
    "plan of nothing": (["plan"], "goal"),
    "missing picture of a goal": (["create", "x", "--image", "gone.png"], "gone.png"),
    "two pictures to stdout": (["generate", "x", "--count", "2", "-o", "-"], "one picture"),
    "unknown service": (["serve", "painter"], "painter"),
    "one port for three": (["serve", "all", "--", "--port", "6000"], "share one port"),
    "unknown model to pull": (["models", "verify", "nope"], "'nope' is not in the repository"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIPTYCH_ADDRESS", raising=False)
    Image.new("RGB", (4, 3)).save(tmp_path / "in.png")
    (tmp_path / "folder.png").mkdir()


@pytest.mark.parametrize("case", CASES)
def test_bad_usage_ends_with_2_and_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, expected = CASES[case]
    assert run_command(arguments) == 2
    err = capsys.readouterr().err
    if expected is NO_LINE:
        assert err == ""
        return
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert expected in line


def test_json_errors_are_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["create", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == "USAGE"
    assert run_command(["edit", "in.png", "upscale:scale=x,width=y", "rotat", "-o", "o.png", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "INVALID_ARGUMENT"
    assert [one["field"] for one in error["violations"]] == ["upscale.scale", "upscale.width", "operations"]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("serve", "create", "plan", "generate", "edit", "analyze", "models"):
        assert f" {command} " in shown
    assert run_command(["models", "--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("list", "pull", "verify"):
        assert f" {command} " in shown
