"""The chart of `benchmarks.gpu`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw(report: Mapping[str, Any], ways: Sequence[str], batches: Sequence[int], path: Path) -> None:
    """A chart for each model: milliseconds a step by batch, one line a way."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [line for line in report["results"] if "ms_per_step" in line]
    names = list(dict.fromkeys(line["model"] for line in measured))
    figure, axes = pyplot.subplots(1, max(1, len(names)), figsize=(4.6 * max(1, len(names)), 3.6), squeeze=False)
    for name, axis in zip(names, axes[0], strict=False):
        for number, way in enumerate(ways):
            own = [line for line in measured if (line["model"], line["way"]) == (name, way)]
            steps = [line["ms_per_step"] for line in own]
            if own:
                axis.plot([line["batch"] for line in own], steps, "o-", color=f"C{number}", label=way)
        axis.set(title=name, xlabel="pictures in a call", xticks=batches)
        axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("milliseconds a step")
    axes[0][0].legend(frameon=False, loc="upper left")
    here = report["what"]
    toy = "toy sizes, says nothing of speed · " if report["toy"] else ""
    figure.suptitle(f"{toy}{here.get('gpu', 'CPU')} · {here['machine']}", fontsize=9, color="#555555")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
