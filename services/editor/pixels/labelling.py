"""Labels for places on a grid, such that neighbours agree: alpha expansion (Boykov, Veksler and Zabih 2001)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from services.editor.pixels.color_spaces import Floats

Labels = NDArray[np.int64]
Edges = NDArray[np.int64]

# Costs are whole numbers in a flow: one is cut into this many parts.
_PARTS = 256
_MOST = 2**28


@dataclass(frozen=True)
class Problem:
    """`alone`: (K, N) what a label costs at a place, inf where it cannot be; `looks`: (K, N, D) what it shows there;
    `edges`: (E, 2) places that are neighbours. Neighbours with labels a and b cost how differently a and b look at
    both."""

    alone: Floats
    looks: Floats
    edges: Edges

    def between(self, first: Labels, second: Labels) -> Floats:
        """(E,) what neighbours cost, labelled `first` at one end and `second` at the other; (E,) each."""
        p, q = self.edges.T
        there = np.abs(self.looks[first, p] - self.looks[second, p]).sum(1)
        here = np.abs(self.looks[first, q] - self.looks[second, q]).sum(1)
        cost: Floats = there + here
        return cost

    def cost(self, labels: Labels) -> float:
        """Of a whole labelling."""
        p, q = self.edges.T
        own = self.alone[labels, np.arange(len(labels))].sum(dtype=np.float64)
        return float(own + self.between(labels[p], labels[q]).sum(dtype=np.float64))


def labelled(problem: Problem, start: Labels, sweeps: int) -> Labels:
    """(N,) labels of low cost, from `start` on: each label in turn takes what is cheaper with it."""
    labels, cost = start, problem.cost(start)
    for _ in range(sweeps):
        before = cost
        for label in range(len(problem.alone)):
            moved = _expanded(problem, labels, label)
            new = problem.cost(moved)
            if new < cost:
                labels, cost = moved, new
        if cost >= before * 0.995:
            break
    return labels


def _expanded(problem: Problem, labels: Labels, label: int) -> Labels:
    """The labels after the best move in which any places change to `label`: a cut between keeping and changing."""
    count = len(labels)
    can = np.isfinite(problem.alone[label]) & (labels != label)
    if not can.any():
        return labels
    p, q = problem.edges.T
    new = np.full(len(p), label)
    both_old = problem.between(labels[p], labels[q])
    p_new, q_new = problem.between(new, labels[q]), problem.between(labels[p], new)
    # Costs of a pair (Kolmogorov and Zabih 2004): 0 keeps, 1 changes; a pair that is not submodular is made so.
    link = np.maximum(p_new + q_new - both_old, 0)
    keep, change = problem.alone[labels, np.arange(count)].copy(), problem.alone[label].copy()
    change[~np.isfinite(change)] = 1e6
    change[labels == label] = keep[labels == label]
    # E(xp,xq) = A + (C-A) xp + (D-C) xq + (B+C-A-D) (1-xp) xq, A=old old, B=q changes, C=p changes, D=both.
    np.add.at(change, p, p_new - both_old)
    np.add.at(change, q, -p_new)
    return _cut(keep - change, p, q, link, labels, label)


def _cut(gain: Floats, p: Labels, q: Labels, link: Floats, labels: Labels, label: int) -> Labels:
    count = len(labels)
    source, sink = count, count + 1
    gain = np.rint(gain.clip(-1e6, 1e6) * _PARTS)
    wants, keeps = np.flatnonzero(gain > 0), np.flatnonzero(gain < 0)
    rows = np.concatenate([np.full(len(wants), source), keeps, q])
    columns = np.concatenate([wants, np.full(len(keeps), sink), p])
    capacity = np.concatenate([gain[wants], -gain[keeps], np.rint(link * _PARTS)]).clip(0, _MOST).astype(np.int32)
    graph = csr_matrix((capacity, (rows, columns)), (count + 2, count + 2))
    flow = maximum_flow(graph, source, sink).flow
    left = graph - flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    changes = breadth_first_order(left, source, return_predecessors=False)
    moved = labels.copy()
    moved[changes[changes < count]] = label
    return moved
