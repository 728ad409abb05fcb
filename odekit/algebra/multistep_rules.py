"""The coefficients of interpolating multistep formulas on any nodes: numbers, vectors of them, or rational functions.

On symbolic nodes everything is a polynomial once the oldest step is the unit; quotients are formed last, from known
factors, so that no greatest common divisor of large polynomials is ever sought.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

Coefficients = tuple[tuple[Any, ...], tuple[Any, ...]]
"""(alpha, beta), from the newest point back."""


def _polynomial_nodes(points: Sequence[Any]) -> tuple[list[Any], Any]:
    """The nodes times a unit, and the unit: polynomials where they are rational functions, else as they are."""
    if not hasattr(points[0], "field"):
        return list(points), points[0]
    unit = points[-1].denom
    scale = points[0].field(unit)
    return [(c * scale).numer for c in points], unit


def _quotient(above: Sequence[Any], below: Sequence[Any], like: Any) -> Any:
    """The product of some factors over that of others, in the field `like` lies in."""
    if not hasattr(like, "field"):
        return prod(above, start=like * 0 + 1) / prod(below)
    above, below = list(above), list(below)
    for factor in list(below):
        for i, numerator in enumerate(above):
            quotient, rest = divmod(numerator, factor)
            if not rest:
                above[i] = quotient
                below.remove(factor)
                break
    numerator, denominator = prod(above, start=like.field.ring.one), prod(below, start=like.field.ring.one)
    shared = tuple(min(*ks) for ks in zip(*numerator.monoms(), *denominator.monoms(), strict=True)) if numerator else ()
    if any(shared):
        monomial = like.field.ring({shared: like.field.ring.domain.one})
        numerator, denominator = numerator.exquo(monomial), denominator.exquo(monomial)
    content = denominator.LC
    return like.field.raw_new(numerator.mul_ground(1 / content), denominator.mul_ground(1 / content))


def _without(points: Sequence[Any], j: int) -> list[Any]:
    """The coefficients, from the constant up, of the polynomial that vanishes at all points but the j-th."""
    coefficients = [points[j] * 0 + 1]
    for i, c in enumerate(points):
        if i != j:
            shifted = [points[j] * 0, *coefficients]
            for k, v in enumerate(coefficients):
                shifted[k] = shifted[k] - c * v
            coefficients = shifted
    return coefficients


def _integral(coefficients: Sequence[Any], upper: Any) -> Any:
    total = upper * 0
    for k in reversed(range(len(coefficients))):
        total = (total + coefficients[k] / (k + 1)) * upper
    return total


def quadrature(points: Sequence[Any], alpha: Sequence[Any], used: Sequence[int]) -> tuple[Any, ...]:
    """The beta on the points numbered in `used` for which a method with these alpha (numbers) has the highest order.

    beta_j = sum_i alpha_i int^{c_i} l_j. Source: Hairer, Norsett, Wanner I, theorem III.2.4 (for given rho).

    >>> from fractions import Fraction
    >>> [str(b) for b in quadrature([Fraction(1), Fraction(0), Fraction(-1)], [1, 0, -1], [0, 1, 2])]
    ['1/3', '4/3', '1/3']
    """
    scaled, unit = _polynomial_nodes(points)
    beta: list[Any] = [0] * len(points)
    chosen = [scaled[j] for j in used]
    for k, j in enumerate(used):
        polynomial = _without(chosen, k)
        total = scaled[0] * 0
        for a, c in zip(alpha, scaled, strict=True):
            if a != 0:
                total = total + _integral(polynomial, c) * a
        factors = [chosen[k] - c for i, c in enumerate(chosen) if i != k]
        beta[j] = _quotient([total], [unit, *factors], points[0])
    return tuple(beta)


def integrating(points: Sequence[Any], back: int, first: int, count: int) -> Coefficients:
    """y(1) - y(c_back) = the integral of the interpolant of `count` derivatives, from the `first` point on."""
    alpha = [0] * len(points)
    alpha[0], alpha[back] = 1, -1
    return tuple(alpha), quadrature(points, alpha, range(first, first + count))


def differentiating(points: Sequence[Any]) -> Coefficients:
    """f at the newest point is the slope there of the polynomial through the values at all points; alpha_0 = 1."""
    scaled, unit = _polynomial_nodes(points)
    ahead = [scaled[0] - c for c in scaled]
    count = len(points)
    others = [prod(ahead[1:j] + ahead[j + 1 :], start=ahead[0] * 0 + 1) for j in range(1, count)]
    slope = sum(others[1:], start=others[0])  # of the polynomial for the newest point, there
    alpha: list[Any] = [1]
    for j in range(1, count):
        factors = [scaled[j] - c for i, c in enumerate(scaled) if i not in (0, j)]
        alpha.append(-_quotient([others[j - 1], others[j - 1]], [slope, *factors], points[0]))
    return tuple(alpha), (_quotient(ahead[1:], [unit, slope], points[0]), *[0] * (count - 1))
