"""What each operation of the editor costs as pictures grow: milliseconds, and the most memory its process ever held.

    python -m benchmarks.editor [--megapixels 0.5 2 12 24] [--operations NAME ...] [--runs N] [--out docs/benchmarks]

A fresh editor process for every operation and size, so that no peak is another's. Goes through the registry. Writes
editor.json, editor.png and editor.md, keeping what an earlier run found for other operations and sizes; exits 1 when a
peak is over 2.5 GB or time grows faster than the pixels.
"""

import argparse
import asyncio
import datetime
import io
import json
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks.measuring import machine, peak_memory, running
from benchmarks.photograph import photograph
from diptych.client import AsyncClient
from diptych.errors import DiptychError
from services.editor.operations import EDITS

MEGAPIXELS = (0.5, 2.0, 12.0, 24.0)
MOST_BYTES = 2_500_000_000
# Time may grow by the pixels to this power, from 2 megapixels on: caches and threads are never quite even.
MOST_GROWTH = 1.15
_LINEAR_FROM = 2.0
_MINUTES = 30
# The most pixels a server makes by default.
_MOST_PIXELS = 50_000_000

# How each operation is asked for; `{photo}` is a file with another picture.
ASKED = {
    "remove_background": "remove_background",
    "replace_background": "replace_background:color=#2040c0,harmonize=0.5",
    "blur_background": "blur_background",
    "enhance": "enhance",
    "denoise": "denoise",
    "deblur": "deblur",
    "upscale": "upscale:scale={scale}",
    "color_correct": "color_correct:exposure=0.4,highlights=-0.3,shadows=0.3,temperature=0.1,vibrance=0.3",
    "retouch": "retouch",
    "remove_object": "remove_object:selection=box:{box}",
    "replace_object": "replace_object:replacement={photo},selection=box:{box}",
    "add_object": "add_object:object={photo},shadow=0.5",
    "style_transfer": "style_transfer:image={photo}",
    "match_style": "match_style:reference={photo}",
    "crop": "crop:aspect=1:1",
    "resize": "resize:scale=0.5",
    "extend": "extend:aspect=2:1,mode=blur",
    "rotate": "rotate:angle=7,straighten",
    "composite": "composite:overlay={photo},shadow=0.5,feather=8",
    "write_text": "write_text:text=Summer sale",
    "analyze": "analyze",
}


_PAGE = """# What the editor's operations cost

{machine}. Made by `python -m benchmarks.editor`: one request to a fresh editor process over gRPC, JPEG in, JPEG out, on
a portrait with fine detail, a soft lens and a camera's noise (`benchmarks/photograph.py`); its models are opened in
that time, and run as `make engines` leaves them. Beside it, the most memory that the process ever held, with the one
that runs MNN for it. `enhance` takes noise away only where it can be seen, so its time jumps where that begins;
`upscale` asks for twice the size, at most the 50 megapixels that a server makes. Cells left empty were not measured.

{table}
Measured {dates}.

{faults}
![time and memory over megapixels](editor.png)
"""


@dataclass(frozen=True)
class Cost:
    """One operation at one size. `milliseconds` is the fastest run's; `failed` says why there is no figure; `date` when
    it was measured."""

    operation: str
    megapixels: float
    milliseconds: float | None = None
    peak_bytes: int | None = None
    failed: str = ""
    date: str = ""


def asked(name: str, width: int, height: int, other: Path) -> str:
    """The operation as text, for a picture of this size."""
    scale = min(2.0, math.floor(100 * math.sqrt(_MOST_PIXELS / (width * height))) / 100)
    box = f"{width // 3}/{height // 3}/{width // 8}/{height // 8}"
    return ASKED[name].format(scale=scale, box=box, photo=other)


async def measure(name: str, megapixels: float, runs: int, other: Path) -> Cost:
    """The cost in a process of its own."""
    if name not in ASKED:
        return Cost(name, megapixels, failed="this benchmark does not know how to ask for it; add it to ASKED")
    pixels, file = photograph(megapixels), io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    edit = asked(name, pixels.shape[1], pixels.shape[0], other)
    async with running("editor") as (address, process), AsyncClient(editor_address=address) as client:
        taken = []
        try:
            for _ in range(runs):
                began = time.perf_counter()
                await client.edit(file.getvalue(), edit, format="jpeg", timeout=60 * _MINUTES)
                taken.append(1e3 * (time.perf_counter() - began))
        except DiptychError as error:
            return Cost(name, megapixels, failed=str(error))
        today = str(datetime.date.today())
        return Cost(name, megapixels, round(min(taken), 1), peak_memory(process), date=today)


def growth(costs: Sequence[Cost]) -> float | None:
    """The power of the pixels that time grows by, between the ends of the larger sizes."""
    known = [(cost.megapixels, cost.milliseconds) for cost in costs if cost.megapixels >= _LINEAR_FROM]
    ends = [(size, ms) for size, ms in (known[0], known[-1]) if ms is not None] if len(known) > 1 else []
    if len(ends) < 2:
        return None
    return math.log(ends[1][1] / ends[0][1]) / math.log(ends[1][0] / ends[0][0])


def judge(costs: Sequence[Cost]) -> list[str]:
    """Everything that is not as it must be."""
    faults = [f"{cost.operation} at {cost.megapixels:g} MP: {cost.failed}" for cost in costs if cost.failed]
    faults += [
        f"{cost.operation} at {cost.megapixels:g} MP held {cost.peak_bytes / 1e9:.2f} GB, more than 2.5"
        for cost in costs
        if cost.peak_bytes is not None and cost.peak_bytes > MOST_BYTES
    ]
    for name in dict.fromkeys(cost.operation for cost in costs):
        power = growth([cost for cost in costs if cost.operation == name])
        if power is not None and power > MOST_GROWTH:
            faults.append(f"{name} grows by the pixels to the power of {power:.2f}, more than {MOST_GROWTH}")
    return faults


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Time and memory over megapixels, one line an operation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(13, 6), layout="constrained")
    colors: Any = pyplot.get_cmap("tab20")
    for number, name in enumerate(dict.fromkeys(cost.operation for cost in costs)):
        mine = [cost for cost in costs if cost.operation == name and not cost.failed]
        sizes = [cost.megapixels for cost in mine]
        style = {"color": colors(number % colors.N), "marker": "o", "markersize": 3, "linewidth": 1.2, "label": name}
        style["linestyle"] = "-" if number < colors.N else "--"
        panels[0].loglog(sizes, [(cost.milliseconds or 0) / 1e3 for cost in mine], **style)
        panels[1].plot(sizes, [(cost.peak_bytes or 0) / 1e9 for cost in mine], **style)
    panels[0].set(title="time, seconds (both axes logarithmic)", xlabel="megapixels")
    panels[1].set(title="most memory of the process, GB", xlabel="megapixels", ylim=(0, None))
    panels[1].axhline(MOST_BYTES / 1e9, color="black", linewidth=0.8, linestyle="--")
    panels[1].legend(fontsize=7, ncols=2, loc="upper left", bbox_to_anchor=(1.01, 1))
    sizes = sorted({cost.megapixels for cost in costs})
    panels[0].set_xticks(sizes, [f"{size:g}" for size in sizes])
    panels[0].minorticks_off()
    panels[0].yaxis.set_major_formatter("{x:g}")
    for panel in panels:
        panel.grid(alpha=0.3, which="both", linewidth=0.5)
    figure.suptitle(machine(), fontsize=9)
    figure.savefig(path, dpi=110)


def table(costs: Sequence[Cost]) -> str:
    """Seconds and MB by operation and size, in Markdown."""
    sizes = sorted({cost.megapixels for cost in costs})
    heads = ["operation", *(f"{size:g} MP, s | MB" for size in sizes)]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: | ---: |" * len(sizes)]
    found = {(cost.operation, cost.megapixels): cost for cost in costs}
    for name in dict.fromkeys(cost.operation for cost in costs):
        cells = [f"`{name}`"]
        for size in sizes:
            cost = found.get((name, size), Cost(name, size))
            cells.append(f"{cost.milliseconds / 1e3:.2f}" if cost.milliseconds is not None else "")
            cells.append(f"{cost.peak_bytes / 1e6:.0f}" if cost.peak_bytes is not None else cost.failed)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def report(costs: Sequence[Cost], faults: Sequence[str], out: Path) -> None:
    """Writes editor.json, editor.png and editor.md."""
    found = {"machine": machine(), "costs": [asdict(cost) for cost in costs], "faults": list(faults)}
    (out / "editor.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(costs, out / "editor.png")
    told = (
        "".join(f"- {fault}\n" for fault in faults)
        or "Every peak is below 2.5 GB; no time grows faster than the pixels.\n"
    )
    (out / "editor.md").write_text(
        _PAGE.format(machine=machine(), table=table(costs), dates=_dates(costs), faults=told)
    )


def _dates(costs: Sequence[Cost]) -> str:
    """Which operations were measured when, the latest first."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for cost in costs:
        names[cost.date][f"`{cost.operation}`"] = None
    days = sorted((date for date in names if date), reverse=True)
    return "; ".join(f"on {day}: {', '.join(names[day])}" for day in days)


def earlier(file: Path, measured: Sequence[Cost]) -> list[Cost]:
    """What the file holds, but for what was measured anew; in the registry's order."""
    known = [Cost(**one) for one in json.loads(file.read_text())["costs"]] if file.exists() else []
    anew = {(cost.operation, cost.megapixels): cost for cost in (*known, *measured)}
    order = list(EDITS)
    return sorted(anew.values(), key=lambda cost: (order.index(cost.operation), cost.megapixels))


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=MEGAPIXELS)
    parser.add_argument("--operations", nargs="+", default=list(EDITS), choices=list(EDITS), metavar="NAME")
    parser.add_argument(
        "--runs",
        type=int,
        default=1,
        help="runs of each, the fastest counts; the first opens the models (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "benchmarks")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    measured = []
    with tempfile.TemporaryDirectory() as place:
        other = Path(place) / "other.jpg"
        Image.fromarray(load_sample_image("flower.jpg")).save(other, quality=92)
        for name in given.operations:
            for size in sorted(given.megapixels):
                measured.append(await measure(name, size, given.runs, other))
                print(asdict(measured[-1]), flush=True)
    costs = earlier(given.out / "editor.json", measured)
    faults = judge(costs)
    report(costs, faults, given.out)
    print(table(costs), *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
