"""What builds of the default models bring on this CPU: size, speed and error, by engine and precision.

`python -m benchmarks.engines` builds each model anew in a folder of its own and writes docs/engines.md; `--model` does
some of them and keeps the other rows of docs/engines.json. Engines for GPUs are built, not run. Building takes
long, and times are right on an idle machine only: `--builds FOLDER` keeps the builds, and the same again with `--time`
times them.
"""

import argparse
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.measuring import machine
from diptych.engines import open_engine
from diptych.engines.machine import tensorrt_module
from diptych.engines.variants import built_of
from diptych.errors import DiptychError
from diptych.export import BuildOptions, build_model
from diptych.export.build_compare import times
from diptych.export.build_material import gather
from diptych.repository import ModelRepository
from diptych.repository.builds import Build

MODELS = ("diptych-icons", "diptych-icons-turbo", "span-x2", "span-x4", "isnet", "ffdnet", "nsfw-mobilenet", "facemesh")
PRECISIONS: tuple[Literal["fp32", "fp16", "int8"], ...] = ("fp32", "fp16", "int8")
DOCS = Path(__file__).resolve().parents[1] / "docs"
TARGET = "sm89"
BUILDS = (
    *(BuildOptions(precision=precision) for precision in PRECISIONS),
    BuildOptions(engine="mnn"),
    BuildOptions(precision="fp16", engine="tensorrt", targets=(TARGET,)),
)
_ENGINES = {"onnx": "ONNX Runtime", "mnn": "MNN", "tensorrt": f"TensorRT for RTX, {TARGET}"}
_MAIN = ("unet/model.onnx", "transformer/model.onnx", "model.onnx")
_BEGIN, _END = "<!-- table: python -m benchmarks.engines -->", "<!-- end of table -->"


def main() -> None:
    """Builds, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=MODELS, help="repeat; default: all")
    parser.add_argument("--builds", type=Path, help="where builds are kept; default: nowhere")
    parser.add_argument("--time", action="store_true", help="time what is in --builds anew")
    options = parser.parse_args()
    names = options.model or list(MODELS)
    file = DOCS / "engines.json"
    kept = json.loads(file.read_text()) if file.is_file() else []
    for name in names:
        with tempfile.TemporaryDirectory() as own:
            os.environ["DIPTYCH_BUILDS"] = str(options.builds or own)
            before = [row for row in kept if row["model"] == name]
            made = timed(name, before) if options.time else measure(name)
        rows = [row for row in kept if row["model"] != name] + made
        kept = sorted(
            rows,
            key=lambda row: (
                MODELS.index(row["model"]),
                list(_ENGINES).index(row["engine"]),
                PRECISIONS.index(row["precision"]),
            ),
        )
        file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        write_table(DOCS / "engines.md", kept)


def measure(name: str) -> list[dict[str, Any]]:
    """A row for each engine and precision; one that is refused says why."""
    repository = ModelRepository()
    rows = []
    for options in BUILDS:
        if options.engine == "tensorrt" and tensorrt_module("tensorrt_rtx") is None:
            continue
        row: dict[str, Any] = {
            "model": name, "engine": options.engine, "precision": options.precision, "when": machine()
        }  # fmt: skip
        try:
            ((_, build),) = build_model(repository, name, options)
            row |= figures(build, repository.open(name).weight_bytes)
        except DiptychError as error:
            row["refused"] = error.message
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def timed(name: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of builds that were run, with their times taken anew."""
    local = ModelRepository().open(name)
    material = gather(local, None, None)
    sample = material.samples[material.main][0]
    found = []
    for row in rows:
        options = next(one for one in BUILDS if (one.engine, one.precision) == (row["engine"], row["precision"]))
        if row.get("milliseconds"):
            ((folder, build),) = build_model(ModelRepository(), name, options)
            main = next(part for part in build.parts if part.source == material.main)
            path = local.path(material.main)
            engines = [open_engine(path), open_engine(path, built=built_of(main, folder, build.key.engine))]
            own, now = times(engines, sample)
            for engine in engines:
                engine.close()
            row = {**row, "own_milliseconds": own, "milliseconds": now, "when": machine()}
            print(json.dumps(row), flush=True)
        found.append(row)
    return found


def figures(build: Build, own_bytes: int) -> dict[str, Any]:
    """What the table tells of a build; times and method are those of the graph that takes the time."""
    main = next(part for part in build.parts if part.source in _MAIN)
    return {
        "megabytes": sum(part.bytes for part in build.parts) / 1e6,
        "own_megabytes": own_bytes / 1e6,
        "milliseconds": build.milliseconds,
        "own_milliseconds": build.source_milliseconds,
        "largest": max(part.max_error for part in build.parts),
        "mean": max(part.mean_error for part in build.parts),
        "psnr": build.psnr,
        "method": main.method,
        "checked": build.checked,
    }


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Puts the rows between the marks in the page."""
    lines = [
        "| model | engine | precision | MB built | ms a call (model's own) | largest error | mean error | PSNR | how |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_line(row) for row in rows),
        "",
        *sorted({re.sub(", load [0-9.]+", "", row["when"]) + "." for row in rows}),
    ]
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    path.write_text(before + _BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + _END + after, encoding="utf-8")


def _line(row: Mapping[str, Any]) -> str:
    head = [
        row["model"],
        _ENGINES[row["engine"]],
        row["precision"],
    ]
    if "refused" in row:
        return "| " + " | ".join([*head, "", "", "", "", "", "refused: " + row["refused"].split(";")[0]]) + " |"
    cells = [
        f"{row['megabytes']:.1f}",
        f"{row['milliseconds']:.1f} ({row['own_milliseconds']:.1f})" if row["milliseconds"] else "not run",
        f"{row['largest']:.1e}",
        f"{row['mean']:.1e}",
        "" if row["psnr"] is None else f"{row['psnr']:.1f} dB",
        (row["method"] or "nothing to fuse") if row["checked"] == "engine" else "errors are its graph's",
    ]
    return "| " + " | ".join([*head, *cells]) + " |"


if __name__ == "__main__":
    main()
