"""Progress, tables and JSON as the command writes them."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from diptych.cli import terminal
from diptych.errors import ServiceUnavailable
from diptych.events import PlanMade, StepFinished, StepProgress, StepStarted
from diptych.plans import Plan
from diptych.types import EditResult, Marking, ModelUse, Picture, Record
from diptych.v1 import orchestrator_pb2

RECORD = Record(
    "2",
    "editor",
    "upscale",
    (ModelUse("span-x4", "1", "sha256:00", "EDITING", "onnxruntime", "fp32"),),
    0.0,
    1.2,
    1.25,
    8,
    6,
    "NO_EFFECT",
    {"scale": "4"},
)


def test_lines_tell_the_start_each_quarter_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.watching(quiet=False) as hear:
        assert hear is not None
        hear(PlanMade(Plan.from_message(orchestrator_pb2.Plan(route=orchestrator_pb2.ROUTE_EDIT, confidence=0.5))))
        hear(StepStarted("1", "editor", "upscale"))
        for percent in range(101):
            hear(StepProgress("1", percent / 100, f"tile {percent}"))
        hear(StepFinished("1", (RECORD,)))
        hear(StepStarted("2", "editor", "rotate"))
        hear(StepFinished("2", (), ServiceUnavailable("editor", "it went away")))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "plan: EDIT (nothing yet), confidence 0.50",
        "step 1 editor upscale: started",
        "step 1 editor upscale: 25% tile 25",
        "step 1 editor upscale: 50% tile 50",
        "step 1 editor upscale: 75% tile 75",
        "step 1 editor upscale: done in 1.25 s",
        "step 2 editor rotate: started",
        "step 2 editor rotate: failed: it went away",
    ]


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(force_terminal=True, width=100, record=True, legacy_windows=False, markup=False)
    monkeypatch.setattr(terminal, "console", lambda *, stderr=False: screen)
    with terminal.watching(quiet=False) as hear:
        assert hear is not None
        hear(PlanMade(Plan.from_message(orchestrator_pb2.Plan(route=orchestrator_pb2.ROUTE_EDIT))))
        hear(StepStarted("1", "editor", "upscale"))
        hear(StepProgress("1", 0.5, "tile 2 of 4"))
        hear(StepProgress("9", 0.5, "a step that nobody announced"))
        hear(StepFinished("1", (RECORD,)))
    shown = screen.export_text()
    assert "1  editor upscale" in shown
    assert "━" in shown
    assert "done" in shown


def test_quiet_is_quiet() -> None:
    with terminal.watching(quiet=True) as hear:
        assert hear is None


def test_the_table_names_the_kind_and_what_did_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_records(terminal.console(), [RECORD], Marking("GENERATED", ("1", "2")))
    header, row, marking = capsys.readouterr().out.splitlines()
    assert header.split() == ["step", "service", "operation", "model", "(kind)", "time"]
    assert row.split() == ["2", "editor", "upscale", "(no", "effect)", "span-x4", "(EDITING)", "1.25", "s"]
    assert marking == "marking: GENERATED (because of step 1, 2)"


def test_long_lines_are_not_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("/".join(["a-long-directory-name"] * 20)) / "out.png"
    result = EditResult((Picture(b"", "PNG", 8, 6, 7),), (), Marking("STANDARD_EDIT", ()))
    terminal.show_written(terminal.console(), result, [path])
    assert capsys.readouterr().out.splitlines() == [f"wrote {path} (8 x 6 px, seed 7)"]


def test_markup_in_a_callers_words_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.watching(quiet=False) as hear:
        assert hear is not None
        hear(StepStarted("1", "editor", "[bold]x[/bold] [/]"))
    assert "[bold]x[/bold] [/]" in capsys.readouterr().err


def test_json_holds_everything_but_bytes_and_messages(capsys: pytest.CaptureFixture[str]) -> None:
    result = EditResult((Picture(b"bytes", "PNG", 8, 6),), (RECORD,), Marking("STANDARD_EDIT", ()))
    plan = Plan.from_message(orchestrator_pb2.Plan(digest="sha256:1"))
    fields = terminal.result_json(result, [Path("a.png")], records=result.records, plan=plan)
    terminal.print_json(fields)
    read = json.loads(capsys.readouterr().out)
    assert read["images"] == [{"path": "a.png", "format": "PNG", "width": 8, "height": 6, "seed": None}]
    assert read["records"][0]["models"][0]["kind"] == "EDITING"
    assert read["records"][0]["parameters"] == {"scale": "4"}
    assert read["plan"]["digest"] == "sha256:1"
    assert "message" not in read["plan"]
