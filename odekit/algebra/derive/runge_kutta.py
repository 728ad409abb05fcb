"""Explicit Runge-Kutta methods with as many stages as their order needs: every method of orders 2, 3 and 4, and the
five-parameter family of order 5 with the usual simplifying assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from odekit.algebra.derive.derivation import Derivation, recipe
from odekit.algebra.derive.rk_forms import among, beside, made, proved, quadrature, solved, tidy, whole
from odekit.algebra.trees import AlgebraError

STAGES = {2: 2, 3: 3, 4: 4, 5: 6}
"""The least number of stages of an explicit method of an order."""


class Case(NamedTuple):
    """A family of solutions: its nodes, the defaults of its parameters, what they must not be, and known members."""

    nodes: tuple[str, ...]
    defaults: Mapping[str, str]
    excluded: tuple[str, ...]
    known: Mapping[str, Mapping[str, str]]
    source: str


_KUTTA = "Kutta 1901; Butcher 2016, section 235"
_THIRD = "Butcher 2016, section 233"

CASES: dict[tuple[int, str], Case] = {
    (2, "generic"): Case(
        ("0", "c2"),
        {"c2": "1/2"},
        ("c2",),
        {"midpoint": {"c2": "1/2"}, "heun2": {"c2": "1"}, "ralston": {"c2": "2/3"}},
        "Butcher 2016, section 232",
    ),
    (3, "generic"): Case(
        ("0", "c2", "c3"),
        {"c2": "1/3", "c3": "2/3"},
        ("c2", "c3", "c2 - c3", "c2 - 2/3"),
        {
            "heun3": {"c2": "1/3", "c3": "2/3"},
            "kutta3": {"c2": "1/2", "c3": "1"},
            "ssp33": {"c2": "1", "c3": "1/2"},
        },
        _THIRD,
    ),
    (3, "c2=c3"): Case(("0", "2/3", "2/3"), {"b3": "3/8"}, ("b3",), {}, f"{_THIRD}; b3 = 3/8: Nystrom 1925"),
    (3, "c3=0"): Case(("0", "2/3", "0"), {"b3": "1/4"}, ("b3",), {}, _THIRD),
    (4, "generic"): Case(
        ("0", "c2", "c3", "1"),
        {"c2": "1/3", "c3": "2/3"},
        ("c2", "c2 - 1/2", "c2 - 1", "c3", "c3 - 1", "c2 - c3", "6*c2*c3 - 4*c2 - 4*c3 + 3"),
        {"rk38": {"c2": "1/3", "c3": "2/3"}, "ralston4": {"c2": "2/5", "c3": "(14-3*sqrt(5))/16"}},
        _KUTTA,
    ),
    (4, "c2=c3"): Case(("0", "1/2", "1/2", "1"), {"b3": "1/3"}, ("b3",), {"rk4": {"b3": "1/3"}}, _KUTTA),
    (4, "c3=0"): Case(("0", "1/2", "0", "1"), {"b3": "1/12"}, ("b3",), {}, _KUTTA),
    (4, "c2=1"): Case(("0", "1", "1/2", "1"), {"b4": "1/18"}, ("b4",), {}, _KUTTA),
    (5, "generic"): Case(
        ("0", "c2", "c3", "c4", "c5", "1"),
        {"c2": "1/4", "c3": "1/4", "c4": "1/2", "c5": "3/4", "a43": "1/2"},
        (
            *("c2", "c3", "c4", "c5", "c3 - 1", "c4 - 1", "c5 - 1", "c3 - c4", "c3 - c5", "c4 - c5"),
            "10*c3*c4 - 5*c3 - 5*c4 + 3",
            "30*c3*c4*c5 - 20*(c3*c4 + c3*c5 + c4*c5) + 15*(c3 + c4 + c5) - 12",
        ),
        {},
        "Butcher 1964; Hairer, Norsett, Wanner I, section II.5; the defaults: Butcher 2016, (236a)",
    ),
}


@recipe("explicit-runge-kutta")
def explicit_runge_kutta(order: Any, stages: Any = None, case: str = "generic") -> Derivation:
    """Explicit Runge-Kutta methods of order 2, 3, 4 or 5 with the least stages, their free parameters left symbolic.

    Orders 2 to 4 are complete: every method with so many stages is in one of the cases "generic", "c2=c3", "c3=0" and
    "c2=1" (the last for order 4). Why: the condition of the tall tree makes the product of b_s, the entries next to
    the diagonal and c2 equal to 1/s!, so none of them vanishes. For s = 4, D(1) and c4 = 1 follow (Hairer, Norsett,
    Wanner I, section II.1). Either the nodes are distinct, then weights and entries follow linearly; or two coincide,
    then the moments of too few nodes fix the others. Order 5 with 6 stages is the family with b2 = 0, C(2) and D(1).

    Source: Kutta 1901; Butcher 2016, sections 232 to 235; Hairer, Norsett, Wanner I, II.1 and II.5.

    >>> rk4 = explicit_runge_kutta(4, case="c2=c3")
    >>> rk4.data["b"], rk4.free
    (['1/6', '-(3*b3 - 2)/3', 'b3', '1/6'], {'b3': '1/3'})
    >>> print(rk4.published[0].published, bool(rk4.published[0]))
    rk4 (b3 = 1/3) False
    """
    order = whole("order", order, sorted(STAGES))
    if stages is not None:
        stages = whole("stages", stages, range(1, 65))
        if stages < STAGES[order]:
            raise AlgebraError(
                f"no explicit method of order {order} has {stages} stages: it needs {STAGES[order]} (Butcher)"
            )
        if stages > STAGES[order]:
            raise AlgebraError(f"order {order} is solved for {STAGES[order]} stages, the least, not for {stages}")
    found = CASES[order, among("case", case, [name for p, name in CASES if p == order])]
    A, b = family(order, case)
    route = [
        f"nodes {', '.join(found.nodes)}: the weights from the moments, the entries of A from linear conditions",
        f"all conditions to order {order} hold identically in {', '.join(found.defaults)}",
        f"excluded: {', '.join(f'{e} = 0' for e in found.excluded)}",
    ]
    name = f"explicit-{order}" + (f"-{case}" if case != "generic" else "")
    published = [beside(known, A, b, values) for known, values in found.known.items()]
    return made(
        name, order, found.source, A, b, c=found.nodes, parameters=found.defaults, route=route, published=published
    )


@cache
def family(order: int, case: str = "generic") -> tuple[list[list], list]:
    """A (short rows) and b of a case, expressions in its parameters; every condition is checked to hold identically."""
    from sympy import Symbol, symbols, sympify

    c = [sympify(node) for node in CASES[order, case].nodes]
    s = len(c)
    b = symbols(f"b1:{s + 1}")
    weights = solved([*quadrature(c, min(order, s), b), *([b[1]] if order == 5 else [])], b)
    b = [weights[w] for w in b]
    a = {(i, j): Symbol(f"a{i + 1}{j + 1}") for i in range(2, s) for j in range(1, i)}
    free = sorted(a.values(), key=lambda x: (x.name in CASES[order, case].defaults, x.name))  # free ones come last
    entries = solved(_linear_conditions(order, c, b, a), free) if a else {}
    A = [[entries[a[i, j]] for j in range(1, i)] for i in range(s)]
    A = [[tidy(c[i] - sum(row)), *row] if i else [] for i, row in enumerate(A)]
    proved(f"explicit-{order}, case {case}", [[*row, *[0] * (s - len(row))] for row in A], b, order)
    return A, b


def _linear_conditions(order: int, c: Sequence, b: Sequence, a: Mapping[tuple[int, int], Any]) -> list:
    """What the entries of A from the second column on must satisfy beside the moments, linear in them."""
    from sympy import Rational

    s = len(c)
    if order == 3:
        return [sum(b[i] * x * c[j] for (i, j), x in a.items()) - Rational(1, 6)]
    first = [sum(b[i] * x for (i, k), x in a.items() if k == j) - b[j] * (1 - c[j]) for j in range(1, s - 1)]
    if order == 4:
        return [*first, sum(b[i] * c[i] * x * c[j] for (i, j), x in a.items()) - Rational(1, 8)]
    second = [sum(x * c[j] for (k, j), x in a.items() if k == i) - c[i] ** 2 / 2 for i in range(2, s)]
    column = sum(b[i] * c[i] * x for (i, j), x in a.items() if j == 1)
    return [*first, *second, column, sum(b[i] * c[i] * x * c[j] ** 2 for (i, j), x in a.items()) - Rational(1, 15)]
