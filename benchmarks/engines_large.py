"""A model of more than 2 GB imported, built and served: how long it takes, in what memory, and how near it stays.

    python -m benchmarks.engines_large --work DIR

Makes in DIR the denoiser of Stable Diffusion 1.5 (Rombach et al. 2022) with random weights, 3.4 GB, between a text
encoder and a decoder of a few channels, so that what is measured is the denoiser's. Each command runs in a process of
its own, as a user would run it; what is in DIR already is not made again. Writes its table into docs/engines.md.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generator_full import TEXT, UNET, VAE, write_pipeline
from benchmarks.measuring import machine, peak_memory, running
from diptych.client import AsyncClient
from diptych.v1 import generator_pb2 as v1

_NAME = "large"
_CLI = (sys.executable, "-c", "from diptych.cli import main; main()", "models")
_SIDE = 128
_UNET: Mapping[str, Any] = {**UNET, "sample_size": _SIDE // 8}
_VAE: Mapping[str, Any] = {
    **VAE,
    "sample_size": _SIDE,
    "block_out_channels": (8,) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
_TEXT: Mapping[str, Any] = {**TEXT, "intermediate_size": 768, "num_hidden_layers": 1, "vocab_size": 1000}
_PAGE = Path(__file__).resolve().parents[1] / "docs/engines.md"
_BEGIN, _END = "<!-- table: python -m benchmarks.engines_large -->", "<!-- end of the large model -->"


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds, the most memory of its own and with the files it maps, and bytes written."""

    seconds: float
    own: int
    held: int
    written: int


def main() -> None:
    """Measures, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder with 15 GB of room")
    work: Path = parser.parse_args().work.resolve()
    os.environ |= {
        "DIPTYCH_MODELS": str(work / "models"),
        "DIPTYCH_USER_MODELS": str(work / "models"),
        "DIPTYCH_CACHE": str(work / "cache"),
    }
    (work / "models").mkdir(parents=True, exist_ok=True)
    if not (work / "diffusers/model_index.json").is_file():
        write_pipeline(work / "diffusers", _UNET, _VAE, _TEXT)
    rows = []
    if not (work / "models" / _NAME).is_dir():
        cost, _ = _measured([*_CLI, "import", str(work / "diffusers"), "--name", _NAME])
        rows.append(["import", *_cells(cost), *[""] * 4])
    for precision in ("fp32", "fp16"):
        cost, said = _measured([*_CLI, "build", _NAME, "--batch", "1..2", "--precision", precision, "--json"])
        (build,) = json.loads(said)
        weights = sum(part["bytes"] for part in build["parts"]) / 1e9
        largest = max(part["max_error"] for part in build["parts"])
        called = f"{build['milliseconds']:.0f} ({build['source_milliseconds']:.0f})"
        cells = [f"{weights:.2f}", called, f"{largest:.1e}", f"{build['psnr']:.1f} dB"]
        rows.append([f"build {precision}", *_cells(cost), *cells])
    rows.append(asyncio.run(_served()))
    _write(rows)


def _measured(command: Sequence[str]) -> tuple[Cost, str]:
    """What the command took, and what it said."""
    began, own, held, written = time.monotonic(), 0, 0, 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                counts = Path(f"/proc/{process.pid}/io").read_text()
                own = max(own, _number(status, "RssAnon:") * 1024)
                held = max(held, _number(status, "VmRSS:") * 1024)
                written = max(written, _number(counts, "\nwrite_bytes:"))
            except (OSError, IndexError):
                break  # It has just ended.
            time.sleep(0.2)
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command[3:])} failed; its own words are above")
    cost = Cost(time.monotonic() - began, own, held, written)
    print(command[4:], cost, flush=True)
    return cost, said


def _number(text: str, name: str) -> int:
    return int(text.partition(name)[2].split()[0])


def _cells(cost: Cost) -> list[str]:
    return [f"{cost.seconds:.0f} s", *(f"{count / 1e9:.1f}" for count in (cost.own, cost.held, cost.written))]


async def _served() -> list[str]:
    """One picture of two steps, by the service: the row of it."""
    began = time.monotonic()
    async with running("generator", "--model", _NAME) as (address, process):
        started = time.monotonic() - began
        async with AsyncClient(generator_address=address) as client:
            began = time.monotonic()
            spec = v1.GenerationSpec(prompt="a red apple", seed=1, num_inference_steps=2)
            answer = await client.generate_image(v1.GenerateImageRequest(spec=spec), timeout=600)
            drawn = time.monotonic() - began
        model = answer.record.models[0]
        peak = peak_memory(process)
    print(f"served by {model.engine} {model.precision}: started in {started:.0f} s, drawn in {drawn:.0f} s", flush=True)
    what = f"serve {model.precision}: ready, and a picture of 2 steps"
    return [what, f"{started:.0f} s, {drawn:.0f} s", "", f"{peak / 1e9:.1f}", *[""] * 5]


def _write(rows: Sequence[Sequence[str]]) -> None:
    lines = [
        "| command | time | GB of memory | with mapped files | written | built | ms (own) | largest error | PSNR |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        machine() + ".",
    ]
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _PAGE.write_text(before + _BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + _END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
