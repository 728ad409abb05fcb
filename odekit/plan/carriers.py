"""Tables of operators: what the entries of a plan's tables are, and how tables of one carrier multiply.

A table has axes of its own in front (steps, rows, columns) and those of its carrier behind: none for numbers, (F,) for
`Diagonal`, (n, n) for `Block`. Torch tensors and object arrays of mpmath numbers alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from odekit.operators import Operator, Scalar, identity


def widest(coefficients: Iterable[Any]) -> Operator:
    """One of the coefficients whose carrier fits all of them; the identity where all are numbers."""
    return next((c for c in coefficients if isinstance(c, Operator) and c.own_axes), identity)


def valued(coefficient: Any, carrier: Operator) -> Any:
    """The value of a coefficient, a number or an operator, in the carrier of another operator."""
    if not isinstance(coefficient, Operator):
        if not carrier.own_axes:
            return coefficient
        coefficient = Scalar(coefficient)
    return coefficient.value if coefficient.own_axes == carrier.own_axes else (coefficient + 0 * carrier).value


def embedded(table: Any, form: tuple[int, ...]) -> Any:
    """A table of numbers (a, rows, columns) as one of operators of the form (F,) or (n, n); others as they are."""
    if not form or table.ndim > 3:
        return table
    one = np.eye(*form) if len(form) == 2 else np.ones(form)
    one = torch.from_numpy(one) if torch.is_tensor(table) else one.astype(table.dtype)
    return table[(..., *(None for _ in form))] * one


def composed(a: Any, b: Any, own_axes: int) -> Any:
    """Coefficients after coefficients, entry by entry."""
    return a @ b if own_axes == 2 else a * b


def product(a: Any, b: Any, own_axes: int) -> Any:
    """The table (R, C, *own) of (R, K, *own) after (K, C, *own)."""
    return folded(flat(a, own_axes) @ flat(b, own_axes), tuple(a.shape[2:]))


def flat(table: Any, own_axes: int) -> Any:
    """A table (R, C, *own) as numbers: (F, R, C) for F components, (nR, nC) for blocks."""
    if own_axes == 1:
        return table.swapaxes(0, 2).swapaxes(1, 2)
    if own_axes == 2:
        rows, columns, n, _ = table.shape
        return table.swapaxes(1, 2).reshape(n * rows, n * columns)
    return table


def folded(values: Any, form: tuple[int, ...]) -> Any:
    """The table whose `flat` form this is, its coefficients of the form (), (F,) or (n, n)."""
    if len(form) == 1:
        return values.swapaxes(1, 2).swapaxes(0, 2)
    if len(form) == 2:
        n = form[0]
        rows, columns = (count // n for count in values.shape)
        return values.reshape(rows, n, columns, n).swapaxes(1, 2)
    return values
