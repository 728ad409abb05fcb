"""Explicit Runge-Kutta methods of the least principal error among all of their order and number of stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import comb
from typing import Any

import numpy as np

from odekit.algebra.conditions import principal_error
from odekit.algebra.derive.derivation import Derivation, recipe
from odekit.algebra.derive.rk_forms import among, beside, made, tidy, whole
from odekit.algebra.derive.runge_kutta import CASES, family
from odekit.algebra.trees import Tree

NORMS = ("2", "bound")
PUBLISHED = {(2, "2"): "ralston", (2, "bound"): "ralston", (4, "bound"): "ralston4"}
_BOX = (-1.0, 2.0)


@recipe("minimum-error")
def minimum_error(order: Any, norm: str = "2", digits: Any = 40) -> Derivation:
    """The explicit method of order 2, 3 or 4 with the least principal error, in the 2-norm or in Lotkin's bound.

    `norm` "2" is the 2-norm over trees, the one of certificates. "bound" is the bound that Lotkin and Ralston minimise:
    y' = f(x, y) scalar, with |d^(i+j) f / dx^i dy^j| < L^(i+j) / M^(j-1), and the absolute coefficients of the
    monomials in these derivatives summed. Its minima lie where coefficients vanish, and are exact: Ralston's
    methods. In the 2-norm order 2 is exact; orders 3 and 4 are algebraic numbers printed to `digits`. They are the
    least critical points found from a grid on [-1, 2]^2; outside it the error is larger, and the one-parameter cases of
    the family have larger errors too.

    Source: Ralston 1962, Mathematics of Computation 16, 431-437; Lotkin 1951; Prince, Dormand 1981.

    >>> minimum_error(3, norm="bound").data["c"], minimum_error(3, norm="bound").data["b"]
    (['0', '1/2', '3/4'], ['2/9', '1/3', '4/9'])
    """
    order = whole("order", order, (2, 3, 4))
    norm, digits = among("norm", str(norm), NORMS), whole("digits", digits, range(15, 301))
    errors = error_terms(order)
    unknowns = sorted({x for e in errors.values() for x in e.free_symbols}, key=str)
    if norm == "2":
        value, exact = sum(e**2 for e in errors.values()), order == 2
        point = _stationary(value, unknowns, _lowest(value, unknowns), digits)
    else:
        parts, exact = list(monomials(errors).values()), True
        point = _corner(parts, unknowns, _lowest(sum(abs(part) for part in parts), unknowns))
    A, b = family(order)
    at = dict(zip(unknowns, point, strict=True))
    shown: Callable = tidy if exact else lambda x: x.evalf(digits)
    rows, weights = ([[shown(a.subs(at)) for a in row] for row in A], [shown(w.subs(at)) for w in b])
    values = ", ".join(f"{x} = {shown(v)}" for x, v in at.items())
    measure = "the 2-norm of the principal error" if norm == "2" else "Lotkin's bound of the principal error"
    published = [beside(PUBLISHED[order, norm], rows, weights)] if (order, norm) in PUBLISHED else []
    return made(
        f"minimum-error-{order}" + ("-bound" if norm == "bound" else ""),
        order,
        f"least {measure}; {CASES[order, 'generic'].source}",
        rows,
        weights,
        c=[0, *(shown(sum(row)) for row in rows[1:])],
        digits=None if exact else digits,
        route=[
            f"the family of all methods of order {order} with {len(b)} stages, in {', '.join(map(str, unknowns))}",
            f"{measure} is least at {values}",
        ],
        published=published,
    )


def error_terms(order: int, case: str = "generic") -> dict[Tree, Any]:
    """(Phi - 1/gamma)/sigma of the trees of one order more, expressions in the parameters of the case."""
    from sympy import sympify

    A, b = family(order, case)
    pair = [[*row, *[0] * (len(b) - len(row))] for row in A], b
    return {t: tidy(sympify(e)) for t, e in principal_error(pair, order).terms.items()}


def monomials(errors: dict[Tree, Any]) -> dict[tuple, Any]:
    """The principal error of y' = f(x, y), scalar: the coefficient of every product of derivatives of f.

    A product is the sorted orders (i, j) of its factors d^(i+j) f / dx^i dy^j; the powers of f follow from them.
    """
    total: Counter = Counter()
    for t, error in errors.items():
        for factors, times in _expanded(t).items():
            total[factors] = total[factors] + times * error
    return {factors: tidy(value) for factors, value in total.items()}


def _expanded(t: Tree) -> Counter:
    """A leaf is d/dx + f d/dy applied to the factor below it, any other branch d/dy."""
    leaves = sum(child.order == 1 for child in t.children)
    branches = [child for child in t.children if child.order > 1]
    out = Counter({((leaves - j, len(branches) + j),): comb(leaves, j) for j in range(leaves + 1)})
    for branch in branches:
        product: Counter = Counter()
        for left, m in out.items():
            for right, n in _expanded(branch).items():
                product[tuple(sorted(left + right))] += m * n
        out = product
    return out


def _lowest(value: Any, unknowns: Sequence) -> np.ndarray:
    """Where a function is least, to seven digits: the best point of a grid, then of finer ones around it."""
    import sympy

    function = sympy.lambdify(unknowns, value, "numpy")
    centre, half = np.full(len(unknowns), sum(_BOX) / 2), (_BOX[1] - _BOX[0]) / 2
    points = 3001 if len(unknowns) == 1 else 301
    for _ in range(16):
        axes = [np.linspace(x - half, x + half, points) + 1e-9 for x in centre]  # off the lines where weights blow up
        mesh = np.meshgrid(*axes, indexing="ij")
        with np.errstate(all="ignore"):
            found = np.nan_to_num(function(*mesh), nan=np.inf)
        centre = np.array([m.ravel()[found.argmin()] for m in mesh])
        half, points = half / 4, 33
    return centre


def _stationary(value: Any, unknowns: Sequence, near: np.ndarray, digits: int) -> list:
    """The critical point close by: exact for one unknown, else by Newton's iteration."""
    import mpmath
    import sympy

    slopes = [sympy.together(sympy.diff(value, x)) for x in unknowns]
    if len(unknowns) == 1:
        return [min(sympy.real_roots(sympy.numer(slopes[0])), key=lambda r: abs(float(r) - near[0]))]
    mp = mpmath.mp.clone()
    mp.dps = 2 * digits
    functions = [sympy.lambdify(unknowns, sympy.numer(slope), mp) for slope in slopes]
    root = mp.findroot(lambda *x: [f(*x) for f in functions], tuple(map(float, near)), tol=mp.mpf(10) ** (-3 * digits))
    return [sympy.Float(mp.nstr(x, 2 * digits), 2 * digits) for x in root]


def _corner(parts: Sequence, unknowns: Sequence, near: np.ndarray) -> list:
    """The exact least point of a sum of absolute values: on the kinks close by, stationary along them."""
    import sympy

    guess, point = dict(zip(unknowns, map(float, near), strict=True)), {}
    signed = sum(part if part.subs(guess) > 0 else -part for part in parts)
    while len(point) < len(unknowns):
        kinks = [sympy.numer(sympy.together(part.subs(point))) for part in parts]
        found = _vanishing(kinks, guess)
        if not found:
            x = next(x for x in unknowns if x not in point)
            found = _vanishing([sympy.numer(sympy.together(sympy.diff(signed.subs(point), x)))], guess)
        x = min(found[0].free_symbols, key=str)
        point[x] = min(sympy.roots(found[0], x), key=lambda root: abs(root.subs(guess) - guess[x]))
    return [sympy.sympify(point[x]).subs(point) for x in unknowns]


def _vanishing(expressions: Sequence, at: dict) -> list:
    """The factors that vanish close to a point, the simplest first."""
    import sympy

    factors = {f for e in expressions if e.free_symbols for f, _ in sympy.factor_list(e)[1]}
    near = [f for f in factors if f.free_symbols and abs(f.subs(at)) < 1e-4]
    return sorted(near, key=lambda f: (sympy.Poly(f).total_degree(), str(f)))
