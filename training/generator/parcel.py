"""The drawings as one small file, for a machine that has no network to fetch the art by.

    python -m training.generator.parcel --work .build/generator pack art.zip     # after prepare
    python -m training.generator.parcel --work .build/generator unpack art.zip   # there: what prepare writes

Holds the drawings without loss; their recoloured variants are made anew.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from training.generator.prepare import Concept, Pixels, read_config, spread, write_art

INDEX = "index.json"


def squeeze(pixels: Pixels) -> bytes:
    """A drawing as lossless WebP; what is wholly transparent has no colour to keep."""
    file = io.BytesIO()
    Image.fromarray(np.where(pixels[..., 3:] > 0, pixels, 0).astype(np.uint8)).save(
        file, "WEBP", lossless=True, quality=50, method=3, exact=True
    )
    return file.getvalue()


def widen(data: bytes) -> Pixels:
    """The pixels that `squeeze` took."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGBA"))


def pack(work: Path, file: Path, processes: int) -> None:
    """Writes the parcel."""
    index = json.loads((work / "index.json").read_text())
    heads = [(one["concept"], one["pack"], one["icon"]) for one in index["drawings"]]
    with zipfile.ZipFile(file, "w") as parcel:
        parcel.writestr(INDEX, json.dumps({"concepts": index["concepts"], "drawings": heads}), zipfile.ZIP_DEFLATED)
        for number, data in enumerate(spread(squeeze, np.load(work / "drawings.npy", mmap_mode="r"), processes)):
            parcel.writestr(f"{number}.webp", data)
    print(f"{len(heads)} drawings, {file.stat().st_size / 2**20:.1f} MiB")


def unpack(work: Path, file: Path, processes: int) -> None:
    """Writes drawings.npy, variants.npy and index.json as prepare does."""
    work.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file) as parcel:
        index = json.loads(parcel.read(INDEX))
        concepts = [Concept(**one) for one in index["concepts"]]
        squeezed = [parcel.read(f"{number}.webp") for number in range(len(index["drawings"]))]
    large = spread(widen, squeezed, processes)
    found = ((*head, pixels) for head, pixels in zip(index["drawings"], large, strict=True))
    write_art(work, found, concepts, read_config()["data"]["canvas"], processes)


def main() -> None:
    """Packs or unpacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    (pack if options.what == "pack" else unpack)(options.work, options.file, options.processes)


if __name__ == "__main__":
    main()
