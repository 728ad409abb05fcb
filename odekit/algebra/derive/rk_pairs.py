"""Embedded weights for a Runge-Kutta method: all of them, from linear conditions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from odekit.algebra.derive.derivation import Derivation, Difference, recipe
from odekit.algebra.derive.rk_forms import made, solved, tidy, whole
from odekit.algebra.numbers import is_zero
from odekit.algebra.runge_kutta import series, tableau
from odekit.algebra.trees import AlgebraError


@recipe("embedded-pair")
def embedded_pair(method: Any, embedded_order: Any = None, extend: Any = False) -> Derivation:
    """All embedded weights of a method, of its order less one, as an affine family in the weights left free.

    `method` is a name, a file, a Tableau or a Derivation with exact entries; `extend` adds the stage f(y1), free in the
    next step (first same as last). The conditions are linear in the weights; where only the method's own weights solve
    them there is no pair, and AlgebraError says so. The defaults are the published weights where the catalogue has
    them, else 1/10 beside the method's own.

    Source: Hairer, Norsett, Wanner I, section II.4.

    >>> pair = embedded_pair("bs3")
    >>> pair.data["b_embedded"], pair.free
    (['(bhat3 + 2*bhat4)/2', '-(3*bhat3 + 4*bhat4 - 2)/2', 'bhat3', 'bhat4'], {'bhat3': '1/3', 'bhat4': '1/8'})
    >>> embedded_pair("rk4")
    Traceback (most recent call last):
    ...
    odekit.algebra.trees.AlgebraError: rk4: only its own weights are of order 3; extend=True adds the stage f(y1)
    """
    found = tableau(method.method if isinstance(method, Derivation) else method)
    if found.digits is not None:
        raise AlgebraError(f"{found.name} is printed to {found.digits} digits; exact weights need exact entries")
    extend = str(extend).lower() in ("true", "yes", "1")
    if found.order < 2:
        raise AlgebraError(f"{found.name} is of order 1; an embedded method is of order 1 or more, below the order")
    lower = (
        found.order - 1 if embedded_order is None else whole("embedded_order", embedded_order, range(1, found.order))
    )
    A, b = [list(row) for row in found.exact.A], list(found.exact.b)
    if extend:
        if found.fsal:
            raise AlgebraError(f"{found.name}: its last stage is already at the new point")
        A, b = [*[[*row, 0] for row in A], [*b, 0]], [*b, Fraction(0)]
    weights = _weights(found.name, A, b, lower, extend)
    free = [w for w in weights if weights[w] == w]
    printed = found.b_embedded if found.embedded_order == lower and not extend else None
    own = dict(zip(weights, b, strict=True))
    defaults = {
        str(w): printed[i] if printed else str(tidy(own[w] + Fraction(1, 10)))
        for i, w in enumerate(weights)
        if w in free
    }
    return made(
        f"{found.name}-{found.order}({lower})",
        found.order,
        found.source,
        A,
        b,
        parameters=defaults,
        embedded=(list(weights.values()), lower),
        route=[
            f"all solutions of the linear conditions to order {lower}, free in {', '.join(defaults)}",
            f"the method's own weights are the member {', '.join(f'{w} = {tidy(own[w])}' for w in free)}",
        ],
        published=[_compared(found, weights, defaults)] if printed else [],
    )


def _weights(name: str, A: list, b: list, order: int, extended: bool) -> dict[Any, Any]:
    """The weights of `order`, the method's own among them."""
    from sympy import Rational, symbols

    s = len(b)
    unknowns = symbols(f"bhat1:{s + 1}")
    columns = [series((A, [int(i == j) for j in range(s)]), order) for i in range(s)]
    trees = [t for n in range(1, order + 1) for t in columns[0].of_order(n)]
    rows = [sum(column[t] * w for column, w in zip(columns, unknowns, strict=True)) for t in trees]
    found = solved([row - Rational(1, t.density) for row, t in zip(rows, trees, strict=True)], unknowns)
    if not any(value.free_symbols for value in found.values()):
        hint = "" if extended else "; extend=True adds the stage f(y1)"
        raise AlgebraError(f"{name}: only its own weights are of order {order}{hint}")
    return found


def _compared(found: Any, weights: dict[Any, Any], defaults: dict[str, str]) -> Difference:
    """The family at the defaults beside the printed weights."""
    from sympy import sympify

    values = [weights[w].subs({k: sympify(v) for k, v in defaults.items()}) for w in weights]
    same = all(is_zero(tidy(v - sympify(p))) for v, p in zip(values, found.exact.b_embedded, strict=True))
    return Difference(f"embedded weights of {found.name}", found.source, "" if same else "no member of the family")
