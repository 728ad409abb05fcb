"""Exponential Runge-Kutta and exponential Adams methods, solved from their order conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from odekit.algebra.derive.ansatz import (
    Demand,
    Exact,
    Solved,
    ansatz,
    demands,
    multistep_ansatz,
    solve,
    span,
    substituted,
    symbols,
    tidy,
)
from odekit.algebra.derive.comparison import compare
from odekit.algebra.derive.derivation import Derivation, Difference, recipe
from odekit.algebra.exponential import ExponentialTableau, classical_order, stiff_order
from odekit.algebra.exponential_conditions import classical_conditions
from odekit.algebra.exponential_methods import get
from odekit.algebra.exponential_multistep import exponential_adams
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import unknown

_HO = "Hochbruck, Ostermann 2005"
_CM = "Cox, Matthews 2002"
_TABLE = f"derived from the conditions of {_HO}, table 2"
_MEMBER = "derived: the method of"


@dataclass(frozen=True, eq=False)
class Family:
    """An ansatz, the conditions it must meet in the order in which they are linear, and what is known of it.

    `free` parameters carry their defaults; `known` maps published methods to the values at which they are met, in the
    free parameters' own symbols or numbers.
    """

    c: Sequence[str]
    A: Sequence[Sequence[str]]
    b: Sequence[str]
    wanted: Sequence[Demand]
    order: int
    stiff: int
    source: str
    free: Mapping[str, str]
    nodes: Sequence[str] = ()
    known: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] | None = None
    remark: str = ""


_TWO = (("0", "c2"), ((), ("*",)), ("*", span("b2", "1")))
_A32 = span("a32", "c2", "c3", k=(2, 1, 3))
_PAIR, _INNER = span("a4", "c4", k=(2, 3, 1)), span("a5", "c4", "c5", k=(2, 3, 1))
_FIVE = {
    "A": (
        (),
        ("*",),
        ("*", span("a32", "c2", k=(2, 3, 1))),
        ("*", _PAIR, _PAIR),
        ("*", _INNER, _INNER, span("a54", "c4", "c5", k=(2, 3, 1))),
    ),
    "b": ("*", "0", "0", span("b4", "1", k=(2, 3, 1)), span("b5", "1", k=(2, 3, 1))),
    "wanted": [
        *demands("[tau] [tau,tau]"),
        Demand("[tau,tau,tau]", weak=True),
        Demand("[[tau]]"),
        *demands("[[tau,tau]] [[tau],tau] [[[tau]]]", weak=True),
    ],
    "remark": "stages 2 and 3 share c2 and enter alike: what psi_2 leaves in them cancels",
}


def five(c4: str, **more: Any) -> Family:
    """Five stages with this node c4; c5 = (4 c4 - 3)/(6 c4 - 4) follows."""
    rows = [tuple(entry.replace("(c4)", f"({c4})") for entry in row) for row in _FIVE["A"]]
    c = ("0", "c2", "c2", c4, "c5")
    return Family(c, rows, _FIVE["b"], _FIVE["wanted"], 4, 4, _TABLE, nodes=("c5",), **more)


FAMILIES: dict[int, dict[str, Family]] = {
    1: {"euler": Family(("0",), ((),), ("*",), (), 1, 1, _TABLE, {}, known={"etd1": ({}, {})})},
    2: {
        "strong": Family(
            *_TWO, demands("[tau]"), 2, 2, _TABLE, {"c2": "1/2"},
            known={"ho2": ({}, {}), "etd2rk": ({}, {"c2": "1"}), "ho2-weak": ({}, {})},
        ),
        "weak": Family(
            *_TWO, demands("[tau]", weak=True), 2, 2, _TABLE, {"c2": "1/2"},
            known={"ho2-weak": ({}, {}), "ho2": ({}, {})},
        ),
    },
    3: {
        "one-weight": Family(
            ("0", "c2", "c3"), ((), ("*",), ("*", _A32)), ("*", "0", span("b3", "1", k=(2, 1, 3))),
            [Demand("[tau]"), *demands("[tau,tau] [[tau]]", weak=True)], 3, 3, _TABLE, {"c2": "1/2"},
            nodes=("c3",), known={"ho3": ({}, {})},
        ),
        "two-weights": Family(
            ("0", "c2", "c3"), ((), ("*",), ("*", _A32)),
            ("*", span("b2", "1", k=(2, 1, 3)), span("b3", "1", k=(2, 1, 3))),
            [Demand("[tau]"), *demands("[tau,tau] [[tau]]", weak=True)], 3, 3, _TABLE,
            {"c2": "1/3", "c3": "3/4"},
            known={"ho3-gamma": ({"gamma": "-c3*(3*c3 - 2)/(c2*(3*c2 - 2))"}, {}), "ho3": ({}, {"c3": "2/3"})},
        ),
    },
    4: {
        "five-stages": five("1", free={"c2": "1/2"}, known={"ho4": ({}, {"c2": "1/2"})}, remark=_FIVE["remark"]),
        "five-stages-general": five(
            "c4", free={"c2": "1/2", "c4": "1"}, known={"ho4": ({}, {"c2": "1/2", "c4": "1"})}, remark=_FIVE["remark"]
        ),
    },
}  # fmt: skip
"""By stiff order and name. All but "strong" and "euler" are of this order in the weak form."""

_HALVES = ("0", "1/2", "1/2", "1")
_SHARED, _LAST = span("b2", "1", k=(2, 3, 1)), span("b4", "1", k=(2, 3, 1))
_HALF = span("a32", "1/2", k=(2, 3, 1))
_QUADRATURE = demands("[tau] [tau,tau]")
_CLASSICAL = [Demand(c.name, classical=True) for c in classical_conditions(4)]

MEMBERS: dict[str, Family] = {
    "cox-matthews-3": Family(
        ("0", "1/2", "1"), ((), ("*",), ("*", span("a32", "1", k=(1,)))), ("*", _SHARED, _LAST),
        [*_QUADRATURE, *_CLASSICAL[:17]], 3, 2, f"{_MEMBER} {_CM}", {}, known={"etd3rk": ({}, {})},
        remark="phi_1 alone in the stages",
    ),
    "cox-matthews": Family(
        _HALVES, ((), ("*",), ("0", span("a32", "1/2", k=(1,))), ("*", "0", span("a43", "1/2", "1", k=(1,)))),
        ("*", _SHARED, _SHARED, _LAST), [*_QUADRATURE, *_CLASSICAL], 4, 2, f"{_MEMBER} {_CM}", {},
        known={"etdrk4": ({}, {})}, remark="phi_1 alone in the stages, a31 = a42 = 0, b2 = b3",
    ),
    "krogstad": Family(
        _HALVES, ((), ("*",), ("*", _HALF), ("*", "0", span("a43", "1", "1/2", k=(2, 3, 1)))),
        ("*", _SHARED, _SHARED, _LAST), [*_QUADRATURE, Demand("[[tau]]"), *_CLASSICAL], 4, 3,
        f"{_MEMBER} Krogstad 2005", {},
        known={"krogstad4": ({}, {})}, remark="a42 = 0, b2 = b3",
    ),
    "strehmel-weiner": Family(
        _HALVES, ((), ("*",), ("*", _HALF), ("*", span("a42", "1", k=(2,)), span("a43", "1", k=(2,)))),
        ("*", "0", _SHARED, _LAST), [*_QUADRATURE, Demand("[[tau]]"), *_CLASSICAL], 4, 3,
        f"{_MEMBER} Strehmel, Weiner 1992", {},
        known={"strehmel-weiner4": ({}, {})}, remark="phi_2 alone in a42 and a43, b2 = 0",
    ),
}  # fmt: skip
"""Methods of classical order 3 and 4 on the nodes of Kutta's, each told by what it leaves out."""


@recipe("exponential-runge-kutta")
def exponential_runge_kutta(stiff: int = 2, family: str = "", prediction: str | None = None) -> Derivation:
    """Exponential Runge-Kutta methods of stiff order 1 to 4, nodes free where the conditions leave them free.

    `family` is one of `FAMILIES[stiff]`, the first unless told otherwise; `prediction` gives the tableau in h for a
    form of the flow in log-SNR. "five-stages-general" is solved in half a minute, for two free nodes; the others are
    quick. Raises AlgebraError for an order without a family, UnknownNameError for a family.
    Source: Hochbruck, Ostermann, SIAM J. Numer. Anal. 43 (2005), (5.3), (5.4), (5.8), (5.9), (5.19).

    >>> exponential_runge_kutta(3).data["A"][2]
    ['2*phi1(2*z/3)/3 - 4*phi2(2*z/3)/(9*c2)', '4*phi2(2*z/3)/(9*c2)']
    """
    if stiff not in FAMILIES:
        raise AlgebraError(f"stiff order {stiff}: explicit families are solved for orders {min(FAMILIES)} to 4")
    family = family or next(iter(FAMILIES[stiff]))
    if family not in FAMILIES[stiff]:
        raise unknown(f"family of stiff order {stiff}", family, FAMILIES[stiff])
    return _derived(f"exponential-rk-{stiff}-{family}", FAMILIES[stiff][family], prediction)


@recipe("etd-runge-kutta")
def etd_runge_kutta(
    member: str = "krogstad", stiff: int | None = None, prediction: str | None = None
) -> Derivation:  # fmt: skip
    """The classical methods of exponential time differencing, each the one solution of its ansatz.

    `member` is one of `MEMBERS`; `stiff`, where given, is a stiff order to be had of it: AlgebraError, naming the first
    condition that fails, where it is not reached.

    >>> etd_runge_kutta("cox-matthews").data["A"][3]
    ['-phi1(z/2) + phi1(z)', '0', 'phi1(z/2)']
    """
    if member not in MEMBERS:
        raise unknown("method of exponential time differencing", member, MEMBERS)
    found = _derived(f"etd-{member}", MEMBERS[member], prediction)
    reached = stiff_order(found.method, 4)
    if stiff is not None and reached.order < stiff:
        raise AlgebraError(f"{member}: stiff order {reached.order}, not {stiff}: {reached.reason}")
    return replace(found, route=(*found.route, f"stiff order {reached}"))


@recipe("exponential-adams")
def exponential_adams_recipe(
    order: int = 2, prediction: str | None = "data", clock: str = "logsnr", start: str | None = None
) -> Derivation:
    """Exponential Adams formulas: in log-SNR closed in phi_k on any step ratios r1, r2, ..., else by their definition.

    In another clock the weights are integrals over the process, computed where they are used: the data then are
    prediction and clock. `start` is a tableau of the catalogue. Raises AlgebraError for an order outside 1 to 6, and
    for a clock without a prediction.

    >>> exponential_adams_recipe(2, prediction=None).data["weights"]
    ['phi1(z) + phi2(z)/r1', '-phi2(z)/r1']
    """
    if not 1 <= order <= 6:
        raise AlgebraError(f"exponential Adams formulas are derived for orders 1 to 6, not {order}")
    head = {"name": f"exponential-ab-{order}", "family": "exponential-multistep", "order": order}
    if clock != "logsnr":
        if prediction is None:
            raise AlgebraError(f"in the clock {clock!r} the weights depend on the process: choose a prediction")
        told = f"N is interpolated in {clock} at the last {order} points: w_j = int Psi_A(s, r) B_r l_j(c(r)) dr"
        return adams_form(f"{head['name']}-{clock}", order, prediction, clock, "the definition", start, (told,))
    method = exponential_adams(order)
    tried = substituted(method, {f"r{j}": prime for j, prime in zip(range(1, order), (2, 3, 5, 7, 11), strict=False)})
    broken = [f"psi_{k}" for k in range(1, order + 1) if not tried.residual(k).is_zero]
    if broken:
        raise AlgebraError(f"{method.name}: {broken[0]} does not vanish")
    route = (
        f"psi_k = phi_k - sum_j w_j theta_j^(k-1)/(k-1)! = 0 for k = 1, ..., {order}, with w_j a combination of phi_k:",
        "coefficient by coefficient a Vandermonde system; its inverse holds the coefficients l_jk of Lagrange's basis,",
        "so w_j = sum_k k! l_jk phi_(k+1)(z)",
    )
    head = {
        **head,
        "source": "derived from the conditions of Hochbruck, Ostermann 2011",
        **_optional(prediction=prediction),
    }
    entries = {"nodes": list(method.nodes), "weights": list(method.weights)}
    return Derivation({**in_variable(head, entries, prediction), **_optional(start=start)}, route)


def adams_form(
    name: str, order: int, prediction: str, clock: str, source: str, start: str | None, route: tuple[str, ...],
    published: tuple[Difference, ...] = (),
) -> Derivation:  # fmt: skip
    """The Adams form of a method file: the weights are integrals over the process, computed where it runs."""
    data = {
        "name": name, "family": "exponential-multistep", "order": order, "source": source, "prediction": prediction,
        "clock": clock, "weights": "interpolating", **_optional(start=start),
    }  # fmt: skip
    return Derivation(data, route, published)


def multistep(name: str, points: int, k: Sequence[int] | None = None) -> Any:
    """The general formula of so many points on step ratios r1, r2, ..., in phi_k for k = 1, ..., points or as given."""
    nodes = ["0", *("-" + "-".join(f"r{i}" for i in range(1, j + 1)) for j in range(1, points))]
    k = k or (*range(2, points + 1), 1)
    return multistep_ansatz(name, nodes, ("*", *(span(f"w{j}", "1", k=k) for j in range(1, points))))


def _optional(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def in_variable(head: dict, entries: dict, prediction: str | None) -> dict[str, Any]:
    """The data with entries in z as they are, or in h = z for the noise, h = -z for the data."""
    return {**head, **{key: _changed(value, prediction) for key, value in entries.items()}}


def _changed(value: Any, prediction: str | None) -> Any:
    import sympy

    from odekit.expressions import parse

    if isinstance(value, list | tuple):
        return [_changed(v, prediction) for v in value]
    if prediction is None or "z" not in value:
        return value
    sign = {"noise": 1, "data": -1}.get(prediction)
    if sign is None:
        raise unknown("prediction", prediction, ("noise", "data"))
    expression = parse(value, ("z", *symbols([[value]])))
    return str(tidy(expression.subs(sympy.Symbol("z"), sign * sympy.Symbol("h"))))


@cache
def solved(family: Family) -> tuple[ExponentialTableau, Solved, ExponentialTableau]:
    """The ansatz of a family, what was found, and the method with its claims, which are proved here."""
    start = ansatz("ansatz", family.c, family.A, family.b)
    found = solve(start, family.wanted, tuple(family.free), family.nodes)
    method = replace(found.method, order=family.order, stiff_order=family.stiff)
    _prove(method, family)
    return start, found, method


def _derived(name: str, family: Family, prediction: str | None) -> Derivation:
    start, found, method = solved(family)
    data = data_of(replace(method, name=name), family.source, family.free, prediction)
    route = ("row sums: psi_1 = 0 and psi_{1,i} = 0 give the first column", *_told(family, start), *found.route)
    return Derivation(data, route, tuple(_published(method, family)))


def data_of(method: ExponentialTableau, source: str, free: Mapping[str, str], prediction: str | None) -> dict:
    """The mapping that a method file holds, of a tableau in z, in the variable of a prediction."""
    head = {"name": method.name, "family": method.family, "order": method.order, **_optional(
        stiff_order=method.stiff_order, prediction=prediction), "source": source}  # fmt: skip
    rows = [list(row[:i]) for i, row in enumerate(method.A)]
    data = in_variable(head, {"c": list(method.c), "A": rows, "b": list(method.b)}, prediction)
    return {**data, "parameters": dict(free)} if free else data


def _told(family: Family, start: Exact) -> list[str]:
    _, A, b, _ = start.expressions
    entries = [f"a{i}{j} = {e}" for i, row in enumerate(A, 1) for j, e in enumerate(row, 1) if 1 < j < i]
    weights = [f"b{i} = {e}" for i, e in enumerate(b[1:], 2)]
    remark = [family.remark] if family.remark else []
    return [f"ansatz: {'; '.join([*remark, *entries, *weights])}"]


def _prove(method: ExponentialTableau, family: Family) -> None:
    """Refuse to hand out what does not keep its claims."""
    classical = classical_order(method, min(family.order + 1, 5))
    stiff = max(stiff_order(method, family.stiff), stiff_order(method, family.stiff, weak=True), key=int)
    for what, found, claimed in (("order", classical, family.order), ("stiff order", stiff, family.stiff)):
        if found.order < claimed:
            raise AlgebraError(f"{method.name}: {what} {found}, not {claimed}")


def _published(method: ExponentialTableau, family: Family) -> list[Difference]:
    return [
        compare(get(name).substitute(**theirs), method.substitute(**ours) if ours else method, at=ours)
        for name, (theirs, ours) in (family.known or {}).items()
    ]
