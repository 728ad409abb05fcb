"""Conjugacy: a map chi^-1, Phi, chi shares the long-time behaviour of Phi, which may be better than Phi's own order.

Order by order, the field c of the map changes by [tau, beta] when it is conjugated with the flow of a field beta of one
order less; what a set of linear relations asks of c is then a linear system for beta.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from odekit.algebra.coproduct import cuts
from odekit.algebra.numbers import is_zero
from odekit.algebra.series import Series, compose, field, identity
from odekit.algebra.structure import TOLERANCE, Verdict, pairs
from odekit.algebra.trees import AlgebraError, Trees, table

Relations = Callable[[Trees, int, np.ndarray], list[tuple[str, Any]]]


def conjugate_to_exact(a: Series) -> Verdict:
    """To which order the map is conjugate to the exact flow: its effective order.

    Source: Butcher 1969, The effective order of Runge-Kutta methods; Butcher, Sanz-Serna 1996.

    >>> from odekit.algebra.runge_kutta import series
    >>> conjugate_to_exact(series("heun2", 5))
    Verdict(property='conjugate to the exact flow', order=2, holds=False, failing='[[tau]] at order 3')
    """
    return _conjugate("conjugate to the exact flow", a, _all)[0]


def processor(a: Series) -> Series:
    """The map chi for which chi^-1, then `a`, then chi is the exact flow to the effective order of `a`.

    >>> from odekit.algebra.runge_kutta import series
    >>> from odekit.algebra.series import exact
    >>> euler = series("euler", 3).adjoint().then(series("euler", 3))  # implicit, then explicit, with steps h
    >>> chi = processor(euler.scaled(Fraction(1, 2)))
    >>> compose(chi.inverse(), euler.scaled(Fraction(1, 2)), chi).truncated(2) == exact(2)
    True
    """
    return _conjugate("conjugate to the exact flow", a, _all)[1]


def conjugate_symplectic(a: Series) -> Verdict:
    """To which order the map is conjugate to a symplectic one. Source: Hairer, Lubich, Wanner, VI.8.

    >>> from odekit.algebra.runge_kutta import series
    >>> bool(conjugate_symplectic(series("trapezoidal", 6))), conjugate_symplectic(series("midpoint", 6)).order
    (True, 3)
    """
    return _conjugate("conjugate symplectic", a, _symplectic)[0]


def _all(trees: Trees, n: int, values: np.ndarray) -> list[tuple[str, Any]]:
    return [(str(trees[i]), values[i]) for i in trees.of_order(n)]


def _symplectic(trees: Trees, n: int, values: np.ndarray) -> list[tuple[str, Any]]:
    u, v = pairs(trees, n)
    gap = values[trees.graft(u, v)] + values[trees.graft(v, u)]
    return [(f"{trees[i]} o {trees[j]}", row) for i, j, row in zip(u, v, gap, strict=True)]


def _conjugate(name: str, a: Series, relations: Relations) -> tuple[Verdict, Series]:
    """Remove what can be removed, order by order.

    Choices at one order do not matter at the next: fields that satisfy the relations form a Lie algebra, and they are
    all that [tau, .] leaves within the relations.
    """
    if a.colours > 1:
        raise AlgebraError("conjugacy is decided for trees of one colour")
    if not is_zero(a["tau"] - 1, TOLERANCE if a.coefficients.dtype != object else 0):
        raise AlgebraError(f"an inconsistent map ({a['tau']} at tau) has no order to improve")
    chi = identity(a.order)
    for n in range(2, a.order + 1):
        error = (compose(chi.inverse(), a, chi).log() - field(a.order)).coefficients
        wanted = relations(a.trees, n, error)
        effects = [row for _, row in relations(a.trees, n, _bracket_with_tau(n))]
        beta, failing = _solved(effects, [value for _, value in wanted])
        if failing is not None:
            return Verdict(name, n - 1, False, f"{wanted[failing][0]} at order {n}"), chi
        coefficients = [Fraction(0)] * len(a.trees)
        coefficients[a.trees.first[n - 1] : a.trees.first[n]] = beta
        chi = chi.then(Series(a.trees, coefficients).exp())
    return Verdict(name, a.order, True), chi


def _bracket_with_tau(n: int) -> np.ndarray:
    """[tau, beta] over ids to order n, a column for each tree beta of order n - 1."""
    trees, kept = table(n), cuts(n)
    first = trees.first[n - 1]
    out = np.zeros((len(trees), trees.first[n] - first), dtype=np.int64)
    leaf = (kept.forest == trees.first[2]) & (trees.orders[kept.trunk] == n - 1)  # the forest of one single vertex
    np.add.at(out, (kept.tree[leaf] + 1, kept.trunk[leaf] - first), kept.times[leaf])
    for i in trees.of_order(n - 1):
        out[trees.graft(1, i), i - first] -= 1
    return out


def _solved(effects: list[np.ndarray], errors: list) -> tuple[list, int | None]:
    """beta with effects beta + errors = 0, and the number of the first relation that no beta satisfies.

    Exact elimination, row by row; errors may be of any ring, so they are only ever multiplied by rationals.
    """
    pivots: dict[int, tuple[dict[int, Fraction], Any]] = {}
    tolerance = TOLERANCE if any(isinstance(e, float) for e in errors) else 0
    for number, (effect, error) in enumerate(zip(effects, errors, strict=True)):
        row, right = {int(j): Fraction(int(effect[j])) for j in np.flatnonzero(effect)}, -error
        while row:
            column = min(row)
            if column not in pivots:
                scale = 1 / row[column]
                pivots[column] = {j: v * scale for j, v in row.items()}, right * scale
                break
            factor = row[column]
            other, value = pivots[column]
            for j, v in other.items():
                row[j] = row.get(j, 0) - factor * v
                if not row[j]:
                    del row[j]
            right = right - value * factor
        else:
            if not is_zero(right, tolerance):
                return [], number
    beta: list[Any] = [Fraction(0)] * len(effects[0])
    for column in sorted(pivots, reverse=True):
        row, right = pivots[column]
        beta[column] = right - sum((beta[j] * v for j, v in row.items() if j != column), start=Fraction(0))
    return beta, None
