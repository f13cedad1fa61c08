"""Pieces of a picture joined without a seam: their differences are kept, their levels adapt.

Gradients are blended (Perez, Gangnet and Blake 2003, "Poisson Image Editing"): a smooth correction is added to each
piece, such that pieces meet one another and what is around the hole.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

from services.editor.pixels.color_spaces import Floats
from services.editor.pixels.dominant_shifts import Hole, Shifts

Labels = NDArray[np.int16]
Places = NDArray[np.int64]

# Where pieces differ by far more than this, of 255, there is an edge, and no shade is spread from it.
_EDGE = 100.0


@dataclass(frozen=True)
class _Laid:
    """A picture whose hole is filled with pieces: `labels` says which of the shifts fills a place."""

    picture: Floats
    hole: Hole
    shifts: Shifts

    def source(self, rows: Places, columns: Places, labels: Places) -> tuple[Floats, Hole]:
        """(N, 3) what a piece shows at places, whether it was laid there or not, and (N,) whether that is known."""
        height, width = self.hole.shape
        shift = self.shifts[labels]
        r, c = rows + shift[:, 0], columns + shift[:, 1]
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        r, c = r.clip(0, height - 1), c.clip(0, width - 1)
        known: Hole = inside & ~self.hole[r, c]
        return self.picture[r, c], known


def correction(picture: Floats, hole: Hole, labels: Labels, shifts: Shifts) -> Floats:
    """(H, W, 3) to add to the pieces in the hole of (H, W, 3); `labels` says which shift fills a place, -1 none."""
    laid = _Laid(picture, hole, shifts)
    height, width = hole.shape
    rows, columns = np.nonzero(hole)
    count = len(rows)
    number = np.full(hole.shape, -1, np.int64)
    number[hole] = np.arange(count)
    mine = labels[hole].astype(np.int64)
    degree, target = np.full(count, 1e-6), np.zeros((count, 3))
    links: list[tuple[Places, Places, Floats]] = []
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        r, c = rows + down, columns + across
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        other = number[r.clip(0, height - 1), c.clip(0, width - 1)]
        rim = np.flatnonzero(inside & (other < 0))
        jump = _jump_to_known(laid, rows[rim], columns[rim], r[rim], c[rim], mine[rim])
        trust = _trust(jump)
        target[rim] += trust[:, np.newaxis] * jump
        degree[rim] += trust
        pairs = np.flatnonzero(inside & (other >= 0))
        theirs = other[pairs]
        trust = np.ones(len(pairs))
        mixed = mine[theirs] != mine[pairs]
        seam, there = pairs[mixed], theirs[mixed]
        jump = _jump_between(laid, rows[seam], columns[seam], r[seam], c[seam], mine[seam], mine[there])
        trust[mixed] = _trust(jump)
        target[seam] += trust[mixed][:, np.newaxis] * jump
        degree[pairs] += trust
        links.append((pairs, theirs, trust))
    first, second, weights = (np.concatenate(part) for part in zip(*links, strict=True))
    matrix: Any = diags(degree) - coo_matrix((weights, (first, second)), (count, count))
    result = np.zeros((height, width, 3), np.float32)
    result[hole] = spsolve(matrix.tocsc(), target)
    return result


def _jump_to_known(laid: _Laid, rows: Places, columns: Places, r: Places, c: Places, label: Places) -> Floats:
    """(N, 3) by how much a piece is off beside what is known: there it goes on as it does where it is from."""
    beyond, known = laid.source(r, c, label)
    own, _ = laid.source(rows, columns, label)
    jump: Floats = laid.picture[r, c] - np.where(known[:, np.newaxis], beyond, own)
    return jump


def _jump_between(
    laid: _Laid, rows: Places, columns: Places, r: Places, c: Places, label: Places, other: Places
) -> Floats:
    """(N, 3) by how much two pieces are off beside each other: the step there is the mean of both pieces' own."""
    own, _ = laid.source(rows, columns, label)
    mine_on, mine_known = laid.source(r, c, label)
    theirs, _ = laid.source(r, c, other)
    theirs_back, theirs_known = laid.source(rows, columns, other)
    weights = np.stack([mine_known, theirs_known])[..., np.newaxis].astype(np.float32)
    step = (weights * np.stack([own - mine_on, theirs_back - theirs])).sum(0) / np.maximum(weights.sum(0), 1)
    jump: Floats = step - (own - theirs)
    return jump


def _trust(jump: Floats) -> Floats:
    """(N,) how much of a difference of levels, (N, 3), is mended: an edge between things is none."""
    trust: Floats = 1 / (1 + (np.abs(jump).mean(1) / _EDGE) ** 4)
    return np.maximum(trust, 1e-4)
