"""What `benchmarks.gpu` found, as a chart and as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Report = Mapping[str, Any]


def draw(report: Report, ways: Sequence[str], path: Path) -> None:
    """A chart for each model: milliseconds a step by batch, one line a way, the same colour everywhere."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [line for line in report["results"] if "ms_per_step" in line]
    names = list(dict.fromkeys(line["model"] for line in measured))
    figure, axes = pyplot.subplots(1, max(1, len(names)), figsize=(3.2 + 4.2 * max(1, len(names)), 4.0), squeeze=False)
    shown: dict[str, Any] = {}
    for name, axis in zip(names, axes[0], strict=False):
        for number, way in enumerate(ways):
            own = [line for line in measured if (line["model"], line["way"]) == (name, way)]
            batches = [line["batch"] for line in own]
            if own:
                (shown[way],) = axis.plot(batches, [line["ms_per_step"] for line in own], "o-", color=f"C{number}")
        axis.set(title=name, xlabel="pictures in a call", xticks=sorted({line["batch"] for line in measured}))
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("milliseconds a step")
    figure.suptitle(_where(report), fontsize=9, color="#555555")
    figure.tight_layout()
    figure.legend(shown.values(), shown, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def write(report: Report, path: Path) -> None:
    """A page with the chart beside it and a table of each model."""
    lines = ["# Denoisers of full size on a GPU", "", "Written by `python -m benchmarks.gpu`; weights are random.", ""]
    lines += [f"![]({path.stem}.png)", ""]
    for name in dict.fromkeys(line["model"] for line in report["results"]):
        own = [line for line in report["results"] if line["model"] == name]
        lines += [f"## {name}", "", _where(report), ""]
        lines += [
            f"| way | pictures in a call | ms a step | pictures/s of {report['steps']} steps | GB of the GPU "
            "| first call, s | difference to eager |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        lines += [_row(line) for line in own if "ms_per_step" in line]
        lines += ["", *(f"- {_label(line)}: {line.get('skipped') or line.get('failed')}" for line in own if _not(line))]
        lines.append("")
    while not lines[-1]:
        lines.pop()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(line: Mapping[str, Any]) -> str:
    difference = f"{line['difference_to_eager']:.1e}" if line.get("difference_to_eager") else ""
    numbers = [
        f"{line['batch']}",
        f"{line['ms_per_step']:.1f}",
        f"{line['images_per_second']:.2f}",
        f"{line['memory_bytes'] / 1e9:.1f}",
        f"{line['first_call_seconds']:.1f}",
        difference,
    ]
    return f"| {line['way']} | {' | '.join(numbers)} |"


def _not(line: Mapping[str, Any]) -> bool:
    return "ms_per_step" not in line


def _label(line: Mapping[str, Any]) -> str:
    return ", ".join(str(line[key]) for key in ("way", "batch") if key in line) or "not measured"


def _where(report: Report) -> str:
    here = report["what"]
    toy = "toy sizes, says nothing of speed · " if report["toy"] else ""
    versions = " · ".join(f"{name} {here[key]}" for name, key in (("torch", "torch"), ("ONNX Runtime", "onnxruntime")))
    return f"{toy}{here.get('gpu', 'CPU')} · {here['machine']} · {versions}"
