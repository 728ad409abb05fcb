"""Polynomials in one variable with rational coefficients: real roots isolated and signs decided exactly.

A polynomial is a tuple of Fractions from the constant up, without zeros at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import zip_longest
from typing import Any

Polynomial = tuple[Fraction, ...]
WIDTH = Fraction(1, 10**25)
"""How closely real roots are enclosed."""


def polynomial(coefficients: Iterable) -> Polynomial:
    """The polynomial with these coefficients, the constant first."""
    found = [Fraction(c) for c in coefficients]
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def added(p: Polynomial, q: Polynomial, factor: Fraction | int = 1) -> Polynomial:
    """p + factor q."""
    return polynomial([a + factor * b for a, b in zip_longest(p, q, fillvalue=Fraction(0))])


def product(*factors: Polynomial) -> Polynomial:
    """The product of polynomials."""
    total = [Fraction(1)]
    for p in factors:
        out = [Fraction(0)] * max(len(p) + len(total) - 1, 0)
        for i, a in enumerate(p):
            for j, b in enumerate(total):
                out[i + j] += a * b
        total = out
    return polynomial(total)


def derivative(p: Polynomial) -> Polynomial:
    """p'."""
    return polynomial([k * c for k, c in enumerate(p)][1:])


def value(p: Polynomial, x: Fraction) -> Fraction:
    """p(x) by Horner's rule.

    >>> value(polynomial([1, 0, 1]), Fraction(2))
    Fraction(5, 1)
    """
    total = Fraction(0)
    for c in reversed(p):
        total = total * x + c
    return total


def real_roots(p: Polynomial) -> list[Fraction]:
    """The real roots in increasing order, each once: rational ones exactly where they come out so, others to 1e-25.

    >>> [float(x) for x in real_roots(polynomial([0, 0, -2, 0, 1]))]
    [-1.4142135623730951, 0.0, 1.4142135623730951]
    """
    if len(p) < 2:
        return []
    return [Fraction(int(b.p), int(b.q)) for (_, b), _ in _sympy(p).intervals(eps=_sympy_rational(WIDTH))]


def roots(p: Polynomial) -> list:
    """All complex roots, each once, as mpmath numbers of fifteen digits."""
    import mpmath

    if len(p) < 2:
        return []
    square_free = _sympy(p).sqf_part().all_coeffs()
    with mpmath.workdps(30):
        return mpmath.polyroots([mpmath.mpf(int(c.p)) / int(c.q) for c in square_free], maxsteps=200, extraprec=60)


def first_positive(p: Polynomial) -> Fraction | None:
    """The largest r such that p <= 0 on [0, r]; None where p is never positive on the positive axis.

    >>> first_positive(polynomial([0, -3, 4, -1]))  # -x (x - 1) (x - 3), negative at first
    Fraction(1, 1)
    """
    marks = [Fraction(0), *(r for r in real_roots(p) if r > 0)]
    for left, right in zip(marks, [*marks[1:], marks[-1] + 1], strict=True):
        if value(p, (left + right) / 2) > 0:
            return left
    return None


def _sympy(p: Polynomial) -> Any:
    from sympy import QQ, Dummy, Poly

    return Poly([_sympy_rational(c) for c in reversed(p)], Dummy(), domain=QQ)


def _sympy_rational(x: Fraction) -> Any:
    from sympy import Rational

    return Rational(x.numerator, x.denominator)
