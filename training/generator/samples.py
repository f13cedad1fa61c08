"""Training batches out of the painted pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.generator.latents import PatchCode


class Samples:
    """Endless training batches: (latents (B, C, 16, 16), token embeddings (B, 16, 384))."""

    def __init__(self, work: Path, code: PatchCode, data: dict[str, Any], batch: int, seed: int) -> None:
        self.data, self.batch, self.code = data, batch, code
        self.pictures = np.load(work / "pictures.npy", mmap_mode="r")
        self.captions = np.load(work / "captions.npy")
        self.embeddings = np.load(work / "embeddings.npy", mmap_mode="r")
        self.rng = np.random.default_rng(seed)

    def next(self) -> tuple[Tensor, Tensor]:
        """One batch, with fresh shifts and dropped captions."""
        rows = np.sort(self.rng.integers(len(self.pictures), size=self.batch))
        reach = self.data["max_shift"]
        padded = np.pad(self.pictures[rows], ((0, 0), (reach, reach), (reach, reach), (0, 0)), "edge")
        size = self.pictures.shape[1]
        moves = self.rng.integers(0, 2 * reach + 1, size=(self.batch, 2))
        pictures = np.stack([p[d : d + size, r : r + size] for p, (d, r) in zip(padded, moves, strict=True)])
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        captions = np.where(self.rng.random(self.batch) < self.data["negated_conditions"], 0, self.captions[rows])
        return self.code.encode(pixels), torch.from_numpy(self.embeddings[captions].astype(np.float32))
