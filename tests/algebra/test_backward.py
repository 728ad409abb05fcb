"""Modified equations and modifying integrators against every published number of spec/theory.md, section C."""

from fractions import Fraction
from math import factorial, prod

import numpy as np
import pytest
import sympy

from odekit.algebra.backward import modified_equation, modifying_integrator
from odekit.algebra.runge_kutta import series
from odekit.algebra.series import exact, field
from odekit.algebra.trees import AlgebraError, table, tree

METHODS = ("euler", "implicit-euler", "midpoint", "implicit-midpoint", "heun2", "trapezoidal", "ssp33", "rk4")
TABLE = """
    τ                1     1    1      1      1      1      1      1
    [τ]              -1/2  1/2  0      0      0      0      0      0
    [[τ]]            1/3   1/3  -1/6   1/12   -1/6   1/12   0      0
    [τ,τ]            1/6   1/6  -1/12  -1/12  1/6    1/6    0      0
    [[τ,τ]]          -1/6  1/6  1/8    0      0      0      1/12   0
    [[[τ]]]          -1/4  1/4  1/8    0      1/8    0      -1/24  0
    [[τ],τ]          -1/12 1/12 0      0      -1/8   0      -1/24  0
    [τ,τ,τ]          0     0    0      0      0      0      0      0
    [[τ,τ,τ]]        1/30  1/30 -7/240 -7/240 1/30   1/30   -1/120 -1/120
    [[[τ],τ]]        1/10  1/10 -1/40  -1/240 7/120  1/60   -1/40  -1/240
    [[[[τ]]]]        1/5   1/5  -1/20  1/80   -1/20  1/80   1/30   -1/120
    [[[τ,τ]]]        3/20  3/20 -19/240 1/240 -7/120 1/40   -1/60  1/240
    [[τ,τ],τ]        1/60  1/60 3/80   -1/240 7/120  1/60   1/60   -1/240
    [[[τ]],τ]        1/20  1/20 7/240  -1/80  1/20   1/120  1/120  1/120
    [[τ],[τ]]        1/30  1/30 1/30   1/80   3/40   -1/120 1/30   1/80
    [[τ],τ,τ]        -1/60 -1/60 1/40  1/240  -7/120 -1/60  -1/60  1/240
    [τ,τ,τ,τ]        -1/30 -1/30 7/240 7/240  -1/30  -1/30  1/120  1/120
"""


@pytest.mark.parametrize("column,method", list(enumerate(METHODS, start=1)))
def test_modified_equations_to_order_five(column, method):
    rows = [row.split() for row in TABLE.strip().splitlines()]
    expected = {tree(row[0]): Fraction(row[column]) for row in rows}
    assert dict(modified_equation(method, 5)) == expected and len(expected) == 17


@pytest.mark.parametrize("order,total", [(6, "61/80"), (8, "7669/6720"), (9, "19063/26880"), (10, "1807/5376")])
def test_sums_of_the_modified_equation_of_the_midpoint_rule(order, total):
    assert sum(modified_equation("midpoint", order).values()) == Fraction(total)
    assert abs(sum(modified_equation("midpoint", order, exact=False).values()) - float(Fraction(total))) < 1e-12


@pytest.mark.parametrize("order,total", [(5, "191/120"), (8, "-227629/40320"), (9, "5460293/241920")])
def test_sums_of_the_modifying_integrator_of_the_midpoint_rule(order, total):
    assert sum(modifying_integrator("midpoint", order).values()) == Fraction(total)
    floats = modifying_integrator("midpoint", order, exact=False)
    assert abs(sum(floats.values()) - float(Fraction(total))) < 1e-9


# Structure.


def bush(n):
    return "[" + ",".join(["tau"] * (n - 1)) + "]" if n > 1 else "tau"


def tall(n):
    return "[" * (n - 1) + "tau" + "]" * (n - 1)


def test_euler_on_bushes_and_tall_trees():
    modified = modified_equation("euler", 9)
    bernoulli = [
        Fraction(1),
        Fraction(-1, 2),
        Fraction(1, 6),
        0,
        Fraction(-1, 30),
        0,
        Fraction(1, 42),
        0,
        Fraction(-1, 30),
    ]
    assert [modified[bush(n)] for n in range(1, 10)] == bernoulli
    assert [modified[tall(n)] for n in range(1, 10)] == [Fraction((-1) ** (n - 1), n) for n in range(1, 10)]


def test_the_adjoint_has_the_modified_equation_with_the_sign_of_h():
    for method, adjoint in (("euler", "implicit-euler"), ("rk4", None), ("radau-iia-2", None)):
        mirrored = modified_equation(adjoint or series(method, 6).adjoint(), 6)
        for t, value in modified_equation(method, 6).items():
            assert mirrored[t] == (-1) ** (t.order - 1) * value


@pytest.mark.parametrize("method", ["implicit-midpoint", "trapezoidal", "gauss-2"])
def test_symmetric_methods_vanish_at_even_orders(method):
    modified = modified_equation(method, 7)
    assert not any(v for t, v in modified.items() if t.order % 2 == 0)
    assert any(v for t, v in modified.items() if t.order in (5, 7))


def test_the_order_shows_as_the_first_term():
    for method, order in (("rk4", 4), ("dp5", 5), ("gauss-3", 6)):
        modified = modified_equation(method, order + 1)
        assert modified.truncated(order) == field(order) and modified != field(order + 1)


def test_the_flow_of_the_modified_equation_is_the_method():
    for method in ("midpoint", "radau-iia-2", "gauss-2"):
        assert modified_equation(method, 6).exp() == series(method, 6)


# Modifying integrators, against the definition: the method applied to the field it asks for is the exact flow.


def applied(method, c, order):
    """The coefficients of one explicit step of (A, b) applied to the field with coefficients c, by substitution.

    Stage series are composed with c tree by tree, on nested tuples and with no table but the trees' names.
    """
    A, b = method
    stages = [exact(order) * 0 for _ in b]
    for stage in stages:
        stage.coefficients[0] = Fraction(1)
    slopes = []
    for i, stage in enumerate(stages):
        for j in range(i):
            stage.coefficients[1:] = stage.coefficients[1:] + A[i][j] * slopes[j].coefficients[1:]
        slopes.append(stage.then(c))
    return sum((w * k for w, k in zip(b, slopes, strict=True)), start=c * 0)


@pytest.mark.parametrize("name", ["midpoint", "euler", "kutta3", "rk4"])
def test_the_method_applied_to_its_modifying_field_is_exact(name):
    from odekit.methods import get

    numbers = get(name).tableau.exact
    c = modifying_integrator(name, 6)
    step = applied((numbers.A, numbers.b), c, 6)
    assert dict(step) == dict(exact(6))
    c.coefficients[tree("[[tau],[tau]]").id] += Fraction(1, 720)
    assert dict(applied((numbers.A, numbers.b), c, 6)) != dict(exact(6))


def test_modifying_and_modified_agree_to_first_order_beyond_the_order():
    modified, modifying = modified_equation("rk4", 5), modifying_integrator("rk4", 5)
    assert modified - field(5) == -(modifying - field(5))


def test_modifying_integrators_with_roots_and_of_implicit_methods():
    for name in ("gauss-2", "sdirk2", "radau-iia-2"):
        exactly, floats = modifying_integrator(name, 6), modifying_integrator(name, 6, exact=False)
        assert np.allclose(exactly.map(float).coefficients, floats.coefficients, rtol=0, atol=1e-12)
    assert not any(v for t, v in modifying_integrator("gauss-2", 6).items() if t.order % 2 == 0)


def test_nonlinear_oscillator():
    """u' = J u/|u|^2 at (1, 0): in complex numbers f(z) = i / conj(z), whose derivatives are known for every order."""
    h = sympy.Symbol("h", real=True)

    def differential(t):  # F(t) at z = 1: f^(k)(v_1, ..., v_k) = i (-1)^k k! conj(v_1 ... v_k)
        children = [differential(child) for child in t.children]
        return sympy.I * (-1) ** len(children) * factorial(len(children)) * sympy.conjugate(prod(children))

    c = modifying_integrator("midpoint", 8)
    total = sum(h ** (t.order - 1) * sympy.Rational(v) / t.symmetry * differential(t) for t, v in c.items())
    total = sympy.expand(total)
    assert sympy.re(total) == h**5 / 48 + 31 * h**7 / 640
    assert sympy.im(total) == 1 + h**2 / 12 + h**4 / 20 + 127 * h**6 / 2016


def test_modifying_integrators_of_two_colours():
    alike = modifying_integrator(["midpoint", "midpoint"], 5)
    one = modifying_integrator("midpoint", 5)
    for t, v in alike.items():
        assert v == one[str(t).replace("_0", "").replace("_1", "")]
    mixed = modifying_integrator([([[0]], [1]), ([[1]], [1])], 3)  # symplectic Euler: explicit and implicit
    assert mixed["[tau_0]_0"] == Fraction(1, 2) and mixed["[tau_1]_1"] == Fraction(-1, 2)


def test_a_series_can_be_given_and_inconsistent_methods_are_refused():
    assert modified_equation(series("rk4", 6), 5) == modified_equation("rk4", 5)
    with pytest.raises(AlgebraError, match="sum to 2, not 1"):
        modifying_integrator(([[0]], [2]), 3)
    with pytest.raises(AlgebraError, match="multistep method"):
        modified_equation("ab-3", 4)


def test_the_table_has_every_tree_once():
    assert {str(t) for t in table(5)} == {str(tree(row.split()[0])) for row in TABLE.strip().splitlines()}
