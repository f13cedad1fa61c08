"""EVALUATION.md, written from the figures of evaluate.py, and the list of prompts beside the grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from training.generator.prepare import HERE


def percent(value: float) -> str:
    """A part as per cent."""
    return f"{100 * value:.1f} %"


def scored(scores: dict[str, Any], name: str) -> str:
    """A score as per cent with its standard error over concepts."""
    return f"{percent(scores[name])} ± {100 * scores[name + '_error']:.1f}"


def share(part: dict[str, Any] | None) -> str:
    """So many of so many, and per cent."""
    return f"{part['right']} of {part['of']} ({100 * part['part']:.0f} %)" if part else "-"


def run_name(run: dict[str, Any]) -> str:
    """A run in a few words."""
    how = f"guidance {run['guidance']:g}" if run["guidance"] > 1 else "no guidance"
    return f"{run['steps']} steps, {how}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figures(report: dict[str, Any]) -> str:
    """The table of everything measured: a row a measure, a column a run, real art last."""
    runs, real, together = report["runs"], report["ceiling"], report["ceiling_together"]

    def row(what: str, pick: Any, ceiling: str = "") -> list[str]:
        return [what, *(pick(run) for run in runs), ceiling]

    rows = [
        row("top-1", lambda r: scored(r["concepts"], "top1"), scored(real, "top1")),
        row("top-5", lambda r: scored(r["concepts"], "top5"), scored(real, "top5")),
        row("top-1 as part of real art's", lambda r: percent(r["ratio"]["top1"])),
        row("top-5 as part of real art's", lambda r: percent(r["ratio"]["top5"])),
        row(
            "Fréchet distance to real art",
            lambda r: str(r["frechet"]),
            f"{report['frechet_of_real_halves']} (its halves)",
        ),
        row("ground white when none is asked for", lambda r: share(r["white_ground"])),
        row("unevenness of that ground, 0 to 255", lambda r: str(r["unevenness"])),
        row("colour, pairs that training shows", lambda r: share(r["colours_shown"])),
        row("colour, pairs held out of training", lambda r: share(r["colours_held_out"])),
        row("background colour", lambda r: share(r["backgrounds"]["ground"])),
        row("thing on it in the top 5", lambda r: share(r["backgrounds"]["thing in top 5"])),
        row("two things, both in the top 5, as placed", *_pair("both as placed", together)),
        row("two things, both, either way round", *_pair("both either way", together)),
        row("two things, one at least", *_pair("one at least", together)),
        row("two things, colours", lambda r: share(r["pairs"]["colours"])),
        row("count of two to four", lambda r: share(r["counts"]), share(together["counts"])),
        row("scene's ground", lambda r: share(r["scenes"]["ground"])),
        row("thing in the scene in the top 5", lambda r: share(r["scenes"]["thing in top 5"])),
        row("seconds a picture, batches of 8", lambda r: str(r["seconds_per_picture"])),
    ]
    return table(["measure", *map(run_name, runs), "real art"], rows)


def _pair(key: str, together: dict[str, Any]) -> tuple[Any, str]:
    return (lambda run: share(run["pairs"][key])), share(together["pairs"][key])


def vendors(report: dict[str, Any]) -> str:
    """The judge on real art, vendor by vendor."""
    rows = [
        [package.removeprefix("@iconify-json/"), percent(own["top1"]), percent(own["top5"]), str(own["pictures"])]
        for package, own in report["ceiling"]["by_vendor"].items()
    ]
    return table(["vendor", "top-1", "top-5", "drawings"], rows)


def write_report(report: dict[str, Any], path: Path) -> None:
    """Writes the report in Markdown: the template filled in, details for the first run."""
    judge, first, model = report["judge"], report["runs"][0], report["model"]
    near = first["resemblance"]
    text = Template((HERE / "evaluation_template.md").read_text()).substitute(
        name=model["name"],
        version=model["version"],
        digest=model["denoiser_sha256"][:16],
        concepts=first["concepts"]["concepts"],
        seeds=report["seeds"],
        classes=judge["classes"],
        drawings=judge["drawings"],
        collections=len(judge["packages"]),
        figures=figures(report),
        vendors=vendors(report),
        best=", ".join(row["noun"] for row in first["by_concept"][:10]),
        worst=", ".join(row["noun"] for row in first["by_concept"][:-11:-1]),
        counts=listed(first["counts"]["by number"]),
        scenes=listed(first["scenes"]["by scene"]),
        wrong="; ".join(first["colours_held_out"]["wrong"]) or "none",
        near_median=near["median"],
        near_least=near["least"],
        vendors_median=near["vendors_median"],
        vendors_least=near["vendors_least"],
        not_judged=", ".join(judge["not_judged"]) or "none",
    )
    path.write_text(text)


def listed(parts: dict[str, dict[str, Any]]) -> str:
    """Several parts in one line."""
    return ", ".join(f"{what}: {share(part)}" for what, part in parts.items())


def write_prompts(prompts: Sequence[str], columns: int, steps: int, guidance: float, path: Path) -> None:
    """Writes the prompts of the grid, row by row, beside it."""
    rows = [
        [str(start // columns + 1), " · ".join(prompts[start : start + columns])]
        for start in range(0, len(prompts), columns)
    ]
    how = f"guidance {guidance:g}" if guidance > 1 else "no guidance"
    path.write_text(
        "# What the grid shows\n\n![grid](generator.png)\n\n"
        "One picture for each line of `training/generator/prompts.txt`, in reading order; seed = line number counted\n"
        f"from 0, {steps} steps, {how}. First answers, nothing chosen by eye.\n\n"
        + table(["row", "prompts, left to right"], rows)
        + "\n"
    )
