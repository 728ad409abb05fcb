"""The conditions of stochastic Runge-Kutta methods derived from trees, against which the published lists are held.

A method is of strong order p if Phi(t) = phi(t) for all trees to order p, and in the mean to order p + 1/2; of weak
order p if the means of all products of Phi are those of phi to order p + 1/2.
Source: Burrage, Burrage 2000; Roessler 2006; Debrabant, Kvaernoe 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from odekit.algebra.stochastic import Weight, stochastic_conditions
from odekit.algebra.stochastic_trees import (
    Class,
    Plain,
    Polynomial,
    Powers,
    exact_mean,
    forests_of,
    ito_integral,
    numeric,
    strong_class,
    trees_of,
    weak_class,
)
from odekit.algebra.trees import AlgebraError


def derived(family: str, order: Any) -> list[dict[str, Fraction]]:
    """The strong conditions of "SRA" or "SRI" as reduced linear equations: {weight: factor, "": the right side}.

    >>> len(derived("SRI", 1)), len(derived("SRI", "3/2")), len(derived("SRA", "3/2"))
    (9, 25, 8)
    """
    method, top = strong_class(family), int(2 * Fraction(order))
    equations = []
    for weight in range(1, top + 2):
        for tree in trees_of(weight, 1, family == "SRA"):
            parts = numeric(tree, method)
            if weight <= top:
                exact = ito_integral(tree)
                for m in {m for p in (exact, *parts.values()) for m in p}:
                    row = {str(w): p[m] for w, p in parts.items() if m in p}
                    equations.append(row | {"": exact.get(m, Fraction(0))})
            else:
                row = {str(w): _gaussian_mean(p) for w, p in parts.items()}
                equations.append(row | {"": exact_mean((tree,))})
    return reduced(equations)


def published(family: str, order: Any) -> list[dict[str, Fraction]]:
    """The published strong conditions in the same form."""
    rows = []
    for c in stochastic_conditions(family, order):
        rows.append({str(weights[0]): factor for factor, weights in c.terms} | {"": c.value})
    return reduced(rows)


def reduced(equations: list[dict[str, Fraction]]) -> list[dict[str, Fraction]]:
    """Linear equations in reduced echelon form, by weight; raises AlgebraError where they contradict each other."""
    found: list[tuple[str, dict[str, Fraction]]] = []
    for row in equations:
        row = {k: v for k, v in row.items() if v}
        for pivot, known in found:
            row = _less(row, known, row.get(pivot, Fraction(0)))
        if set(row) <= {""}:
            if row:
                raise AlgebraError(f"the conditions contradict each other: 0 = {row['']}")
            continue
        pivot = max(k for k in row if k)
        row = {k: v / row[pivot] for k, v in row.items()}
        found = [(p, _less(r, row, r.get(pivot, Fraction(0)))) for p, r in found] + [(pivot, row)]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _less(row: dict[str, Fraction], other: Mapping[str, Fraction], factor: Fraction) -> dict[str, Fraction]:
    if not factor:
        return row
    total = {k: row.get(k, Fraction(0)) - factor * other.get(k, Fraction(0)) for k in {*row, *other}}
    return {k: v for k, v in total.items() if v}


def _gaussian_mean(p: Polynomial) -> Fraction:
    """E at h = 1 of a polynomial in s, W and Z: E W^2 = 1, E W Z = 1/2, E Z^2 = 1/3."""

    def moment(w: int, z: int) -> Fraction:
        if (w + z) % 2:
            return Fraction(0)
        if w == z == 0:
            return Fraction(1)
        if w:  # pair one W with the others
            first = (w - 1) * moment(w - 2, z) if w > 1 else Fraction(0)
            return first + (Fraction(z, 2) * moment(w - 1, z - 1) if z else 0)
        return Fraction(z - 1, 3) * moment(0, z - 2)

    return sum((c * moment(m[1], m[2]) for m, c in p.items()), start=Fraction(0))


# Weak order: means of products.


def weak_defects(
    family: str,
    order: int,
    noises: int,
    values: Callable[[Weight], Any] | None = None,
    method: Class | None = None,
) -> dict[tuple, Any]:
    """Forests on which the mean of a method is not that of the solution, with the difference at h = 1.

    `values` gives the weights of one method. Without it, the published conditions are put in (with beta1 = 1, one of
    its two signs) and all other weights are left open: an empty result proves that these conditions suffice. `method`
    is `weak_class(family, noises)` unless other random variables are to be tried.

    >>> weak_defects("RI", 1, 2)
    {}
    """
    method, ito = method or weak_class(family, noises), family == "RI"
    known = values or _known(family, order)
    phi: dict[Plain, dict[tuple, Any]] = {}
    found = {}
    for weight in range(1, 2 * order + 2):
        for forest in forests_of(weight, noises):
            total: dict[tuple, Any] = {((0,) * len(method.variables), ()): Fraction(1)}
            for t in forest:
                if t not in phi:
                    phi[t] = _evaluated(numeric(t, method), known)
                total = _multiplied(total, phi[t])
                if not total:
                    break
            rest: dict[tuple, Any] = {(): -exact_mean(forest, ito)}
            for (m, open_weights), c in total.items():
                moment = _discrete_mean(m, noises)
                if moment:
                    key, c = _settled(open_weights, c)
                    rest[key] = rest.get(key, 0) + c * moment
            wrong = {k: v for k, v in rest.items() if (abs(v) > 1e-12 if isinstance(v, float) else v != 0)}
            if wrong:
                found[forest] = wrong
    return found


def _known(family: str, order: int) -> Callable[[Weight], Any]:
    """The weights that the published conditions fix; None for the others."""
    table: dict[Weight, Fraction] = {}
    for c in stochastic_conditions(family, order):
        ((factor, weights),) = c.terms
        last = weights[-1]
        if str(last) == "beta1":
            table[last] = Fraction(1)
        elif len(set(weights)) == len(weights):  # beta1 times another weight, or one weight
            table[last] = c.value / factor
    return table.get


def _settled(open_weights: tuple[str, ...], c: Any) -> tuple[tuple[str, ...], Any]:
    """(beta2[B2])^2 = 1/4 is the one condition that fixes a weight only up to its sign."""
    while open_weights.count("beta2[B2]") > 1:
        rest = list(open_weights)
        rest.remove("beta2[B2]")
        rest.remove("beta2[B2]")
        open_weights, c = tuple(rest), c / 4
    return open_weights, c


def _evaluated(parts: dict[Weight, Polynomial], known: Callable[[Weight], Any]) -> dict[tuple, Any]:
    total: dict[tuple, Any] = {}
    for w, p in parts.items():
        value = known(w)
        label = () if value is not None else (str(w),)
        for m, c in p.items():
            key = (m, label)
            total[key] = total.get(key, 0) + c * (1 if value is None else value)
    return {k: v for k, v in total.items() if v != 0}


def _multiplied(a: dict[tuple, Any], b: dict[tuple, Any]) -> dict[tuple, Any]:
    total: dict[tuple, Any] = {}
    for (m, u), c in a.items():
        for (n, v), d in b.items():
            key = (tuple(map(sum, zip(m, n, strict=True))), tuple(sorted(u + v)))
            total[key] = total.get(key, 0) + c * d
    return {k: v for k, v in total.items() if v != 0}


def _discrete_mean(m: Powers, noises: int) -> int:
    """E at h = 1: I_k is 0 or +-sqrt(3) (2/3, 1/6, 1/6), J_k is +-1."""
    if any(k % 2 for k in m[1:]):
        return 0
    value = 1
    for k in m[1 : noises + 1]:
        value *= 3 ** (k // 2 - 1) if k else 1
    return value
