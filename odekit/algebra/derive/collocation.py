"""Collocation and its relatives: Gauss, Radau, Lobatto with any number of stages, or any nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from odekit.algebra.derive.derivation import Derivation, recipe
from odekit.algebra.derive.rk_forms import beside, made, number, tidy, whole
from odekit.algebra.numbers import is_zero
from odekit.algebra.polynomials import polynomial, real_roots
from odekit.algebra.trees import AlgebraError

GUARD = 20
"""Digits beyond the printed ones."""


class Family(NamedTuple):
    """How the nodes arise from Legendre polynomials, how A follows from them, and what is known of the order."""

    below: int
    least: int
    nodes: Callable[[int], Any]
    rule: str
    known: dict[int, str]
    source: str


def _legendre(s: int, other: int = 0, sign: int = 0) -> Any:
    from sympy import Symbol, legendre

    x = Symbol("x")
    return legendre(s, 2 * x - 1) + sign * legendre(other, 2 * x - 1)


def _lobatto(s: int) -> Any:
    from sympy import Symbol, diff

    x = Symbol("x")
    return x * (x - 1) * diff(_legendre(s - 1), x)


FAMILIES = {
    "gauss": Family(
        0, 1, _legendre, "C", {1: "implicit-midpoint", 2: "gauss-2", 3: "gauss-3"}, "Kuntzmann 1961; Butcher 1964"
    ),
    "radau-ia": Family(1, 2, lambda s: _legendre(s, s - 1, 1), "D", {}, "Ehle 1969"),
    "radau-iia": Family(
        *(1, 1, lambda s: _legendre(s, s - 1, -1), "C"),
        {1: "implicit-euler", 2: "radau-iia-2", 3: "radau-iia-3"},
        "Ehle 1969; Axelsson 1969",
    ),
    "lobatto-iiia": Family(2, 2, _lobatto, "C", {2: "trapezoidal"}, "Ehle 1969"),
    "lobatto-iiib": Family(2, 3, _lobatto, "D", {}, "Ehle 1969"),
    "lobatto-iiic": Family(2, 2, _lobatto, "C(s-1)", {}, "Chipman 1971; Axelsson 1972"),
}
"""Orders 2 s - `below`. "C": collocation; "D": its conjugate, b_i a_ij + b_j a_ji = b_i b_j; "C(s-1)": a_i1 = b_1."""


def _recipe(name: str, what: str) -> None:
    def derived(stages: Any, digits: Any = 40) -> Derivation:
        return _family(name, stages, digits)

    found = FAMILIES[name]
    derived.__doc__ = f"""{what}.

    Exact where the nodes are rational or square roots, else to `digits`. Raises AlgebraError beyond order 20.

    Source: {found.source}; Hairer, Wanner II, section IV.5.
    """
    derived.__name__ = name.replace("-", "_")
    recipe(name)(derived)


_recipe("gauss", "Gauss collocation with any number of stages s: order 2 s, A-stable, symplectic, symmetric")
_recipe("radau-ia", "Radau IA with any number of stages s: order 2 s - 1, L-stable, the first node 0")
_recipe("radau-iia", "Radau IIA collocation with any number of stages s: order 2 s - 1, L-stable, the last node 1")
_recipe("lobatto-iiia", "Lobatto IIIA collocation with any number of stages s: order 2 s - 2, A-stable, symmetric")
_recipe("lobatto-iiib", "Lobatto IIIB with any number of stages s: order 2 s - 2, A-stable, conjugate to IIIA")
_recipe("lobatto-iiic", "Lobatto IIIC with any number of stages s: order 2 s - 2, L-stable, stiffly accurate")


@recipe("collocation")
def collocation(nodes: Any) -> Derivation:
    """Collocation at given nodes: exact for exact nodes, of the order of the quadrature rule on them.

    `nodes` is a list of numbers (or text with commas), distinct; decimals are rationals. Raises AlgebraError for nodes
    that coincide. Source: Hairer, Norsett, Wanner I, theorems II.7.7 and II.7.8.

    >>> simpson = collocation(["0", "1/2", "1"])
    >>> simpson.data["order"], simpson.data["A"][1], simpson.data["b"]
    (4, ['5/24', '1/3', '-1/24'], ['1/6', '2/3', '1/6'])
    """
    texts = nodes.split(",") if isinstance(nodes, str) else list(nodes)
    if not 1 <= len(texts) <= 10:
        raise AlgebraError(f"collocation takes 1 to 10 nodes, not {len(texts)}")
    c = [number("a node", text) for text in texts]
    for i, x in enumerate(c):
        if any(is_zero(tidy(x - y)) for y in c[:i]):
            raise AlgebraError(f"the nodes must be distinct; {x} occurs twice")
    A, b = _collocated(c, tidy)
    order = _order(c, b)
    if order == 0:
        raise AlgebraError("collocation at these nodes has order 0")
    name = f"collocation-{len(c)}"
    return made(
        name, order, "collocation at given nodes", A, b, c=c, route=[f"the quadrature rule on the nodes: order {order}"]
    )


def _order(c: Sequence, b: Sequence) -> int:
    """The order of the quadrature rule (b, c)."""
    from sympy import Rational

    order, powers = 0, [1] * len(c)
    while is_zero(tidy(sum(w * p for w, p in zip(b, powers, strict=True)) - Rational(1, order + 1))):
        order += 1
        powers = [tidy(p * x) for p, x in zip(powers, c, strict=True)]
    return order


def _family(name: str, stages: Any, digits: Any) -> Derivation:
    from odekit.methods.tableau import MAX_ORDER, MAX_STAGES

    found = FAMILIES[name]
    s = whole("stages", stages, range(1, MAX_STAGES + 1))
    order = 2 * s - found.below
    if s < found.least:
        why = "with fewer the row sums of A are not its nodes" if found.rule == "D" else "with fewer there is no rule"
        raise AlgebraError(f"{name} takes {found.least} stages or more: {why}")
    if order > MAX_ORDER:
        raise AlgebraError(f"{name} with {s} stages has order {order}; methods are described up to order {MAX_ORDER}")
    digits = whole("digits", digits, range(15, 1001))
    exact = _surds(found.nodes(s))
    if exact:
        c, simple = exact, tidy
    else:
        c, simple = _decimals(found.nodes(s), digits + GUARD), lambda x: x
    A, b = _RULES[found.rule](c, simple)
    name = f"{name}-{s}"
    published = [beside(found.known[s], A, b)] if s in found.known else []
    if not exact:
        A = [[_text(a, digits) for a in row] for row in A]
        b, c = [_text(w, digits) for w in b], [_text(x, digits) for x in c]
    route = [
        f"nodes: the roots of {_named(found)}"
        + ("" if exact else f", isolated exactly and printed to {digits} digits"),
        _SAYS[found.rule],
        f"B({order}) with it gives order {order} (Butcher 1964)",
    ]
    source = f"{found.source}; Hairer, Wanner II, section IV.5"
    return made(name, order, source, A, b, c=c, digits=None if exact else digits, route=route, published=published)


_SAYS = {
    "C": "A integrates the interpolation polynomial: C(s), and D(s - the order lost)",
    "D": "A is the conjugate of collocation, b_i a_ij + b_j a_ji = b_i b_j: D(s), and C(s - the order lost)",
    "C(s-1)": "a_i1 = b_1 and C(s - 1) determine A; D(s - 1) holds",
}


def _named(found: Family) -> str:
    return {0: "P_s(2x-1)", 1: "P_s(2x-1) +- P_(s-1)(2x-1)", 2: "x (x-1) P_(s-1)'(2x-1)"}[found.below]


def _surds(nodes: Any) -> list | None:
    """The roots of a polynomial in increasing order if its factors are linear or quadratic, else None."""
    import sympy

    factors = [f for f, _ in sympy.factor_list(nodes)[1]]
    if any(sympy.degree(f) > 2 for f in factors):
        return None
    return sorted((tidy(x) for f in factors for x in sympy.roots(f)), key=float)


def _decimals(nodes: Any, digits: int) -> list:
    """The roots in increasing order: isolated exactly, refined by Newton's iteration, in a context of its own."""
    import mpmath
    import sympy

    poly = sympy.Poly(nodes)
    mp = mpmath.mp.clone()
    mp.dps = digits + 2 * poly.degree()
    coefficients = [mp.mpf(int(c.p)) / int(c.q) for c in poly.all_coeffs()]
    out = []
    for enclosed in real_roots(polynomial(reversed([f"{c.p}/{c.q}" for c in poly.all_coeffs()]))):
        x = mp.mpf(enclosed.numerator) / enclosed.denominator
        for _ in range(2 + digits.bit_length()):
            value, slope = mp.polyval(coefficients, x, derivative=1)
            x -= value / slope
        out.append(x if enclosed else mp.zero)
    return out


def _text(x: Any, digits: int) -> str:
    return x.context.nstr(x, digits, strip_zeros=False) if x else "0"


# From nodes to A and b; `simple` brings a number into the form it is computed with.


def _basis(nodes: Sequence, simple: Callable) -> list[list]:
    """The Lagrange polynomials on the nodes, each as coefficients from the constant up."""
    out = []
    for j, x in enumerate(nodes):
        p, scale = [nodes[0] * 0 + 1], 1
        for i, y in enumerate(nodes):
            if i != j:
                p = [simple(a) for a in _minus_shifted(p, y)]
                scale = scale * (x - y)
        out.append([simple(a / simple(scale)) for a in p])
    return out


def _minus_shifted(p: Sequence, y: Any) -> list:
    """(x - y) p."""
    return [a - y * b for a, b in zip([0 * y, *p], [*p, 0 * y], strict=True)]


def _integral(p: Sequence, x: Any, simple: Callable) -> Any:
    """The integral of a polynomial from 0 to x, by Horner's rule."""
    total = 0 * x
    for k in range(len(p), 0, -1):
        total = simple((total + p[k - 1] / k) * x)
    return total


def _collocated(c: Sequence, simple: Callable) -> tuple[list[list], list]:
    """a_ij = integral of l_j from 0 to c_i, b_j to 1."""
    basis, one = _basis(c, simple), c[0] * 0 + 1
    return [[_integral(p, x, simple) for p in basis] for x in c], [_integral(p, one, simple) for p in basis]


def _conjugate(c: Sequence, simple: Callable) -> tuple[list[list], list]:
    A, b = _collocated(c, simple)
    s = range(len(c))
    return [[simple(b[j] - simple(b[j] * A[j][i]) / b[i]) for j in s] for i in s], b


def _left(c: Sequence, simple: Callable) -> tuple[list[list], list]:
    """a_i1 = b_1; the rest integrates what interpolates on the other nodes, but for b_1 times its value at 0."""
    _, b = _collocated(c, simple)
    basis = _basis(c[1:], simple)
    return [[b[0], *(simple(_integral(p, x, simple) - b[0] * p[0]) for p in basis)] for x in c], b


_RULES = {"C": _collocated, "D": _conjugate, "C(s-1)": _left}
