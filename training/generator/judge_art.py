"""Art for the judge alone: drawings by vendors that the generator never sees, each with its concept.

judge.py fetches it (npm) into art.npy (N, 96, 96, 4) uint8 and art.json. Nothing of it enters the generator's data and
nothing is shipped: two of the vendors ask for share-alike terms.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.generator.prepare import HERE, Concept, fetch_pack, read_concepts, read_config, render, svg_of

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Piece:
    """One drawing of the judge's art: whose it is, what it shows, how often it is shown."""

    noun: str
    package: str
    icon: str
    share: float


def read_judge_config(path: Path = HERE / "judge.toml") -> dict[str, Any]:
    """The judge's recipe as a table."""
    return tomllib.loads(path.read_text())


def plain(words: str) -> str:
    """Words as they are compared: small letters without spaces and hyphens."""
    return words.lower().replace(" ", "").replace("-", "")


def names_of(collection: dict[str, Any], suffixes: Sequence[str]) -> dict[str, list[str]]:
    """Plain name -> icons of a collection, aliases included; only names with one of the suffixes count, without it."""
    icons = collection["icons"]
    known = {name: name for name in icons}
    known |= {a: e["parent"] for a, e in collection.get("aliases", {}).items() if e.get("parent") in icons}
    found: dict[str, list[str]] = {}
    for suffix in suffixes:
        for name, icon in known.items():
            if name.endswith(suffix):
                found.setdefault(plain(name.removesuffix(suffix)), []).append(icon)
    return found


def match(
    concepts: Sequence[Concept], names: dict[str, list[str]], *, words: bool, ambiguous: Iterable[str] = ()
) -> dict[str, str]:
    """Icon -> noun of its concept: by the concept's icon names, with `words` by its noun and other words too.

    An icon belongs to one concept: nouns go before icon names, these before other words, then the earlier concept wins.
    """
    barred = {plain(word) for word in ambiguous} if words else set()
    ranks: list[Callable[[Concept], Sequence[str]]] = [lambda c: c.icons]
    if words:
        ranks = [lambda c: (c.noun,), lambda c: c.icons, lambda c: c.others]
    found: dict[str, str] = {}
    for keys in ranks:
        for concept in concepts:
            for key in map(plain, keys(concept)):
                for icon in names.get(key, []) if key not in barred else []:
                    found.setdefault(icon, concept.noun)
    return found


def is_plain(pixels: Pixels) -> bool:
    """Whether a (H, W, 4) drawing has one colour only, as icon sets of one ink have."""
    inked = pixels[pixels[..., 3] > 128][:, :3].astype(np.int16)
    return len(inked) > 0 and int((inked.max(0) - inked.min(0)).max()) < 24


def coloured(pixels: Pixels, palette: NDArray[np.float32] | None, rng: np.random.Generator) -> list[Pixels]:
    """Two drawings made of one of a single ink: the shape in a colour, and its outline filled with ink in another.

    Colours come from `palette` (N, 3), what other drawings of the thing are painted with, and sometimes from nowhere.
    """
    alpha = pixels[..., 3:].astype(np.float32) / 255
    solid = ndimage.binary_fill_holes(alpha[..., 0] > 0.5)
    body = np.maximum(ndimage.gaussian_filter(solid.astype(np.float32), 0.6)[..., None], alpha)
    fill, ink, only = (_paint(palette, rng) for _ in range(3))
    ink = ink * rng.uniform(0.1, 0.5) if rng.random() < 0.7 else 0.3 * ink + 178
    shape = np.concatenate([np.broadcast_to(only, (*alpha.shape[:2], 3)), alpha * 255], -1)
    filled = np.concatenate([fill * (1 - alpha) + ink * alpha, body * 255], -1)
    return [np.asarray(np.clip(picture + 0.5, 0, 255), dtype=np.uint8) for picture in (shape, filled)]


def _paint(palette: NDArray[np.float32] | None, rng: np.random.Generator) -> NDArray[np.float32]:
    if palette is not None and rng.random() < 0.75:
        return np.asarray(palette[rng.integers(len(palette))], dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi) + np.arange(3) * 2 * np.pi / 3
    return np.asarray(np.clip(128 + 150 * np.cos(angle), 20, 250), dtype=np.float32)


def palette_of(drawings: Sequence[Pixels]) -> NDArray[np.float32]:
    """(N, 3) colours that the drawings are painted with, near black left out as it is mostly outline."""
    inked = np.concatenate([drawing[drawing[..., 3] > 200][:, :3] for drawing in drawings]).astype(np.float32)
    bright = inked[inked.max(-1) > 70]
    return bright if len(bright) else inked


def gather(config: dict[str, Any], concepts: Sequence[Concept], folder: Path) -> Iterator[tuple[Piece, Pixels]]:
    """Every drawing of the judge's packs that shows a concept; those of one ink come in two colourings."""
    art, rng = config["art"], np.random.default_rng(config["seed"])
    painted: dict[str, list[Pixels]] = {}
    for pack in art["packs"]:
        collection = fetch_pack(pack["package"], pack["version"], folder)
        names = names_of(collection, pack.get("suffixes", [""]))
        chosen = match(concepts, names, words=pack["by"] == "words", ambiguous=art["ambiguous"])
        for icon, noun in chosen.items():
            pixels = render(svg_of(collection, icon), art["render"], art["inset"])
            piece = Piece(noun, pack["package"], icon, pack["share"])
            if is_plain(pixels) and pack["by"] == "words":
                known = palette_of(painted[noun]) if noun in painted else None
                yield from ((piece, picture) for picture in coloured(pixels, known, rng))
            else:
                if pack["by"] == "icons":
                    painted.setdefault(noun, []).append(pixels)
                yield piece, pixels


def write(config: dict[str, Any], work: Path) -> None:
    """Writes the judge's art to `work`; a concept with few drawings is left out if the generator does not learn it."""
    work.mkdir(parents=True, exist_ok=True)
    concepts = read_concepts()
    found = list(gather(config, concepts, work / "packages"))
    learnt = {concept.noun for concept in concepts if concept.weight >= read_config()["data"]["min_weight"]}
    counts = Counter(piece.noun for piece, _ in found)
    classes = learnt | {noun for noun, count in counts.items() if count >= config["art"]["min_drawings"]}
    kept = [(piece, pixels) for piece, pixels in found if piece.noun in classes]
    np.save(work / "art.npy", np.stack([pixels for _, pixels in kept]))
    (work / "art.json").write_text(json.dumps([asdict(piece) for piece, _ in kept]))
    print(f"{len({piece.noun for piece, _ in kept})} classes, {len(kept)} drawings")
