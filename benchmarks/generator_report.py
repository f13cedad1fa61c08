"""What the generator's benchmark found, as tables, JSON, and a picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.table import Table

mpl.use("Agg")

Line = Mapping[str, str | float]


@dataclass(frozen=True)
class Verdict:
    """A target, what was found, and whether that reaches it."""

    what: str
    found: str
    wanted: str
    met: bool

    def __str__(self) -> str:
        return f"{self.what}: {self.found}, wanted {self.wanted}: {'met' if self.met else 'missed'}"


@dataclass(frozen=True)
class Outcome:
    """One part of the benchmark: a table, what was to be reached, and remarks."""

    title: str
    lines: Sequence[Line]
    verdicts: Sequence[Verdict] = ()
    remarks: Sequence[str] = field(default_factory=tuple)


def table(outcome: Outcome) -> Table:
    """The lines for a terminal."""
    result = Table(title=outcome.title)
    for name in outcome.lines[0]:
        result.add_column(name, justify="right" if _is_number(outcome, name) else "left")
    for line in outcome.lines:
        result.add_row(*(_text(value) for value in line.values()))
    return result


def write(folder: Path, machine: str, outcomes: Mapping[str, Outcome]) -> None:
    """generator.json, generator.md and generator.png in `folder`; parts not measured now stay as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "generator.json"
    parts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    parts |= {name: {"machine": machine, **asdict(outcome)} for name, outcome in outcomes.items()}
    path.write_text(json.dumps(dict(sorted(parts.items())), indent=1) + "\n")
    known = {name: _outcome(part) for name, part in sorted(parts.items())}
    (folder / "generator.md").write_text(_page(known, {name: part["machine"] for name, part in parts.items()}))
    _draw({name: one for name, one in known.items() if name.startswith("load")}, folder / "generator.png")


def _page(outcomes: Mapping[str, Outcome], machines: Mapping[str, str]) -> str:
    pieces = ["# What the generator costs", "Written by `python -m benchmarks.generator`.", "![](generator.png)"]
    for name, one in outcomes.items():
        names = list(one.lines[0])
        rows = [names, [("---:" if _is_number(one, column) else "---") for column in names]]
        rows += [[_text(value) for value in line.values()] for line in one.lines]
        grid = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        notes = "\n".join(f"- {note}" for note in (*map(str, one.verdicts), *one.remarks))
        pieces += [f"## {one.title[0].upper()}{one.title[1:]}", machines[name], grid, notes]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _draw(loads: Mapping[str, Outcome], path: Path) -> None:
    """Mean and p99 latency by way and load."""
    if not loads:
        return
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    for panel, name in zip(figure.subplots(1, 2, sharey=True), ("mean, s", "p99, s"), strict=True):
        for number, one in enumerate(loads.values()):
            values = [float(line[name]) for line in one.lines]
            places = [place + (number - (len(loads) - 1) / 2) * 0.36 for place in range(len(values))]
            bars = panel.barh(places, values, height=0.34, label=str(one.title).rpartition(" at ")[2])
            panel.bar_label(bars, fmt="%.1f", fontsize=7, padding=2)
            panel.set_yticks(range(len(values)), [str(line["way"]) for line in one.lines])
        panel.set_title(f"latency: {name}", fontsize=9)
        panel.margins(x=0.12)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.axes[1].legend(fontsize=7, frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)


def _outcome(part: Mapping[str, Any]) -> Outcome:
    return Outcome(part["title"], part["lines"], [Verdict(**one) for one in part["verdicts"]], part["remarks"])


def _is_number(outcome: Outcome, name: str) -> bool:
    return not any(isinstance(line[name], str) for line in outcome.lines)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
