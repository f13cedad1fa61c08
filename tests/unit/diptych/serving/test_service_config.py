from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from diptych.serving.config import ServiceConfig, is_loopback, load_config


class PanelConfig(ServiceConfig):
    service: ClassVar[str] = "panel"
    port: int = Field(50077, ge=0, le=65535, description="Port to listen on.")
    max_rows: int = Field(8, ge=1, description="Rows at once.")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIPTYCH_PORT", "DIPTYCH_PANEL_PORT", "DIPTYCH_CACHE", "DIPTYCH_ENGINE", "DIPTYCH_HOST"):
        monkeypatch.delenv(name, raising=False)


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as leaving:
        load_config(PanelConfig, argv)
    assert leaving.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_flags_beat_own_variables_beat_shared_ones_beat_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_config(PanelConfig, []).port == 50077
    monkeypatch.setenv("DIPTYCH_PORT", "1001")
    assert load_config(PanelConfig, []).port == 1001
    monkeypatch.setenv("DIPTYCH_PANEL_PORT", "1002")
    assert load_config(PanelConfig, []).port == 1002
    assert load_config(PanelConfig, ["--port", "1003"]).port == 1003
    assert PanelConfig(port=1004).port == 1004


def test_fields_of_the_service_are_flags_too() -> None:
    assert load_config(PanelConfig, ["--max-rows", "3", "--allow-insecure"]).max_rows == 3


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--port", "99999"], "--port 99999"),
        (["--port", "x"], "--port x"),
        (["--max-rows", "0"], "--max-rows 0"),
        (["--engine", "magic"], "--engine magic"),
        (["--tls-cert", "/nowhere.pem"], "--tls-cert /nowhere.pem"),
        (["--prot", "1"], "--prot"),
        (["--port"], "--port"),
        (["stray"], "stray"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_flag(
    capsys: pytest.CaptureFixture[str], argv: list[str], named: str
) -> None:
    assert named in complaint(capsys, *argv)


def test_a_bad_variable_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_PANEL_PORT", "many")
    assert "DIPTYCH_PANEL_PORT" in complaint(capsys)


def test_help_lists_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        load_config(PanelConfig, ["--help"])
    assert leaving.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in shown for name in PanelConfig.model_fields)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.org", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_beyond_this_machine_needs_tls_and_credentials(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("cert", "key", "tokens"):
        (tmp_path / name).touch()
    tls = ["--tls-cert", str(tmp_path / "cert"), "--tls-key", str(tmp_path / "key")]
    away = ["--host", "0.0.0.0"]
    tokens = ["--tokens-file", str(tmp_path / "tokens")]
    assert "--tls-cert" in complaint(capsys, *away)
    assert "--tls-cert" in complaint(capsys, *away, *tokens)
    assert "--tokens-file" in complaint(capsys, *away, *tls)
    assert "--allow-insecure" in complaint(capsys, *away, *tls)
    assert load_config(PanelConfig, [*away, *tls, *tokens]).tls
    assert load_config(PanelConfig, [*away, *tls, "--tls-client-ca", str(tmp_path / "cert")]).tls
    assert not load_config(PanelConfig, [*away, "--allow-insecure"]).tls


def test_tls_files_come_in_pairs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "cert").touch()
    assert "--tls-key" in complaint(capsys, "--tls-cert", str(tmp_path / "cert"))
    assert "--tls-cert" in complaint(capsys, "--tls-client-ca", str(tmp_path / "cert"))
