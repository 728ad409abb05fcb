"""Exponential Runge-Kutta methods: their conditions against print, against numbers, and against measured orders."""

import math
import pickle
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit import methods
from odekit.algebra.exponential import ExponentialTableau, classical_order, stage_order, stiff_order
from odekit.algebra.exponential_conditions import (
    ClassicalCondition,
    StiffCondition,
    classical_conditions,
    stiff_conditions,
)
from odekit.algebra.exponential_methods import get, names
from odekit.algebra.exponential_polynomials import Ring
from odekit.algebra.phi import phi_mp
from odekit.algebra.trees import AlgebraError, table, tree
from odekit.exceptions import ExpressionError, MethodError, UnknownNameError
from odekit.expressions import parse

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


# ---------------------------------------------------------------- the ring


FORMS = ["phi1(z)", "phi2(z/2)", "z*phi3(-z)", "phi0(z/3)", "1/2", "z**2", "phi1(2*z)*phi2(z)", "phi1(sqrt(2)*z)"]


@given(st.lists(st.tuples(st.sampled_from(FORMS), st.integers(-3, 3)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_elements_have_the_values_of_their_expressions(pieces):
    expression = sympy.Add(*(factor * parse(text, ("z",)) for text, factor in pieces))
    element = Ring([expression], "z").element(expression)
    point = sympy.Rational(7, 5)
    with mpmath.workdps(40):
        values = {index: lambda x, k=index: phi_mp(k, sympy.N(x, 50), 40) for index in range(4)}
        direct = sympy.lambdify(
            "z", expression, [{f"phi{k}": values[k] for k in values}, {"sqrt": mpmath.sqrt}, "mpmath"]
        )(mpmath.mpf(7) / 5)
        found = mpmath.mpf(str(sympy.N(element.expression([point]), 45))) if not element.is_zero else mpmath.mpf(0)
        assert abs(found - direct) < mpmath.mpf(10) ** -30
    assert element.is_zero == (abs(direct) < 1e-30)


def test_identities_are_decided_exactly():
    """The doubling formula vanishes; a coefficient off by 1e-15 does not; nor does a rounded decimal pass for 1/3."""

    def is_zero(text):
        expression = parse(text, ("z", "c"))
        return Ring([expression], "z").element(expression).is_zero

    assert is_zero("phi2(2*z) - phi0(z)*phi2(z)/4 - phi1(z)/4 - phi2(z)/4")
    assert not is_zero("phi2(2*z) - phi0(z)*phi2(z)/4 - phi1(z)/4 - 0.250000000000001*phi2(z)")
    assert is_zero("phi1(c*z)*c*z + 1 - phi0(c*z)") and is_zero("phi1(z/(1-2*c)) - phi1(-z/(2*c-1))")
    assert is_zero("phi1(sqrt(2)*z/2) - phi1(z/sqrt(2))") and not is_zero(
        "phi1(sqrt(2)*z) - phi1(1.4142135623730951*z)"
    )
    assert not is_zero("1/3 - 0.3333333333333333")
    assert is_zero("phi1(z/(sqrt(2)*c+1)) - phi1(sqrt(2)*z/(2*c+sqrt(2)))")
    assert is_zero("phi2(c*z/sqrt(2)) - phi2(sqrt(2)*c*z/2)") and not is_zero("phi2(c*z/sqrt(2)) - phi2(c*z/sqrt(3))")


def test_what_is_outside_the_ring_is_refused():
    for text, words in (
        ("1/(1+z)", "single terms"),
        ("phi1(z**2)", "multiples of z"),
        ("phi1(1+z)", "multiples of z"),
        ("pi*phi1(z)", "rationals, roots"),
        ("sqrt(c)*z", "rationals, roots"),
    ):
        expression = parse(text, ("z", "c"))
        with pytest.raises(AlgebraError, match=words):
            Ring([expression], "z").element(expression)


# ---------------------------------------------------------------- the conditions


def test_the_counts_of_the_literature():
    """1, 2, 4, 9, 20 stiff conditions for orders 2 to 6, in total 36 (Luan, Alhsmy 2023), beside psi_1 = 0."""
    conditions = [c for c in stiff_conditions(6) if not c.of_stages]
    assert [sum(c.order == n for c in conditions) for n in range(2, 7)] == [1, 2, 4, 9, 20]
    assert len(conditions) - 1 == 36
    assert [c.name for c in conditions] == [str(t) for t in table(6)]


def test_the_published_table_to_order_5():
    """Luan, Ostermann 2014, table 1, with J = g', K = g''(u', .), L = g'''(u', u', .), B = g''(., .)."""
    printed = {
        "tau": r"\psi_{1}",
        "[tau]": r"\psi_{2}",
        "[tau,tau]": r"\psi_{3}",
        "[[tau]]": r"\sum_{i} b_{i}\,g'\,\psi_{2,i}",
        "[tau,tau,tau]": r"\psi_{4}",
        "[[tau,tau]]": r"\sum_{i} b_{i}\,g'\,\psi_{3,i}",
        "[[[tau]]]": r"\sum_{i} b_{i}\,g'\,\sum_{j} a_{ij}\,g'\,\psi_{2,j}",
        "[[tau],tau]": r"\sum_{i} b_{i}\,c_{i}\,g''\bigl(u',\,\psi_{2,i}\bigr)",
        "[tau,tau,tau,tau]": r"\psi_{5}",
        "[[tau,tau,tau]]": r"\sum_{i} b_{i}\,g'\,\psi_{4,i}",
        "[[[tau,tau]]]": r"\sum_{i} b_{i}\,g'\,\sum_{j} a_{ij}\,g'\,\psi_{3,j}",
        "[[[[tau]]]]": r"\sum_{i} b_{i}\,g'\,\sum_{j} a_{ij}\,g'\,\sum_{k} a_{jk}\,g'\,\psi_{2,k}",
        "[[[tau],tau]]": r"\sum_{i} b_{i}\,g'\,\sum_{j} a_{ij}\,c_{j}\,g''\bigl(u',\,\psi_{2,j}\bigr)",
        "[[tau,tau],tau]": r"\sum_{i} b_{i}\,c_{i}\,g''\bigl(u',\,\psi_{3,i}\bigr)",
        "[[[tau]],tau]": r"\sum_{i} b_{i}\,c_{i}\,g''\bigl(u',\,\sum_{j} a_{ij}\,g'\,\psi_{2,j}\bigr)",
        "[[tau],[tau]]": r"\sum_{i} b_{i}\,g''\bigl(\psi_{2,i},\,\psi_{2,i}\bigr)",
        "[[tau],tau,tau]": r"\sum_{i} b_{i}\,c_{i}^{2}\,g'''\bigl(u',\,u',\,\psi_{2,i}\bigr)",
    }
    assert {c.name: c.latex() for c in stiff_conditions(5) if not c.of_stages} == {
        name: f"{left} = 0" for name, left in printed.items()
    }


GENERIC = ExponentialTableau(
    "generic", 1, "coefficients without any property", ("1/5", "1/2", "-2/3"),
    (
        ("phi1(z/5)/3", "phi2(z)", "-phi3(z/2)"),
        ("2*phi1(z/2)", "phi0(z)/7", "phi2(-z/3)"),
        ("phi2(z)**2", "1/3", "z*phi1(z)"),
    ),
    ("phi1(z)/2", "3*phi3(z)", "phi2(z/2)-phi1(z/5)"),
)  # fmt: skip


def numbers(tableau):
    """c, a, b, phi as functions of mpmath numbers, evaluated without the exact ring."""

    def at(z):
        return tableau.coefficients(z)

    def phi(k, z):
        return phi_mp(k, z, mpmath.mp.dps)

    s = tableau.stages
    a = [[lambda z, i=i, j=j: at(z)[1][i][j] for j in range(s)] for i in range(s)]
    b = [lambda z, i=i: at(z)[2][i] for i in range(s)]
    return {"c": at(mpmath.mpf(1))[0], "a": a, "b": b, "phi": phi, "s": s}


@pytest.mark.parametrize("condition", [c for c in stiff_conditions(5) if not c.of_stages], ids=lambda c: c.name)
def test_python_and_exact_residual_agree_on_a_generic_method(condition):
    points = [sympy.Rational(n, 7) for n in (3, -5, 8, 11, -2)]
    with mpmath.workdps(40):
        z = [mpmath.mpf(x.p) / x.q for x in points]
        exact = condition.residual(GENERIC)
        expression = exact.expression(points[: exact.variables])
        value = eval(condition.python(), {"z": z, **numbers(GENERIC)})  # our own text, not a user's
        assert abs(value - mpmath.mpf(str(sympy.N(expression, 40)))) < mpmath.mpf(10) ** -30
        assert abs(value) > 1e-12
        weak = condition.residual(GENERIC, weak=True)
        at_root = eval(condition.python(), {"z": [mpmath.mpf(10) ** -30, *z[1:]], **numbers(GENERIC)})
        expression = weak.expression(points[1 : 1 + weak.variables])
        assert abs(at_root - mpmath.mpf(str(sympy.N(expression, 40)))) < mpmath.mpf(10) ** -25


@pytest.mark.parametrize("name, order", [("rk4", 4), ("dp5", 5), ("verner6", 6)])
def test_at_z_zero_the_conditions_are_those_of_runge_kutta_methods(name, order):
    """The 37 trees to order 6 once more: psi's at the origin are combinations of the classical conditions."""
    classical = methods.get(name).tableau
    plain = ExponentialTableau(name, order, "", classical.c, classical.A, classical.b)
    left = {}
    for condition in stiff_conditions(6):
        residual = condition.residual(plain)
        if not condition.of_stages and residual.terms:
            value = residual.coefficient((0,) * residual.variables)
            if value:
                left.setdefault(condition.order, []).append(condition.name)
    assert min(left, default=7) == order + 1


def test_classical_conditions_are_counted_and_reduce_to_known_ones():
    """Chains of linear vertices, forests of children: T(n) = T(n-1) + forests(n-1), T(1) = 2."""
    trees, forests = [0, 2], [1]
    for n in range(1, 7):
        powers = [sum(d * trees[d] for d in range(1, k + 1) if k % d == 0) for k in range(n + 1)]
        forests.append(sum(powers[k] * forests[n - k] for k in range(1, n + 1)) // n)
        trees.append(trees[n] + forests[n])
    assert trees[1:7] == [sum(c.order == n for c in classical_conditions(6)) for n in range(1, 7)]
    assert trees[1:5] == [2, 4, 11, 34]
    with pytest.raises(AlgebraError, match="1 to 8"):
        classical_conditions(9)


@pytest.mark.parametrize("condition", classical_conditions(4), ids=lambda c: c.name)
def test_classical_python_and_weights_agree_on_a_generic_method(condition):
    parts, s = GENERIC.parts, GENERIC.stages

    def taylor(entry, m):
        value = entry.coefficient((m,))
        return Fraction(int(value.numerator), int(value.denominator))

    b = [[taylor(entry, m) for entry in parts.b] for m in range(4)]
    a = [[[taylor(entry, m) for entry in row] for row in parts.A] for m in range(4)]
    c = [Fraction(int(x.numerator), int(x.denominator)) for x in parts.c]
    value = eval(condition.python(), {"a": a, "b": b, "c": c, "s": s})
    assert value == condition.residual(GENERIC) or value == pytest.approx(float(condition.residual(GENERIC)))
    assert condition.latex().endswith(
        rf"\frac{{1}}{{{condition.tree.density}}}" if condition.tree.density > 1 else "= 1"
    )


# ---------------------------------------------------------------- the methods


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


# ---------------------------------------------------------------- measured


def integrate(tableau, linear, g, u, steps, end=1.0):
    """The method step by step, in the basis where A is diagonal; g takes and gives values in that basis."""
    h = end / steps
    c, A, b = tableau.coefficients(h * linear)
    stage_factors, factor = [np.exp(x * h * linear) for x in c], np.exp(h * linear)
    for n in range(steps):
        values = []
        for i in range(tableau.stages):
            inner = sum((h * A[i][j] * values[j] for j in range(i)), stage_factors[i] * u)
            values.append(g((n + c[i]) * h, inner))
        u = factor * u + sum(h * w * value for w, value in zip(b, values, strict=True))
    return u


def slopes(errors):
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


@pytest.mark.parametrize("name", ["ho2-weak", "ho3", "etd3rk", "etdrk4", "krogstad4", "ho4", "exprk5s8", "lawson4"])
def test_classical_orders_are_seen_on_a_small_system(name):
    tableau = get(name).substitute(c2="1/3") if get(name).parameters else get(name)
    linear = np.array([-1.0, 0.5, 2.0])
    mix = np.array([[1.0, 0.4, -0.3], [0.2, -0.8, 0.5], [-0.6, 0.3, 0.7]])

    def g(t, u):
        return np.sin(mix @ u + t) + 0.3 * (mix.T @ u) ** 2 * np.cos(t)

    start = np.array([0.3, -0.2, 0.1])
    exact = integrate(get("exprk5s8"), linear, g, start, 1024)
    errors = [np.abs(integrate(tableau, linear, g, start, n) - exact).max() for n in (16, 32, 64, 128)]
    assert slopes(errors)[-1] == pytest.approx(tableau.order, abs=0.12)


# name: the range of the last slope on the nonlocal parabolic problem
STIFF_SLOPES = {
    "etd2rk": (1.75, 2.15),
    "ho2-weak": (1.85, 2.15),
    "ho3": (2.85, 3.15),
    "etd3rk": (2.0, 2.6),
    "etdrk4": (2.0, 2.7),
    "krogstad4": (2.9, 3.4),
    "strehmel-weiner4": (2.9, 3.4),
    "ho4": (3.8, 4.2),
    "exprk5s8": (4.7, 5.3),
    "lawson4": (0.9, 1.3),
}


@pytest.mark.parametrize("name", sorted(STIFF_SLOPES))
def test_stiff_orders_are_seen_on_a_parabolic_problem(name):
    """u_t = u_xx + int u dx + Phi, u = x(1-x) e^t, where g' does not respect the boundary: orders reduce to the stiff
    ones, by a fraction less. After Hochbruck, Ostermann 2005, section 6. Central differences are exact here."""
    tableau = get(name).substitute(c2="1/3") if get(name).parameters else get(name)
    points = 160
    k = np.arange(1, points + 1)
    x = k / (points + 1)
    sines = np.sqrt(2 / (points + 1)) * np.sin(np.pi * np.outer(k, x))
    linear = -4.0 * (points + 1) ** 2 * np.sin(np.pi * x / 2) ** 2
    width = 1 / (points + 1)
    shape = x * (1 - x)

    def g(t, u):
        growth = math.exp(t)
        return sines @ (width * (sines @ u).sum() + growth * (shape + 2 - width * shape.sum()))

    errors = [
        np.abs(sines @ integrate(tableau, linear, g, sines @ shape, n) - shape * math.e).max()
        for n in (8, 16, 32, 64, 128)
    ]
    low, high = STIFF_SLOPES[name]
    assert low < np.mean(slopes(errors)[-2:]) < high
    assert low - 0.1 < int(stiff_order(tableau, weak=True)) + 0.1 or name == "lawson4"


# ---------------------------------------------------------------- the data class


def test_stability_function_has_the_classical_order():
    for name in ("etd2rk", "etdrk4", "ho4", "exprk5s8"):
        tableau = get(name)
        errors = [abs(tableau.stability(-0.7 * t, 0.4j * t) - np.exp((-0.7 + 0.4j) * t)) for t in (0.4, 0.2)]
        assert slopes(errors)[0] > tableau.order + 0.7
        assert tableau.stability(-0.7, 0.0) == pytest.approx(math.exp(-0.7), rel=1e-15)


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


def test_conditions_with_free_coefficients_are_equations():
    """Two stages with b2 = x phi_1 + y phi_2: the strong form leaves (0, 1/c2), the weak one a line of solutions."""
    ansatz = ExponentialTableau(
        "ansatz", 2, "", ("0", "c2"), ((), ("c2*phi1(c2*z)",)),
        ("phi1(z)-x*phi1(z)-y*phi2(z)", "x*phi1(z)+y*phi2(z)"), parameters=("c2", "x", "y"),
    )  # fmt: skip
    c2, x, y = sympy.symbols("c2 x y")
    condition = StiffCondition(tree("[tau]"))
    assert sympy.solve(condition.residual(ansatz).equations(), [x, y], dict=True) == [{x: 0, y: 1 / c2}]
    (weak,) = condition.residual(ansatz, weak=True).equations()
    assert sympy.solve(weak, x) == [(1 - c2 * y) / (2 * c2)]


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


def one_step(tableau, g, u, start, h, sign):
    """A step of size h in log-SNR on u' = sign u + g(log-SNR, u), by the tableau."""
    c, A, b = tableau.coefficients(sign * h)
    values = []
    for i in range(tableau.stages):
        inner = math.exp(sign * c[i] * h) * u + h * sum(A[i][j] * values[j] for j in range(i))
        values.append(g(start + c[i] * h, inner))
    return math.exp(sign * h) * u + h * sum(w * value for w, value in zip(b, values, strict=True))


def test_the_published_updates_are_steps_of_the_tableaus():
    """DPM-Solver-3 in x/sigma and DPM-Solver++(2S) in x/alpha, the updates of spec/samplers.md on a VP process."""

    def scales(lam):
        return 1 / math.sqrt(1 + math.exp(-2 * lam)), 1 / math.sqrt(1 + math.exp(2 * lam))

    def noise(x, lam):
        return math.sin(2 * x) + 0.3 * lam

    def data(x, lam):
        return (x - scales(lam)[1] * noise(x, lam)) / scales(lam)[0]

    x, lam, h, r1, r2 = 0.7, -0.4, 0.9, 0.4, 0.8
    (a0, s0), (a1, s1), (a2, s2), (a, s) = (scales(lam + r * h) for r in (0, r1, r2, 1))

    e0 = noise(x, lam)
    e1 = noise(a1 / a0 * x - s1 * math.expm1(r1 * h) * e0, lam + r1 * h)
    phi2 = math.expm1(r2 * h) / (r2 * h) - 1  # r2 h phi_2(r2 h)
    u2 = a2 / a0 * x - s2 * math.expm1(r2 * h) * e0 - s2 * r2 / r1 * phi2 * (e1 - e0)
    e2 = noise(u2, lam + r2 * h)
    published = a / a0 * x - s * math.expm1(h) * e0 - s / r2 * (math.expm1(h) / h - 1) * (e2 - e0)
    solver = get("dpm-solver-3").substitute(r1="2/5", r2="4/5")
    ours = s * one_step(solver, lambda t, v: -noise(scales(t)[1] * v, t), x / s0, lam, h, 1)
    assert ours == pytest.approx(published, rel=1e-14)

    d0 = data(x, lam)
    d1 = data(s1 / s0 * x - a1 * math.expm1(-r1 * h) * d0, lam + r1 * h)
    published = s / s0 * x - a * math.expm1(-h) * ((1 - 1 / (2 * r1)) * d0 + d1 / (2 * r1))
    solver = get("dpmpp-2s").substitute(r1="2/5")
    ours = a * one_step(solver, lambda t, w: data(scales(t)[0] * w, t), x / a0, lam, h, -1)
    assert ours == pytest.approx(published, rel=1e-14)
    assert abs(a * one_step(solver, lambda t, w: data(scales(t)[0] * w, t), x / a0, lam, h, 1) - published) > 1e-3
