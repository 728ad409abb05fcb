"""Triangular factors of graded covariances, entry by entry, in the `words` of any number kind.

Given clean data and near t = 0, a covariance P S P^T + W is graded: of n channels in a row the first has a variance of
order t^(2n-1), the last one of order t, and beside a variance at the start correlations tend to one. The sum then has
lost what its factor needs. Rows here are those of A = [P S^(1/2), W^(1/2)], whose products A A^T are the covariance:
rotations of its columns keep the digits of every entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Rows = list[list[Any]]  # entries of a matrix: tensors of shapes that fit each other, or mpmath numbers; 0 where empty


def triangular(words: Any, rows: Sequence[Sequence[Any]], count: int) -> Rows:
    """Lower triangular rows with the products of the given ones, the first ``count`` of which are made triangular.

    By Givens rotations of columns (Golub and Van Loan 2013, section 5.1.8); entries on the diagonal are not negative.

    >>> from odekit.processes.entries import MpmathWords
    >>> [[float(x) for x in row] for row in triangular(MpmathWords, [[3, 4], [0, 5]], 2)]
    [[5.0, 0.0], [4.0, 3.0]]
    """
    rows = [list(row) for row in rows]
    for i, row in enumerate(rows[:count]):
        for j in range(i + 1, len(row)):
            a, b = row[i], row[j]
            if isinstance(b, int) and b == 0:
                continue
            size = words.sqrt(a * a + b * b)
            none = size == 0
            safe = words.where(none, 1 + 0 * size, size)
            c, s = words.where(none, 0 * size, a / safe), words.where(none, 1 + 0 * size, b / safe)
            row[i], row[j] = size, 0 * size
            for other in rows[i + 1 :]:
                p, q = other[i], other[j]
                other[i], other[j] = c * p + s * q, c * q - s * p
    return [row[:count] for row in rows]


def solved(words: Any, lower: Rows, right: Rows) -> Rows:
    """L^-1 B, for lower triangular L."""
    found: Rows = []
    for row, given in zip(lower, right, strict=True):
        i = len(found)
        found.append([(b - sum(row[k] * found[k][j] for k in range(i))) / row[i] for j, b in enumerate(given)])
    return found


def transposed(rows: Sequence[Sequence[Any]]) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def product(a: Sequence[Sequence[Any]], b: Sequence[Sequence[Any]]) -> Rows:
    columns = transposed(b)
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in a]
