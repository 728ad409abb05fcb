"""Operators as functions of time: one formula for floats, float64 tensors and mpmath numbers.

A formula takes times of one kind and the `words` of that kind (exp, sqrt, cos, ...), and returns the entries of an
operator: its rows for a `Block`. Floats are run as 0-d tensors, arrays of mpmath numbers element by element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from ..operators import Block, Diagonal
from .kinds import Mpmath, Tensors, number

Entries = Sequence[Sequence[Any]]  # rows of a square matrix


class Words:
    """What a formula says on tensors."""

    exact = False
    pi = math.pi
    exp, expm1, sqrt, cos, sin, atan = torch.exp, torch.expm1, torch.sqrt, torch.cos, torch.sin, torch.atan
    where = staticmethod(Tensors.where)

    @staticmethod
    def constant(value: Any) -> float:
        """A parameter as a number of this kind."""
        return float(value)


class _Mpmath(type):
    def __getattr__(cls, name: str) -> Any:
        from mpmath import mp

        return getattr(mp, name)


class MpmathWords(metaclass=_Mpmath):
    """The same on mpmath numbers, at the ambient precision."""

    exact = True
    where = staticmethod(Mpmath.where)

    @staticmethod
    def constant(value: Any) -> Any:
        from mpmath import mp

        from ..expressions import exact_value

        exact = exact_value(value)
        return mp.mpf(exact.numerator) / exact.denominator


def block(formula: Callable[..., Entries], *times: Any) -> Block:
    """The `Block` whose rows `formula(words, *times)` returns; (m, n, n) where a time is a vector of m.

    >>> block(lambda words, t: ((words.cos(t), -words.sin(t)), (words.sin(t), words.cos(t))), 0.0).value
    tensor([[1., -0.],
            [0., 1.]], dtype=torch.float64)
    """
    entries = gathered(lambda words, *s: [entry for row in formula(words, *s) for entry in row], *times)
    n = math.isqrt(entries.shape[-1])
    return Block(entries.reshape(*entries.shape[:-1], n, n))


def as_matrix(rows: Entries) -> Any:
    """Rows of entries (tensors of shapes that fit each other, mpmath numbers) as one array (..., n, n).

    Rows of a lower triangle are those of a symmetric matrix.
    """
    n = len(rows)
    full = [[rows[max(i, j)][min(i, j)] if len(rows[0]) < n else rows[i][j] for j in range(n)] for i in range(n)]
    if not isinstance(full[0][0], torch.Tensor):
        return np.array(full, object)
    entries = torch.broadcast_tensors(*(entry for row in full for entry in row))  # broadcast_shapes imports SymPy
    return torch.stack(entries, -1).unflatten(-1, (n, n))


def as_rows(matrices: Any) -> Entries:
    """The rows of entries of (..., n, n)."""
    n = matrices.shape[-1]
    return tuple(tuple(matrices[..., i, j][()] for j in range(n)) for i in range(n))  # [()]: no 0-d arrays


def diagonal(formula: Callable[..., Any], squares: Sequence[Fraction], *times: Any) -> Diagonal:
    """The `Diagonal` with `formula(words, square, *times)` for each component; (m, F) where a time is a vector of m."""
    if not isinstance(times[0], torch.Tensor) and _is_exact(*times):
        entries = lambda words, *s: [formula(words, words.constant(q), *s) for q in squares]  # noqa: E731
        return Diagonal(gathered(entries, *times))
    times = torch.broadcast_tensors(*(torch.as_tensor(t, dtype=torch.float64) for t in times))
    row = torch.tensor([float(q) for q in squares], dtype=torch.float64)
    return Diagonal(formula(Words, row, *(t.unsqueeze(-1) for t in times)))


def _is_exact(*times: Any) -> bool:
    return any(t.dtype == object if isinstance(t, np.ndarray) else number(t)[0] is Mpmath for t in times)


def gathered(formula: Callable[..., Sequence], *times: Any, form: tuple[int, ...] = (-1,)) -> Any:
    """The numbers that `formula(words, *times)` returns, along the last axes, of this form, of one array or tensor."""
    arrays = [t for t in times if isinstance(t, np.ndarray)]
    if arrays:
        if all(a.dtype != object for a in arrays):
            return gathered(formula, *map(torch.as_tensor, times), form=form)
        rows = np.stack([gathered(formula, *row, form=form) for row in np.broadcast(*times)])
        return rows.reshape(np.broadcast_shapes(*map(np.shape, times)) + rows.shape[1:])
    kinds, values = zip(*map(number, times), strict=True)
    if Mpmath in kinds:
        from mpmath import mp

        with mp.workprec(mp.prec + 30):
            numbers = [mp.mpf(entry) for entry in formula(MpmathWords, *map(mp.mpf, values))]
        return np.array([+entry for entry in numbers], object).reshape(form)
    times = torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64) for v in values))
    parts = [torch.as_tensor(entry, dtype=torch.float64) for entry in formula(Words, *times)]
    return torch.stack([part.expand(times[0].shape) for part in parts], -1).reshape(times[0].shape + form)
