"""The coproduct of rooted trees: all ways to cut branches off, built child by child and kept as arrays.

A cut of t leaves a trunk (with the root) and a forest of branches. Every child of the root is either cut off, or kept
with one of its own cuts; equal results are merged with their multiplicity, so no subset of edges is ever enumerated. A
forest is stored as the tree that its members form on a common root (of colour 0), so it needs no table of its own.
Source: Connes, Kreimer 1998; Hairer, Lubich, Wanner, III.1.4 (ordered subtrees), merged as here.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from odekit.algebra.trees import Trees, table


class Cuts(NamedTuple):
    """The cuts that keep the root, for a run of trees: those of the i-th are `start[i]:start[i + 1]` of the arrays.

    `forest` and `trunk` are ids, `times` counts how often the pair occurs. The cut that takes the whole tree away is
    left out. The uncut tree itself has the forest 1 (a root with nothing on it).
    """

    start: np.ndarray
    forest: np.ndarray
    trunk: np.ndarray
    times: np.ndarray

    @property
    def tree(self) -> np.ndarray:
        """The position of the tree each cut belongs to."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


@cache
def cuts(order: int, colours: int = 1) -> Cuts:
    """The cuts of all trees with at most `order` vertices, in the order of their ids (id 1 comes first).

    >>> kept = cuts(6)
    >>> len(kept.trunk) + len(kept.start) - 1 + 1  # with the full cut of each tree, and the empty tree's
    311
    """
    blocks = [_of_order(n, colours) for n in range(1, order + 1)]
    lengths = np.concatenate([np.diff(block.start) for block in blocks])
    joined = (np.concatenate(parts) for parts in zip(*(block[1:] for block in blocks), strict=True))
    return Cuts(np.concatenate([[0], np.cumsum(lengths)]), *joined)


@cache
def _of_order(order: int, colours: int) -> Cuts:
    trees = table(order, colours)
    here = trees.of_order(order)
    if order == 1:
        ones = np.ones(colours, dtype=np.int64)
        return Cuts(np.arange(colours + 1), ones, np.arange(1, colours + 1), ones)
    smaller = cuts(order - 1, colours)
    u, v = trees.trunk[here.start : here.stop], trees.branch[here.start : here.stop]
    # every cut of u, beside: the branch v cut off (number 0), or kept with one of its own cuts (1, 2, ...)
    start, length = smaller.start, np.diff(smaller.start)
    sizes = length[u - 1] * (length[v - 1] + 1)
    row = np.repeat(np.arange(len(here)), sizes)
    number = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    i, j = np.divmod(number, length[v[row] - 1] + 1)
    i = start[u[row] - 1] + i
    forest, trunk, times = smaller.forest[i], smaller.trunk[i], smaller.times[i]
    off, on = np.flatnonzero(j == 0), np.flatnonzero(j)
    inner = start[v[row[on]] - 1] + j[on] - 1
    forest[off] = trees.graft(forest[off], v[row[off]])
    forest[on] = trees.merge(forest[on], smaller.forest[inner])
    trunk[on] = trees.graft(trunk[on], smaller.trunk[inner])
    times[on] *= smaller.times[inner]
    return _merged(trees, row, forest, trunk, times)


def _merged(trees: Trees, row: np.ndarray, forest: np.ndarray, trunk: np.ndarray, times: np.ndarray) -> Cuts:
    key = (row * len(trees) + forest) * len(trees) + trunk
    key, where, inverse = np.unique(key, return_index=True, return_inverse=True)
    total = np.zeros(len(key), dtype=np.int64)
    np.add.at(total, inverse, times)
    start = np.searchsorted(row[where], np.arange(row[-1] + 2))
    return Cuts(start, forest[where], trunk[where], total)
