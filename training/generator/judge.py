"""Names what a drawing shows: a classifier fitted to art of vendors that the generator never saw.

    python -m training.generator.judge --work .build/judge

Fetches its art when it is not there (judge_art.py), fits by judge.toml and writes judge.npz. The weights are not
committed: the command makes them again, in two minutes of one quiet core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from training.generator import judge_art
from training.generator.judge_augment import augmented
from training.generator.judge_features import FEATURES, SIZE, features_of

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

ZOOMS = (1.0, 1.12, 0.88)  # of the views that are averaged


class Art:
    """The judge's art in memory; draws augmented batches, classes nearly evenly, drawings by their pack's share."""

    def __init__(self, work: Path) -> None:
        pieces = json.loads((work / "art.json").read_text())
        self.nouns = sorted({piece["noun"] for piece in pieces})
        self.about = {"drawings": len(pieces), "packages": sorted({piece["package"] for piece in pieces})}
        self.labels = torch.tensor([self.nouns.index(piece["noun"]) for piece in pieces])
        pixels = torch.from_numpy(np.load(work / "art.npy")).permute(0, 3, 1, 2)
        self.drawings = torch.cat([(pixels[:, :3].short() * pixels[:, 3:].short() // 255).byte(), pixels[:, 3:]], 1)
        share = torch.tensor([piece["share"] for piece in pieces], dtype=torch.float64)
        total = torch.zeros(len(self.nouns), dtype=torch.float64).index_add(0, self.labels, share)
        self.chance = share / total[self.labels] ** 0.75  # a class with few drawings is shown a little less

    def next(self, batch: int, settings: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """((B, 3, 64, 64) in 0..1, (B,) labels)."""
        chosen = torch.multinomial(self.chance, batch, replacement=True)
        return augmented(self.drawings[chosen].float() / 255, SIZE, settings), self.labels[chosen]


class Moments:
    """Class means and the covariance within classes of features, gathered batch by batch."""

    def __init__(self, classes: int, width: int) -> None:
        self.counts = torch.zeros(classes)
        self.sums = torch.zeros(classes, width)
        self.products = torch.zeros(width, width)

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Takes in (B, width) features with their (B,) classes."""
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self.sums.index_add_(0, labels, features)
        self.products += features.T @ features

    def discriminants(self, shrinkage: float) -> tuple[Tensor, Tensor, Tensor]:
        """(weights (width, classes), biases (classes,), directions (width, classes - 1)): linear discriminant analysis.

        A Gaussian for each class with one common covariance (Fisher 1936), to whose diagonal `shrinkage` times its mean
        is added. Directions span the space between class means, most telling first, whitened within classes.
        """
        means = self.sums / self.counts[:, None]
        weighted = means * self.counts[:, None]
        within = (self.products - weighted.T @ means) / self.counts.sum()
        within += shrinkage * within.diagonal().mean() * torch.eye(len(within))
        values, vectors = torch.linalg.eigh(within)
        whitening = vectors * values.rsqrt()
        white = means @ whitening
        weights = whitening @ white.T
        centre = (weighted.sum(0) / self.counts.sum()) @ whitening
        _, _, axes = torch.linalg.svd(
            (white - centre) * (self.counts / self.counts.sum()).sqrt()[:, None], full_matrices=False
        )
        return weights, -0.5 * (white**2).sum(1), whitening @ axes[: len(means) - 1].T


def fit(work: Path, config: dict[str, Any]) -> None:
    """Fits the judge to the art in `work` and writes judge.npz there."""
    settings = config["judge"]
    torch.manual_seed(config["seed"])
    art = Art(work)
    moments = Moments(len(art.nouns), FEATURES)
    began = time.process_time()
    for _ in range(settings["batches"]):
        pictures, labels = art.next(settings["batch"], config["augmentation"])
        moments.add(features_of(pictures), labels)
    weights, biases, directions = moments.discriminants(settings["shrinkage"])
    about = art.about | {"pictures": settings["batches"] * settings["batch"], "temperature": settings["temperature"]}
    np.savez(
        work / "judge.npz",
        weights=weights.numpy(),
        biases=biases.numpy(),
        directions=directions[:, : settings["directions"]].numpy(),
        about=np.frombuffer(json.dumps(about | {"nouns": art.nouns}).encode(), np.uint8),
    )
    print(f"{len(art.nouns)} classes, {about['pictures']} pictures, {time.process_time() - began:.0f} s of CPU")


class Judge:
    """A fitted judge: names pictures among `nouns`."""

    def __init__(self, work: Path) -> None:
        stored = np.load(work / "judge.npz", allow_pickle=False)
        self.about: dict[str, Any] = json.loads(stored["about"].tobytes())
        self.nouns: list[str] = self.about.pop("nouns")
        self.weights, self.biases, self.directions = (
            torch.from_numpy(stored[name]) for name in ("weights", "biases", "directions")
        )

    def look(self, pictures: Pixels) -> tuple[Floats, Floats]:
        """(probabilities (B, classes), features (B, directions)) of (B, H, W, 3) pictures.

        Probabilities are means over three zooms of the picture and their mirror images; features are the picture's own
        place along the most telling directions between the classes.
        """
        values, places = [], []
        for start in range(0, len(pictures), 128):
            batch = torch.from_numpy(np.array(pictures[start : start + 128])).permute(0, 3, 1, 2) / 255
            seen = [features_of(view) for view in views(batch)]
            logits = [(features @ self.weights + self.biases) / self.about["temperature"] for features in seen]
            values.append(torch.stack([own.softmax(-1) for own in logits]).mean(0))
            places.append(seen[0] @ self.directions)
        return torch.cat(values).numpy(), torch.cat(places).numpy()


def views(pictures: Tensor) -> list[Tensor]:
    """The (B, 3, H, W) pictures at 64 px, a little larger and smaller, each with its mirror image."""
    made = []
    for zoom in ZOOMS:
        side = round(SIZE * zoom)
        view = interpolate(pictures, size=(side, side), mode="area")
        before = (SIZE - side) // 2  # below zero where the view is cut
        after = SIZE - side - before
        view = pad(view, (before, after, before, after), mode="replicate" if side < SIZE else "constant")
        made += [view, view.flip(-1)]
    return made


def ranks_of(probabilities: Floats, nouns: Sequence[str], asked: Sequence[str]) -> NDArray[np.int64]:
    """(B,) places of the nouns asked for among the judge's answers; 0 is the first answer."""
    place = {noun: number for number, noun in enumerate(nouns)}
    own = probabilities[np.arange(len(asked)), [place[noun] for noun in asked]]
    return np.asarray((probabilities > own[:, None]).sum(-1), dtype=np.int64)


def main() -> None:
    """Makes the judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/judge"))
    work: Path = parser.parse_args().work
    torch.set_num_threads(1)
    config = judge_art.read_judge_config()
    if not (work / "art.npy").exists():
        judge_art.write(config, work)
    fit(work, config)


if __name__ == "__main__":
    main()
