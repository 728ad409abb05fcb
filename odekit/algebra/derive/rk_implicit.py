"""Diagonally implicit Runge-Kutta methods of orders 2, 3 and 4."""

from __future__ import annotations

from functools import cache
from math import comb, factorial
from typing import Any, NamedTuple

from odekit.algebra.derive.derivation import Derivation, recipe
from odekit.algebra.derive.rk_forms import (
    among,
    beside,
    expression,
    made,
    number,
    proved,
    quadrature,
    solved,
    tidy,
    whole,
)
from odekit.algebra.trees import AlgebraError


class Design(NamedTuple):
    """Nodes in gamma, the recommended root, the catalogue's name, the source."""

    nodes: tuple[str, ...]
    root: int
    known: str
    source: str


DESIGNS: dict[tuple[int, str], Design] = {
    (2, "L"): Design(("gamma", "1"), 0, "sdirk2", "Alexander 1977"),
    (3, "L"): Design(("gamma", "(1+gamma)/2", "1"), 1, "sdirk3", "Alexander 1977"),
    (2, "A"): Design(("gamma",), 0, "implicit-midpoint", "Norsett 1974; Crouzeix 1975"),
    (3, "A"): Design(("gamma", "1-gamma"), 1, "crouzeix-3", "Norsett 1974; Crouzeix 1975"),
    (4, "A"): Design(("gamma", "1/2", "1-gamma"), 2, "", "Norsett 1974; Crouzeix 1975; Crouzeix, Raviart 1980"),
}


@recipe("sdirk")
def sdirk(order: Any, stable: str = "L", root: Any = None, digits: Any = 40) -> Derivation:
    """Singly diagonally implicit methods: L-stable of orders 2 to 4, A-stable of orders 2 to 4 with one stage less.

    "L": s = order stages, stiffly accurate, R(infinity) = 0; order 4 has five stages and gamma = 1/4. "A": order s + 1.
    In both cases gamma is a root of a polynomial: `root` counts its roots from the smallest, 1; without it the root
    that is stable, of two the one with the smaller error. Cubic irrationals are printed to `digits`. "family", of order
    2, leaves gamma and c2 free: A-stable iff gamma >= 1/4, L-stable iff gamma = 1 +- sqrt(2)/2 (the defaults are two
    implicit midpoint steps).

    Source: Norsett 1974; Crouzeix 1975; Alexander 1977; Hairer, Wanner II, section IV.6.

    >>> sdirk(2).data["A"], sdirk(2).certificate().stability.is_l_stable
    ([['1 - sqrt(2)/2'], ['sqrt(2)/2', '1 - sqrt(2)/2']], True)
    >>> sdirk(3, stable="A").data["c"]
    ['sqrt(3)/6 + 1/2', '1/2 - sqrt(3)/6']
    """
    order, digits = whole("order", order, (2, 3, 4)), whole("digits", digits, range(15, 301))
    if among("stable", stable, ("A", "L", "family")) == "family":
        return _second_order_family(order)
    if (order, stable) == (4, "L"):
        return _five_stages()
    design, s = DESIGNS[order, stable], order - (stable == "A")
    A, b, condition = single(order, stable)
    roots = condition.all_roots()
    chosen = design.root if root is None else whole("root", root, range(1, len(roots) + 1)) - 1
    gamma, exact = roots[chosen], condition.degree() <= 2

    def value(entry: Any) -> Any:
        return (
            tidy(entry.subs(condition.gen, gamma))
            if exact
            else entry.subs(condition.gen, gamma.evalf(3 * digits)).evalf(digits)
        )

    rows, weights = [[value(a) for a in row] for row in A], [value(w) for w in b]
    published = [beside(design.known, rows, weights)] if design.known and root is None else []
    what = f"R(infinity) = 0 and order {order}" if stable == "L" else f"order {s} + 1"
    route = [
        f"gamma is root {chosen + 1} of {condition.as_expr()} = 0: {what} for R with the denominator (1 - gamma z)^{s}",
        f"all conditions to order {order} hold modulo this polynomial",
    ]
    name = f"sdirk-{order}" + ("" if stable == "L" else "-a") + ("" if root is None else f"-root{chosen + 1}")
    c = [value(expression(node, "gamma")) for node in design.nodes]
    return made(
        name,
        order,
        design.source,
        rows,
        weights,
        c=c,
        digits=None if exact else digits,
        route=route,
        published=published,
    )


@cache
def single(order: int, stable: str) -> tuple[list[list], list, Any]:
    """A and b in gamma, and the polynomial of gamma modulo which every condition holds."""
    import sympy

    from odekit.algebra.conditions import residuals

    gamma = sympy.Symbol("gamma")
    c = [expression(node, "gamma") for node in DESIGNS[order, stable].nodes]
    s = len(c)
    degree = s if stable == "L" else s + 1
    terms = [sympy.Rational((-1) ** j * comb(s, j), factorial(degree - j)) * gamma**j for j in range(s + 1)]
    condition = sympy.Poly(sum(terms), gamma)
    b = sympy.symbols(f"b1:{s + 1}")
    weights = solved(quadrature(c, s, b), b)
    b = [weights[w] for w in b]
    A = [[c[i] - gamma, gamma][-i - 1 :] if i else [gamma] for i in range(s)]
    if s == 3:
        a32 = sympy.Symbol("a32")
        A[2] = [c[2] - gamma - a32, a32, gamma]
        twice = sum(w * sum(a * x for a, x in zip(row, c, strict=False)) for w, row in zip(b, A, strict=True))
        last = solved([twice - sympy.Rational(1, 6)], [a32])
        A[2] = [tidy(x.subs(last)) for x in A[2]]
    square = [[*row, *[0] * (s - len(row))] for row in A]
    for t, gap in residuals((square, b), order).items():
        if t.order and sympy.rem(sympy.numer(sympy.together(sympy.sympify(gap))), condition.as_expr(), gamma) != 0:
            raise AlgebraError(f"the condition of {t} does not hold for the roots of {condition.as_expr()}")
    return A, b, condition


def _second_order_family(order: int) -> Derivation:
    import sympy

    if order != 2:
        raise AlgebraError(f"the family with gamma free is that of order 2, not {order}: order 3 fixes gamma")
    gamma, c2 = sympy.symbols("gamma c2")
    weight = (sympy.Rational(1, 2) - gamma) / (c2 - gamma)
    A, b = [[gamma], [tidy(c2 - gamma), gamma]], [tidy(1 - weight), tidy(weight)]
    proved("the family", [[gamma, 0], A[1]], b, 2)
    route = ["two stages: the weights from the moments", "excluded: c2 - gamma = 0", "A-stable iff gamma >= 1/4"]
    values = {"gamma": "1-sqrt(2)/2", "c2": "1"}
    defaults = {"gamma": "1/4", "c2": "3/4"}
    published = [beside("sdirk2", A, b, values)]
    source = "Hairer, Wanner II, section IV.6"
    return made("sdirk-2-family", 2, source, A, b, c=[gamma, c2], parameters=defaults, route=route, published=published)


def _five_stages() -> Derivation:
    """Stiffly accurate, gamma = 1/4, nodes of Hairer and Wanner: b from the moments, A from linear conditions."""
    import sympy

    c = [sympy.Rational(x) for x in ("1/4", "3/4", "11/20", "1/2", "1")]
    gamma, b = c[0], [*sympy.symbols("b1:5"), c[0]]
    b = [*solved(quadrature(c, 4, b), b[:4]).values(), gamma]
    a = {(i, j): sympy.Symbol(f"a{i + 1}{j + 1}") for i in (2, 3) for j in range(1, i)}
    A = [[gamma], [c[1] - gamma, gamma]]
    A += [[c[i] - gamma - sum(a[i, j] for j in range(1, i)), *(a[i, j] for j in range(1, i)), gamma] for i in (2, 3)]
    A.append(b)
    moments = [sum(A[i][j] * c[j] ** k for j in range(len(A[i]))) for i in range(5) for k in (1, 2)]
    once, twice = moments[0::2], moments[1::2]
    R = sympy.Rational
    conditions = [
        sum(w * m for w, m in zip(b, once, strict=True)) - R(1, 6),
        sum(w * x * m for w, x, m in zip(b, c, once, strict=True)) - R(1, 8),
        sum(w * m for w, m in zip(b, twice, strict=True)) - R(1, 12),
    ]
    found = solved(conditions, list(a.values()))
    A = [[tidy(sympy.sympify(x).subs(found)) for x in row] for row in A]
    proved("sdirk-4", [[*row, *[0] * (5 - len(row))] for row in A], b, 4)
    route = [
        "gamma = 1/4, stiffly accurate, nodes 1/4, 3/4, 11/20, 1/2, 1: the weights from the moments, A linear",
        "the last condition, [[[tau]]], holds for these nodes",
    ]
    source = "Hairer, Wanner II, section IV.6, (6.16)"
    return made("sdirk-4", 4, source, A, b, c=c, route=route, published=[beside("sdirk4", A, b)])


@recipe("esdirk")
def esdirk(gamma: Any = "1-sqrt(2)/2") -> Derivation:
    """Three stages, the first explicit, stiffly accurate, order 2, stage order 2: TR-BDF2 with its pair of order 3.

    The family in gamma; L-stable iff gamma = 1 +- sqrt(2)/2, of which the default makes TR-BDF2: the trapezoidal rule
    to 2 gamma, then BDF2. The embedded weights are of order 3. `gamma` sets the default of the free parameter.

    Source: Bank et al. 1985; Hosea, Shampine 1996.

    >>> esdirk().data["c"], esdirk().certificate().stability.is_l_stable, esdirk().certificate().embedded_order
    (['0', '2*gamma', '1'], True, 3)
    """
    import sympy

    free = sympy.Symbol("gamma")
    c = [sympy.Integer(0), 2 * free, sympy.Integer(1)]
    b = sympy.symbols("b1:4")
    own = solved([*quadrature(c, 2, b), b[2] - free], b)
    own = [own[w] for w in b]
    third = solved(quadrature(c, 3, b), b)
    third = [third[w] for w in b]
    A = [[], [free, free], own]
    square = [[0, 0, 0], [free, free, 0], own]
    proved("esdirk", square, own, 2)
    proved("the embedded method", square, third, 3)
    value = number("gamma", gamma)
    for excluded in ("0", "1/2"):
        if value == sympy.Rational(excluded):
            raise AlgebraError(f"gamma = {excluded} makes two nodes coincide")
    route = [
        "c2 = 2 gamma makes the second stage the trapezoidal rule (stage order 2); the last row is b",
        "the embedded weights from three moments: order 3",
        "excluded: gamma = 0, 2*gamma - 1 = 0",
    ]
    source = "Bank, Coughran, Fichtner, Grosse, Rose, Smith 1985; Hosea, Shampine 1996"
    return made("esdirk-2", 2, source, A, own, c=c, parameters={"gamma": str(gamma)}, embedded=(third, 3), route=route)


@recipe("dirk")
def dirk(order: Any) -> Derivation:
    """Diagonally implicit methods: symplectic of orders 2 and 4, and all of order 3 with two stages.

    Order 2: two midpoint steps of b1 h and (1 - b1) h, b1 free, all of them symplectic. Order 3: c1 free, the rest
    follows; c1 = (3+sqrt(3))/6 makes it singly diagonal. Order 4: three midpoint steps of the triple jump.

    Source: Sanz-Serna, Abia 1991; Crouzeix, Raviart 1980; Hairer, Lubich, Wanner, section VI.4.

    >>> [bool(dirk(p).certificate().symplectic) for p in (2, 3, 4)]
    [True, False, True]
    """
    import sympy

    order = whole("order", order, (2, 3, 4))
    if order == 3:
        return _two_stages()
    b1 = sympy.Symbol("b1")
    if order == 2:
        b, parameters = [b1, 1 - b1], {"b1": "1/2"}
        route = ["midpoint steps of b1 h and (1 - b1) h: a_ij = b_j below the diagonal, b_i / 2 on it"]
    else:
        # 2 b1^3 + (1 - 2 b1)^3 = 0 for b1 = 1 / (2 - 2^(1/3)), denominators rationalised
        outer = (4 + 2 * sympy.root(2, 3) + sympy.root(4, 3)) / 6
        b, parameters = [outer, sympy.expand(1 - 2 * outer), outer], None
        route = ["midpoint steps of b1, b2, b1 with 2 b1 + b2 = 1 and 2 b1^3 + b2^3 = 0: a_ij = b_j, b_i / 2 on it"]
    A = [[*b[:i], sympy.expand(b[i] / 2)] for i in range(len(b))]
    proved("dirk", [[*row, *[0] * (len(b) - len(row))] for row in A], b, order)
    source = "Sanz-Serna, Abia 1991" + ("; Qin, Zhang 1992 (b1 = 1/2)" if order == 2 else "; Suzuki 1990, Yoshida 1990")
    return made(f"dirk-{order}", order, source, A, b, parameters=parameters, route=route)


def _two_stages() -> Derivation:
    import sympy

    c1, b2, a21 = sympy.symbols("c1 b2 a21")
    c = [c1, (3 * c1 - 2) / (3 * (2 * c1 - 1))]  # where the rule of two nodes has order 3
    b2 = solved([c1 + b2 * (c[1] - c1) - sympy.Rational(1, 2)], [b2])[b2]
    b = [tidy(1 - b2), b2]
    inner = solved([b[0] * c1**2 + b2 * (a21 * c1 + (c[1] - a21) * c[1]) - sympy.Rational(1, 6)], [a21])[a21]
    A = [[c1], [inner, tidy(c[1] - inner)]]
    proved("dirk", [[c1, 0], A[1]], b, 3)
    route = [
        "c2 from the moments of a rule of two nodes, then the weights and a21, linear",
        "excluded: 2*c1 - 1 = 0 (and c1 = c2, which is not real)",
    ]
    published = [beside("crouzeix-3", A, b, {"c1": "(3+sqrt(3))/6"})]
    source = "Crouzeix, Raviart 1980"
    return made("dirk-3", 3, source, A, b, c=c, parameters={"c1": "1"}, route=route, published=published)
