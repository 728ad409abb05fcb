"""Order conditions of exponential Runge-Kutta methods: against print and against numbers."""

from fractions import Fraction

import mpmath
import pytest
import sympy

from odekit import methods
from odekit.algebra.exponential import ExponentialTableau
from odekit.algebra.exponential_conditions import (
    StiffCondition,
    classical_conditions,
    stiff_conditions,
)
from odekit.algebra.phi import phi_mp
from odekit.algebra.trees import AlgebraError, table, tree


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
