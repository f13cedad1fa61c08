"""What the command shows: progress as bars on a terminal and as lines elsewhere, results as a table or JSON."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from diptych.cli.files import write_film
from diptych.events import Event, OnEvent, PlanMade, StepFinished, StepProgress, StepStarted
from diptych.plans import Plan
from diptych.types import FilmResult, Marking, Picture, Pictures, Record

# Elsewhere than on a terminal a line is as long as it needs to be.
_PLAIN_WIDTH = 240


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr that neither wraps nor colours what goes into a file or pipe."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PLAIN_WIDTH, highlight=False, markup=False)


@contextmanager
def watching(*, quiet: bool) -> Iterator[OnEvent | None]:
    """What to give as `on_event`: bars on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        yield None
        return
    out = console(stderr=True)
    if not out.is_terminal:
        yield _Lines(out).hear
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(complete_style="cyan", finished_style="green"),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out) as bars:
        yield _Bars(bars).hear


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def hear(self, event: Event) -> None:
        match event:
            case PlanMade():
                self._bars.console.print(plan_line(event.plan))
            case StepStarted():
                title = f"{event.step_id}  {event.service} {event.operation}"
                self._tasks[event.step_id] = self._bars.add_task(title, total=1.0, words="")
            case StepProgress() if event.step_id in self._tasks:
                self._bars.update(self._tasks[event.step_id], completed=event.fraction, words=event.message)
            case StepFinished() if event.step_id in self._tasks:
                task = self._tasks[event.step_id]
                if event.failure is None:
                    self._bars.update(task, completed=1.0, words=event.skipped or "done")
                else:
                    self._bars.update(task, words=f"failed: {event.failure.message}")
                self._bars.stop_task(task)


class _Lines:
    def __init__(self, out: Console) -> None:
        self._out = out
        self._titles: dict[str, str] = {}
        self._quarters: dict[str, int] = {}

    def hear(self, event: Event) -> None:
        match event:
            case PlanMade():
                self._out.print(plan_line(event.plan))
            case StepStarted():
                self._titles[event.step_id] = f"step {event.step_id} {event.service} {event.operation}"
                self._say(event.step_id, "started")
            case StepProgress():
                # A line for each quarter: enough to see it move, few enough for a log.
                quarter = int(event.fraction * 4)
                if quarter > self._quarters.get(event.step_id, 0) and event.fraction < 1:
                    self._quarters[event.step_id] = quarter
                    self._say(event.step_id, f"{event.fraction:.0%} {event.message}".rstrip())
            case StepFinished():
                seconds = sum(record.total_seconds for record in event.records)
                done = event.skipped or f"done in {seconds:.2f} s"
                self._say(event.step_id, f"failed: {event.failure.message}" if event.failure else done)

    def _say(self, step_id: str, words: str) -> None:
        self._out.print(f"{self._titles.get(step_id, f'step {step_id}')}: {words}", soft_wrap=True)


def plan_line(plan: Plan) -> str:
    """A plan in one line."""
    steps = " -> ".join(step.operation for step in plan.steps) or "nothing yet"
    return f"plan: {plan.route} ({steps}), confidence {plan.confidence:.2f}"


def show_table(out: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; without lines and trailing spaces where no terminal draws it."""
    table = Table(*columns) if out.is_terminal else Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as drawn:
        out.print(table)
    for line in drawn.get().splitlines():
        out.print(line.rstrip(), soft_wrap=True)


def show_records(out: Console, records: Iterable[Record], marking: Marking) -> None:
    """What was done by whom, and how the result must be labelled."""
    rows = []
    for record in records:
        models = ", ".join(f"{model.name} ({model.kind})" for model in record.models)
        effect = {"NO_EFFECT": " (no effect)", "DAMAGED": " (damaged: look at it)"}.get(record.effect, "")
        rows.append(
            (record.step_id, record.service, record.operation + effect, models, f"{record.total_seconds:.2f} s")
        )
    show_table(out, ("step", "service", "operation", "model (kind)", "time"), rows)
    if marking.label == "UNSPECIFIED":  # nothing was made: there is nothing to mark
        return
    because = f" (because of step {', '.join(marking.step_ids)})" if marking.step_ids else ""
    out.print(f"marking: {marking.label}{because}")


def show_written(out: Console, result: Pictures, paths: Iterable[Path]) -> None:
    """Where the pictures are."""
    for path, picture in zip(paths, result.images, strict=False):
        seed = "" if picture.seed is None else f", seed {picture.seed}"
        out.print(f"wrote {path} ({picture.width} x {picture.height} px{seed})", soft_wrap=True)


def show_film(result: FilmResult, output: Path, *, as_json: bool) -> None:
    """Writes a film and tells of it."""
    path, film = write_film(result.film, output), result.film
    if as_json:
        print_json({"path": str(path), "film": film, "record": result.record, "marking": result.marking})
        return
    out = console()
    show_records(out, (result.record,), result.marking)
    length = f"{film.num_frames} frames, {film.num_frames / film.frames_per_second:g} s"
    out.print(f"wrote {path} ({film.width} x {film.height} px, {length})", soft_wrap=True)


def print_json(value: object, *, stderr: bool = False) -> None:
    """Writes one JSON document."""
    print(json.dumps(plain(value), ensure_ascii=False, indent=2), file=sys.stderr if stderr else sys.stdout)


def result_json(result: Pictures, paths: Sequence[Path], **more: object) -> dict[str, object]:
    """A result with its pictures' paths in place of their bytes."""
    places = [str(path) for path in paths] + [None] * len(result.images)
    images = [
        {"path": place, "format": image.format, "width": image.width, "height": image.height, "seed": image.seed}
        for image, place in zip(result.images, places, strict=False)
    ]
    return {"images": images, **more}


def plain(value: object) -> Any:
    """Values as JSON has them: dataclasses as objects, picture bytes and messages left out."""
    if isinstance(value, Picture):
        return {"format": value.format, "width": value.width, "height": value.height}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (one for one in dataclasses.fields(value) if one.repr)
        return {one.name: plain(getattr(value, one.name)) for one in fields}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
