"""Backward error analysis: the equation a method really solves, and the one it must be given to solve yours.

Neither needs a substitution law: the modified equation is the logarithm of the method; the modifying integrator is
found tree by tree, since the unknown field enters the method linearly at its highest order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.algebra.coproduct import cuts
from odekit.algebra.numbers import Algebraic, like, numbers
from odekit.algebra.runge_kutta import Scheme, contract, scheme, series
from odekit.algebra.series import Series
from odekit.algebra.series import exact as exact_flow
from odekit.algebra.trees import AlgebraError, table


def modified_equation(method: Any, order: int, exact: bool = True) -> Series:
    """The field whose exact flow is the method: a mapping from trees to coefficients, h^|t|/sigma normalisation.

    `method` is a Runge-Kutta method in any form of `runge_kutta.scheme`, or a Series (a map). With `exact=False` in
    float64. Source: Hairer, Lubich, Wanner, IX.1 and IX.9.

    >>> modified_equation("midpoint", 4)["[[tau]]"], sum(modified_equation("midpoint", 9).values())
    (Fraction(-1, 6), Fraction(19063, 26880))
    """
    return _map(method, order, exact).log()


def _map(method: Any, order: int, exact: bool) -> Series:
    if isinstance(method, Series):
        return (method if exact else method.map(float)).truncated(order)
    return series(method, order, exact)


def modifying_integrator(method: Any, order: int, exact: bool = True) -> Series:
    """The field to which the method must be applied so that it follows the exact flow of the given one.

    `method` is a consistent Runge-Kutta method in any form of `runge_kutta.scheme`; for several colours the trees with
    a root of colour v make up the v-th part of the field. Raises AlgebraError for an inconsistent method.
    Source: Chartier, Hairer, Vilmart 2007.

    >>> sum(modifying_integrator("midpoint", 5).values())
    Fraction(191, 120)
    """
    given = scheme(method, exact)
    trees, m, s = table(order, given.colours), given.colours, given.stages
    flow = exact_flow(order, m, 1 if exact else 1.0)
    # Coefficients of the field have weight 2(n - 1), those of the stages 2n: then every division below is exact.
    rise = np.maximum(2 * (trees.orders - 1), 0)
    entries = [a for A in given.A for row in A for a in row]
    parts = (entries, 2), ([w for b in given.b for w in b], 2), (flow.coefficients, rise), ([1], 2)
    (A, b, target, (one,)), leave = numbers(*parts)
    one = one.coefficients[0] if isinstance(one, Algebraic) else one
    A, b = A.reshape(m, s, s), b.reshape(m, s)
    _check_consistent(given, b, one)

    kept = cuts(order, m)
    kind = target.dtype
    c = np.zeros(len(trees), dtype=kind)  # the field looked for
    stages = np.zeros((len(trees), s), dtype=kind)  # stage series, and their products over children: forests
    forests = np.zeros((len(trees), s), dtype=kind)
    forests[1 : 1 + m] = 1
    for n in range(1, order + 1):
        here = slice(trees.first[n], trees.first[n + 1])
        if n > 1:
            forests[here] = forests[trees.trunk[here]] * stages[trees.branch[here]]
        at = kept.start[here.start - 1 : here.stop]
        terms = slice(at[0], at[-1])
        weight = c[kept.trunk[terms]] * like(target, kept.times[terms])
        rest = np.add.reduceat(forests[kept.forest[terms]] * weight[:, None], at[:-1] - at[0], axis=0)
        for colour in range(m):
            mine = trees.colour[here] == colour
            ids = np.arange(here.start, here.stop)[mine]
            known = contract(rest[mine], b[colour][None])[:, 0]
            c[ids] = target[ids] - (known if one == 1 else known // one)
            stages[ids] = contract(rest[mine] + c[ids][:, None], A[colour])
    return Series(trees, leave(c, rise))


def _check_consistent(given: Scheme, b: np.ndarray, one: Any) -> None:
    for weights, plain in zip(b, given.b, strict=True):
        off = sum(weights[1:], weights[0]) - one
        if abs(off) > 1e-12 if isinstance(off, float) else off != 0:
            raise AlgebraError(f"{given.name}: the weights sum to {sum(plain)}, not 1; no modifying integrator exists")
