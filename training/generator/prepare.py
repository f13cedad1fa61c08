"""Fetches the vector art, renders it and writes the drawings and their words to one folder.

    python -m training.generator.prepare --work .build/generator

Writes drawings.npy (N, 256, 256, 4) uint8, variants.npy (M, 64, 64, 4) uint8 and index.json. Needs npm on PATH.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tarfile
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from training.generator.colours import PAINTS, main_colour, repaint

HERE = Path(__file__).parent
Pixels = NDArray[np.uint8]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Concept:
    """A thing that the model learns: its noun, its icon names, other words for it, how often it is shown."""

    noun: str
    icons: tuple[str, ...]
    others: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class Drawing:
    """One rendered drawing: whose it is and what it shows."""

    concept: int
    pack: int
    icon: str
    colour: str


@dataclass(frozen=True)
class Variant:
    """A drawing in one colour; `colour` is the word, empty where the drawing has no main colour."""

    drawing: int
    colour: str
    native: bool


def read_config(path: Path = HERE / "config.toml") -> dict[str, Any]:
    """The recipe as a table."""
    return tomllib.loads(path.read_text())


def read_concepts(path: Path = HERE / "concepts.txt") -> list[Concept]:
    """The concepts in file order. Line format: the head of concepts.txt."""
    concepts = []
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        head, _, tail = line.partition("=")
        icons, _, others = tail.partition("|")
        noun, _, weight = head.strip().partition("*")
        words = tuple(word.strip() for word in others.split(",") if word.strip())
        concepts.append(Concept(noun, tuple(i.replace("-", "") for i in icons.split()), words, float(weight or 1)))
    return concepts


def fetch_pack(package: str, version: str, folder: Path) -> dict[str, Any]:
    """The icon collection of a packed npm package: name -> SVG body and sizes."""
    archive = folder / f"{package.strip('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=folder, check=True)
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/icons.json")
        assert member is not None
        collection: dict[str, Any] = json.load(member)
    return collection


def svg_of(collection: dict[str, Any], name: str) -> str:
    """A whole SVG document for one icon of a collection."""
    icon = collection["icons"][name]
    width = icon.get("width", collection.get("width", 16))
    height = icon.get("height", collection.get("height", 16))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}" '
        f'width="{width}" height="{height}">{icon["body"]}</svg>'
    )


def render(svg: str, size: int, inset: float) -> Pixels:
    """(size, size, 4) straight-alpha pixels: the drawing cropped to its own outline, centred, `inset` of the canvas."""
    image = Image.open(
        io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=int(size * 1.25), skip_system_fonts=True)))
    )
    image = image.convert("RGBa")
    box = image.getchannel("a").point(lambda a: 255 if a > 8 else 0).getbbox()
    if box is None:
        return np.zeros((size, size, 4), np.uint8)
    image = image.crop(box)
    scale = size * inset / max(image.size)
    image = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
    )
    canvas = Image.new("RGBa", (size, size))
    canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(canvas.convert("RGBA"))


def shrink(pixels: Pixels, size: int) -> Pixels:
    """The drawing area-averaged to (size, size, 4), colours weighted by coverage."""
    factor = pixels.shape[0] // size
    values = pixels.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    mean = values.reshape(size, factor, size, factor, 4).mean((1, 3))
    mean[..., :3] = np.where(mean[..., 3:] > 0, mean[..., :3] * 255 / np.maximum(mean[..., 3:], 1e-3), 0)
    return np.asarray(np.clip(mean + 0.5, 0, 255), dtype=np.uint8)


def find_drawings(
    data: dict[str, Any], concepts: list[Concept], folder: Path
) -> Iterator[tuple[int, int, str, Pixels]]:
    """(concept, pack, icon name, pixels) of every drawing found, concepts with too few vendors left out."""
    packs = [fetch_pack(pack["package"], pack["version"], folder) for pack in data["packs"]]
    names: list[dict[str, str]] = []
    for pack in packs:
        found = {
            alias.replace("-", ""): entry["parent"]
            for alias, entry in pack.get("aliases", {}).items()
            if "parent" in entry
        }
        found |= {name.replace("-", ""): name for name in pack["icons"]}
        names.append({key: name for key, name in found.items() if name in pack["icons"]})
    for number, concept in enumerate(concepts):
        if concept.weight < data["min_weight"]:
            continue
        hits: dict[tuple[int, str], None] = {}
        for index, known in enumerate(names):
            hits.update({(index, known[icon]): None for icon in concept.icons if icon in known})
        if len({index for index, _ in hits}) < data["min_drawings"]:
            print(f"left out, too few drawings: {concept.noun} {hits}")
            continue
        for index, name in hits:
            yield number, index, name, render(svg_of(packs[index], name), data["render"], data["inset"])


def vary(pixels: Pixels, canvas: int) -> tuple[str, list[tuple[str, Pixels]]]:
    """The word of a drawing's main colour, and the drawing at `canvas` px: as it is, then in every other colour."""
    base = shrink(pixels, canvas)
    values = base.astype(np.float32) / 255
    main = main_colour(values)
    if main is None:
        return "", [("", base)]
    others = [word for word in PAINTS if word != main.word]
    painted = [np.clip(repaint(values, main, word) * 255 + 0.5, 0, 255).astype(np.uint8) for word in others]
    return main.word, [(main.word, base), *zip(others, painted, strict=True)]


def spread(task: Callable[[Item], Answer], items: Iterable[Item], processes: int) -> Iterator[Answer]:
    """The answers in order, worked out by `processes`; one is this process itself."""
    if processes == 1:
        yield from map(task, items)
        return
    with Pool(processes) as pool:
        yield from pool.imap(task, items, 8)


def write_art(
    work: Path, found: Iterable[tuple[int, int, str, Pixels]], concepts: list[Concept], canvas: int, processes: int = 1
) -> None:
    """Writes drawings.npy, variants.npy and index.json for (concept, pack, icon name, pixels) of each drawing."""
    heads, large = [], []
    for concept, pack, icon, pixels in found:
        heads.append((concept, pack, icon))
        large.append(pixels)
    drawings: list[Drawing] = []
    variants: list[Variant] = []
    small: list[Pixels] = []
    varied = spread(partial(vary, canvas=canvas), large, processes)
    for number, (head, (main, kinds)) in enumerate(zip(heads, varied, strict=True)):
        drawings.append(Drawing(*head, main))
        for place, (colour, pixels) in enumerate(kinds):
            variants.append(Variant(number, colour, place == 0))
            small.append(pixels)
    np.save(work / "drawings.npy", np.stack(large))
    np.save(work / "variants.npy", np.stack(small))
    index = {
        "concepts": [asdict(concept) for concept in concepts],
        "drawings": [asdict(drawing) for drawing in drawings],
        "variants": [asdict(variant) for variant in variants],
    }
    (work / "index.json").write_text(json.dumps(index))
    print(f"{len({d.concept for d in drawings})} concepts, {len(drawings)} drawings, {len(variants)} variants")


def main() -> None:
    """Prepares the data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    work: Path = parser.parse_args().work
    data = read_config()["data"]
    concepts = read_concepts()
    work.mkdir(parents=True, exist_ok=True)
    write_art(work, find_drawings(data, concepts, work / "packages"), concepts, data["canvas"])


if __name__ == "__main__":
    main()
