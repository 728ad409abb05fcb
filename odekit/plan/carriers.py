"""Tables of operators: what the entries of a plan's tables are, and how tables of one carrier multiply.

A table has axes of its own in front (steps, rows, columns) and those of its carrier behind: none for numbers, (F,) for
`Diagonal`, (2, 2) for `Block`. Torch tensors and object arrays of mpmath numbers alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
