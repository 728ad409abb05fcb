"""Exponential Runge-Kutta methods: the orders of the literature, wrong coefficients found, and the tableau as data."""

import math
import pickle
from fractions import Fraction

import mpmath
import pytest
import sympy

from odekit.algebra.exponential import ExponentialTableau, classical_order, stage_order, stiff_order
from odekit.algebra.exponential_conditions import (
    ClassicalCondition,
    StiffCondition,
    classical_conditions,
)
from odekit.algebra.exponential_methods import get, names
from odekit.algebra.phi import phi_mp
from odekit.algebra.trees import AlgebraError, tree
from odekit.exceptions import ExpressionError, MethodError, UnknownNameError

# name: parameters, classical order, stiff order in the strong form, in the weak form
ORDERS = {
    "etd1": ({}, 1, 1, 1),
    "ho2": ({}, 2, 2, 2),
    "ho2-weak": ({}, 2, 1, 2),
    "etd2rk": ({}, 2, 2, 2),
    "ho3": ({}, 3, 2, 3),
    "ho3-gamma": ({"c2": "1/2", "c3": "1", "gamma": "4"}, 3, 2, 3),
    "etd3rk": ({}, 3, 2, 2),
    "etdrk4": ({}, 4, 2, 2),
    "krogstad4": ({}, 4, 3, 3),
    "strehmel-weiner4": ({}, 4, 3, 3),
    "ho4": ({}, 4, 3, 4),
    "exprk5s8": ({}, 5, 4, 5),
    "lawson4": ({}, 4, 0, 0),
    "dpm-solver-2": ({}, 2, 1, 2),
    "dpm-solver-3": ({"r2": "2/3"}, 3, 2, 3),
    "dpm-solver-2-taylor": ({}, 2, 2, 2),
    "dpm-solver-3-taylor": ({"r2": "2/3"}, 3, 2, 3),
    "dpmpp-2s": ({}, 2, 1, 2),
    "dpmpp-3s": ({"r2": "2/3"}, 3, 2, 3),
    "dpmpp-3s-taylor": ({"r2": "2/3"}, 3, 2, 3),
    "res-2s": ({}, 2, 2, 2),
    "res-3s": ({}, 3, 2, 3),
}


def method(name):
    return get(name).substitute(**ORDERS[name][0]) if ORDERS[name][0] else get(name)


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_orders_of_the_literature(name):
    _, classical, strong, weak = ORDERS[name]
    tableau = method(name)
    assert int(classical_order(tableau)) == classical == tableau.order
    assert int(stiff_order(tableau)) == strong
    assert int(stiff_order(tableau, weak=True)) == weak == tableau.stiff_order


def test_every_method_is_judged():
    assert set(ORDERS) == {name for name in names() if get(name).family == "exponential-runge-kutta"}
    with pytest.raises(UnknownNameError, match="krogstad4"):
        get("krogstad")


def test_the_failing_condition_is_named():
    assert str(classical_order(get("etd1"))) == "1 ([tau_0]_0: 0, not 1/2)"
    assert str(stiff_order(get("etdrk4"))).startswith("2 ([[tau]]: ")
    assert stiff_order(get("etdrk4")).failing == StiffCondition(tree("[[tau]]"))
    assert str(stiff_order(get("krogstad4"), weak=True)).startswith("3 ([[tau,tau]]: ")
    assert str(classical_order(get("ho4"), limit=3)) == "at least 3"


@pytest.mark.parametrize("name", ["ho2", "ho3", "etdrk4", "krogstad4", "strehmel-weiner4", "ho4", "exprk5s8"])
def test_a_wrong_coefficient_is_found(name):
    """Negative control: any entry scaled by 1 + 1e-12, exactly, costs order in one sense or the other."""
    tableau = method(name)
    fine = int(classical_order(tableau)), int(stiff_order(tableau, weak=True))
    wrong = "1.000000000001"
    mutants = [
        (i, j, entry)
        for i, row in enumerate([*tableau.A, tableau.b])
        for j, entry in enumerate(row)
        if entry.strip() != "0"
    ]
    for i, j, entry in mutants:
        rows = [list(row) for row in (*tableau.A, tableau.b)]
        rows[i][j] = f"{wrong}*({entry})"
        mutant = ExponentialTableau(
            "mutant",
            tableau.order,
            "",
            tableau.c,
            tuple(map(tuple, rows[:-1])),
            tuple(rows[-1]),
            parameters=tableau.parameters,
        )
        limit = tableau.order
        found = int(classical_order(mutant, limit)), int(stiff_order(mutant, limit, weak=True))
        assert found < fine and found[1] < fine[1], (i, j)


def test_dpm_solver_3_is_the_third_order_method_of_hochbruck_and_ostermann_only_at_two_thirds():
    """And any other r2 is of order 2, classically as well (spec/samplers.md, section 1)."""
    ours, theirs = get("dpm-solver-3").substitute(r1="1/3", r2="2/3"), get("ho3").substitute(c2="1/3")
    assert ours.parts.A == theirs.parts.A and ours.parts.b == theirs.parts.b
    for r2 in ("1/2", "3/4", "1", "0.6666666666666667"):
        other = get("dpm-solver-3").substitute(r2=r2)
        assert (int(classical_order(other)), int(stiff_order(other, weak=True))) == (2, 2)


def test_data_and_noise_forms_are_one_tableau():
    """DPM-Solver-2 in x/sigma (z = h) and DPM-Solver++(2S) in x/alpha (z = -h) have the same a(z), b(z)."""
    noise, data = get("dpm-solver-2").parts, get("dpmpp-2s").parts
    assert noise.A == data.A and noise.b == data.b
    mislabelled = ExponentialTableau(
        "x", 2, "", ("0", "1/2"), ((), ("phi1(-h/2)/2",)), ("0", "phi1(-h)"), prediction="noise"
    )
    assert int(classical_order(mislabelled)) == 1


def test_roots_and_parameters():
    """The family of order 2 at c2 = (2 - sqrt(2))/2; the relation of the family of order 3, and what breaks it."""
    assert int(stiff_order(get("ho2").substitute(c2="(2-sqrt(2))/2"))) == 2
    for c2, c3, gamma in (("1/2", "1", "4"), ("1/3", "2/3", "0"), ("3/4", "1/2", "16/3")):
        fits = 2 * (Fraction(gamma) * Fraction(c2) + Fraction(c3)) == 3 * (
            Fraction(gamma) * Fraction(c2) ** 2 + Fraction(c3) ** 2
        )
        found = stiff_order(get("ho3-gamma").substitute(c2=c2, c3=c3, gamma=gamma), weak=True)
        assert int(found) == (3 if fits else 2)
    kept = get("ho3-gamma").substitute(gamma="0")
    assert (
        kept.parameters == ("c2", "c3") and str(stiff_order(kept, weak=True)) == "2 ([tau,tau]: -(3*c3 - 2)/12, not 0)"
    )
    with pytest.raises(MethodError, match="no parameter c9"):
        get("ho2").substitute(c9="1")


@pytest.mark.parametrize("s", [1, 2, 3])
def test_exponential_collocation(s):
    """a_ij and b_i from Lagrange polynomials at any nodes: stage order s, stiff order s; s + 1 in the weak form with
    the node of the midpoint rule, and with Radau's two. Source: Hochbruck, Ostermann, Appl. Numer. Math. 53 (2005)."""
    nodes = {1: ["1/2"], 2: ["1/3", "1"], 3: ["1/5", "1/2", "3/4"]}[s]
    theta = sympy.Symbol("theta")

    def weights(c):
        found = []
        for node in nodes:
            others = [sympy.Rational(x) for x in nodes if x != node]
            basis = sympy.prod((theta - x) / (sympy.Rational(node) - x) for x in others) + 0 * theta
            rising = sympy.Poly(basis, theta).all_coeffs()[::-1]
            found.append(
                "+".join(f"({a * math.factorial(k)})*{c}**{k + 1}*phi{k + 1}({c}*z)" for k, a in enumerate(rising))
            )
        return tuple(found)

    tableau = ExponentialTableau(
        "collocation", s, "", tuple(nodes), tuple(weights(f"({c})") for c in nodes), weights("1")
    )
    assert stage_order(tableau) == s and int(stiff_order(tableau, limit=5)) == s
    assert int(stiff_order(tableau, limit=5, weak=True)) == (s + 1 if s < 3 else s)
    assert int(classical_order(tableau, limit=5)) == {1: 2, 2: 3, 3: 3}[s]


def test_embedded_weights_are_a_method_of_their_own():
    pair = ExponentialTableau(
        "pair", 2, "", ("0", "1"), ((), ("phi1(z)",)), ("phi1(z)-phi2(z)", "phi2(z)"), ("phi1(z)", "0"), 1
    )
    assert int(stiff_order(pair.embedded)) == 1 == pair.embedded.order
    assert pair.embedded.embedded is None


def test_methods_pickle_without_what_they_remember():
    tableau = get("etd2rk")
    stiff_order(tableau)
    copy = pickle.loads(pickle.dumps(tableau))
    assert copy == tableau and "memory" not in vars(copy) and int(stiff_order(copy)) == 2


def test_coefficients_at_many_digits():
    with mpmath.workdps(40):
        _, A, b = get("krogstad4").coefficients(mpmath.mpf(-2))
        assert abs(sum(b) - phi_mp(1, -2, 40)) < mpmath.mpf(10) ** -38
        assert abs(A[3][2] - 2 * phi_mp(2, -2, 40)) < mpmath.mpf(10) ** -38


def test_refusals():
    with pytest.raises(MethodError, match="each stage"):
        ExponentialTableau("x", 1, "", ("0",), ((), ()), ("phi1(z)",))
    with pytest.raises(MethodError, match="embedded_order"):
        ExponentialTableau("x", 1, "", ("0",), ((),), ("phi1(z)",), ("phi1(z)",))
    with pytest.raises(MethodError, match="'velocity'"):
        ExponentialTableau("x", 1, "", ("0",), ((),), ("phi1(h)",), prediction="velocity")
    with pytest.raises(ExpressionError, match="'h'"):
        ExponentialTableau("x", 1, "", ("0",), ((),), ("phi1(h)",))  # h is the step in log-SNR, z stands without one
    with pytest.raises(ExpressionError, match="exp"):
        ExponentialTableau("x", 1, "", ("0",), ((),), ("exp(z)",))
    with pytest.raises(AlgebraError, match="single terms"):
        stiff_order(ExponentialTableau("x", 1, "", ("0",), ((),), ("phi1(z)/phi2(z)",)))
    assert isinstance(classical_conditions(1)[0], ClassicalCondition)


def test_a_tableau_prints():
    assert get("etd2rk").latex().splitlines()[2:] == [
        r"1 & \varphi_{1}\left(z \right) &  \\",
        r"\hline",
        r" & \varphi_{1}\left(z \right) - \varphi_{2}\left(z \right) & \varphi_{2}\left(z \right)",
        r"\end{array}",
    ]
    squared = ExponentialTableau("x", 1, "", ("0",), ((),), ("phi1((1-c)*z)**2",), parameters=("c",)).latex()
    assert r"\varphi_{1}^{2}\left(z \left(1 - c\right) \right)" in squared
    with pytest.raises(MethodError, match="no value"):
        get("ho2").substitute(c2="0")
