"""What the judge looks at: where edges run in which direction, and where which colours lie."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

SIZE = 64  # px of the pictures
CELL = 4  # px of a cell in which edge directions are counted
DIRECTIONS = 18  # over the full turn
FEATURES = 27 * 8 * 8 + 9 * 4 * 4 + 3 * 8 * 8

# Cells are brought to half their number with weights that fall linearly, so that a small shift changes little.
_TENT = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
_KERNEL = (_TENT[:, None] * _TENT)[None, None] * 4
_CELLS = SIZE // CELL
_PLACE = torch.arange(SIZE) // CELL
_CELL_OF = (_PLACE[:, None] * _CELLS + _PLACE).flatten()


def edge_counts(pictures: Tensor) -> Tensor:
    """(B, DIRECTIONS, 16, 16) strengths of edges by direction and cell, of the strongest channel at every pixel."""
    right, down = torch.zeros_like(pictures), torch.zeros_like(pictures)
    right[..., 1:-1] = pictures[..., 2:] - pictures[..., :-2]
    down[:, :, 1:-1] = pictures[:, :, 2:] - pictures[:, :, :-2]
    squares, strongest = (right**2 + down**2).max(1, keepdim=True)
    right, down = (part.gather(1, strongest).flatten(1) for part in (right, down))
    strength = squares.sqrt().flatten(1)
    angle = torch.atan2(down, right) * (DIRECTIONS / (2 * math.pi))
    low = angle.floor()
    rest = angle - low
    before = low.long() % DIRECTIONS
    count = len(pictures)
    base = (torch.arange(count)[:, None] * _CELLS**2 + _CELL_OF) * DIRECTIONS
    sums = torch.zeros(count * _CELLS**2 * DIRECTIONS)
    sums.index_add_(0, (base + before).flatten(), (strength * (1 - rest)).flatten())
    sums.index_add_(0, (base + (before + 1) % DIRECTIONS).flatten(), (strength * rest).flatten())
    return sums.view(count, _CELLS, _CELLS, DIRECTIONS).permute(0, 3, 1, 2) / CELL**2


def features_of(pictures: Tensor) -> Tensor:
    """(B, FEATURES) of (B, 3, 64, 64) pictures in 0..1: oriented gradients (Dalal and Triggs 2005) and colours.

    Directions are kept with their sign and without, on 8 x 8 cells, and without on 4 x 4; each is set against the
    strength of edges around it, and the root lets strong edges count less. Colours are means on 8 x 8 cells.
    """
    count = len(pictures)
    cells = conv2d(edge_counts(pictures).reshape(-1, 1, _CELLS, _CELLS), _KERNEL, stride=2, padding=1)
    signed = cells.view(count, DIRECTIONS, 8, 8)
    unsigned = signed[:, : DIRECTIONS // 2] + signed[:, DIRECTIONS // 2 :]
    energy = avg_pool2d(pad((unsigned**2).sum(1, keepdim=True), (1, 1, 1, 1)), 3, 1)
    fine = torch.cat([unsigned, signed], 1) / (energy + 1e-4).sqrt()
    broad = avg_pool2d(unsigned, 2)
    broad = broad / ((broad**2).sum(1, keepdim=True) + 1e-4).sqrt()
    colours = avg_pool2d(pictures, SIZE // 8)
    return torch.cat([fine.clamp(max=2).sqrt().flatten(1), 0.7 * broad.sqrt().flatten(1), colours.flatten(1)], 1)
