"""The group of maps and its fields: against composed tableaus, and by the laws they must obey."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.algebra.runge_kutta import Scheme, average_vector_field, scheme, series
from odekit.algebra.series import Series, compose, exact, field, identity
from odekit.algebra.trees import AlgebraError, table, tree

fractions = st.fractions(min_value=-2, max_value=2, max_denominator=6)


@st.composite
def maps(draw, order=4, colours=1, constant=1):
    trees = table(order, colours)
    return Series(trees, [constant, *(draw(fractions) for _ in range(len(trees) - 1))])


@st.composite
def tableaus(draw, stages=2):
    row = st.lists(fractions, min_size=stages, max_size=stages)
    return draw(st.lists(row, min_size=stages, max_size=stages)), draw(row)


def joined(first, second):
    """The tableau of two steps in one, by hand."""
    (A, b), (C, d) = first, second
    top = [[*row, *[0] * len(d)] for row in A]
    return top + [[*b, *row] for row in C], [*b, *d]


# Composition against what it stands for.


@given(tableaus(), tableaus(3))
@settings(max_examples=15)
def test_composition_is_two_steps_in_one(first, second):
    both = joined(first, second)
    assert series(first, 5).then(series(second, 5)) == series(both, 5)


@given(tableaus())
@settings(max_examples=15)
def test_inverse_and_adjoint_are_those_of_the_tableau(method):
    A, b = method
    stages = range(len(b))
    backwards = [[A[i][j] - b[j] for j in stages] for i in stages], [-w for w in b]
    mirrored = [[b[j] - A[i][j] for j in stages] for i in stages], b
    assert series(method, 5).inverse() == series(backwards, 5)
    assert series(method, 5).adjoint() == series(mirrored, 5)


def test_composition_of_two_colours_is_two_steps_in_one():
    # Implicit Euler in the second part of the field, then explicit Euler in the first: one additive stage.
    second, first = Scheme("", ([[0]], [[1]]), ([0], [1])), Scheme("", ([[0]], [[0]]), ([1], [0]))
    both = Scheme("", ([[0]], [[1]]), ([1], [1]))
    assert series(second, 5).then(series(first, 5)) == series(both, 5)
    assert series(first, 5).then(series(second, 5)) != series(both, 5)


def test_two_colours_with_equal_tableaus_are_one():
    one, two = series("rk4", 5), series(["rk4", "rk4"], 5)
    for t in two:
        plain = tree(str(t).replace("_0", "").replace("_1", ""))
        assert two[t] == one[plain]


def test_a_map_followed_by_a_field():
    # The field at the end of a step of explicit Euler, h f(y + h f(y)): only the root is the field's own.
    moved = series("euler", 4).then(field(4))
    assert {str(t): v for t, v in moved.items() if v} == {"tau": 1, "[tau]": 1, "[tau,tau]": 1, "[tau,tau,tau]": 1}


# Laws.


@given(maps(), maps(), maps())
@settings(max_examples=15)
def test_composition_is_associative(a, b, c):
    assert a.then(b).then(c) == a.then(b.then(c)) == compose(a, b, c)


@given(maps(), maps())
@settings(max_examples=15)
def test_inverses(a, b):
    one = identity(4)
    assert a.then(a.inverse()) == one == a.inverse().then(a)
    assert a.then(one) == a == one.then(a)
    assert a.then(b).inverse() == b.inverse().then(a.inverse())
    assert a.adjoint().adjoint() == a and a.then(b).adjoint() == b.adjoint().then(a.adjoint())


@given(maps(constant=0), maps())
@settings(max_examples=15)
def test_logarithm_and_exponential_undo_each_other(c, a):
    assert c.exp().log() == c and a.log().exp() == a
    assert a.inverse().log() == -a.log()


@given(maps(constant=0), fractions, fractions)
@settings(max_examples=15)
def test_flows_are_one_parameter_groups(c, s, t):
    assert c.exp(s).then(c.exp(t)) == c.exp(s + t)
    assert c.exp() ** s == c.exp(s)


@given(maps(), fractions, fractions)
@settings(max_examples=15)
def test_powers(a, s, t):
    assert (a**s).then(a**t) == a ** (s + t)
    assert a**3 == a.then(a).then(a) and a**0 == identity(4) and a**-2 == a.inverse().then(a.inverse())


@given(maps(order=3, colours=2), maps(order=3, colours=2), maps(order=3, colours=2, constant=0))
@settings(max_examples=10)
def test_laws_in_two_colours(a, b, c):
    assert a.then(b).then(a) == a.then(b.then(a)) and a.inverse().then(a) == identity(3, 2)
    assert c.exp().log() == c and a.log().exp() == a


@given(maps(constant=0), maps(constant=0), maps(constant=0))
@settings(max_examples=10)
def test_brackets_form_a_lie_algebra(a, b, c):
    jacobi = a.bracket(b.bracket(c)) + b.bracket(c.bracket(a)) + c.bracket(a.bracket(b))
    assert a.bracket(b) == -b.bracket(a) and not any(jacobi.coefficients)


@given(maps(order=4), fractions)
def test_scaling_the_step_commutes_with_composition(a, s):
    assert a.then(a).scaled(s) == a.scaled(s).then(a.scaled(s))


# The exact flow.


def test_exact_flow():
    for order, colours in ((8, 1), (4, 2)):
        flow = exact(order, colours)
        assert flow.log() == field(order, colours) and field(order, colours).exp() == flow
        assert exact(order, colours, Fraction(1, 3)).then(exact(order, colours, Fraction(2, 3))) == flow
        assert flow.adjoint() == flow
    assert np.allclose(exact(6, step=0.5).coefficients, exact(6, step=Fraction(1, 2)).map(float).coefficients)


def test_a_wrong_coefficient_of_the_exact_flow_shows():
    wrong = exact(5)
    wrong.coefficients[tree("[[tau],[tau]]").id] += Fraction(1, 1000)
    assert wrong.log() != field(5) and wrong.adjoint() == wrong  # odd order: symmetric all the same
    wrong.coefficients[tree("[[tau],tau]").id] += Fraction(1, 1000)
    assert wrong.adjoint() != wrong


def test_strang_splitting():
    a, b = (field(3, colours=2, colour=k) for k in (0, 1))
    strang = compose(a.exp(Fraction(1, 2)), b.exp(), a.exp(Fraction(1, 2)))
    expected = a + b + b.bracket(b.bracket(a)) * Fraction(1, 12) - a.bracket(a.bracket(b)) * Fraction(1, 24)
    assert strang.log() == expected
    assert compose(a.exp(), b.exp()).log().truncated(2) == (a + b + a.bracket(b) / 2).truncated(2)


def test_average_vector_field_by_its_definition():
    avf = average_vector_field(4)
    assert avf["[[tau],tau]"] == Fraction(1, 3) * avf["tau"] * avf["[tau]"] and avf["[[[tau]]]"] == Fraction(1, 8)


# Rings.


def test_symbols_as_step_of_a_power():
    k = sympy.Symbol("k")
    powers = series("midpoint", 4) ** k
    for n in (-1, 2, 3):
        numbers = powers.map(lambda v, n=n: sympy.sympify(v).subs(k, n))
        assert numbers == series("midpoint", 4) ** n


def test_a_family_of_methods_in_one_symbol():
    x = sympy.Symbol("x")  # the generic second-order method with two stages
    family = series(([[0, 0], [x, 0]], [1 - 1 / (2 * x), 1 / (2 * x)]), 4)
    modified = family.log()
    for value, name in ((Fraction(1, 2), "midpoint"), (1, "heun2"), (Fraction(2, 3), "ralston")):
        numbers = modified.map(lambda v, value=value: sympy.sympify(v).subs(x, sympy.Rational(value)))
        assert numbers == series(name, 4).log()
    assert modified["[tau]"] == 0


def test_coefficients_in_phi_functions():
    z = sympy.Symbol("z")
    phi1, phi2 = (sympy.Function(f"phi{k}")(z) for k in (1, 2))
    a = Series(table(4), [1, phi1, phi2 / z, *[phi1 * phi2 + z] * 6])
    assert sympy.expand(a.log()["[tau]"] - phi2 / z + phi1**2 / 2) == 0
    assert a.then(a.inverse()) == identity(4) and a.log().exp() == a


def test_roots_stay_exact():
    gauss = series("gauss-2", 6)
    assert gauss.truncated(4) == exact(4) and gauss.adjoint() == gauss
    assert gauss["[[[[tau]]]]"] == Fraction(1, 144)
    root = gauss ** Fraction(1, 2)
    assert root.then(root) == gauss


def test_two_roots_at_once():
    first, second = series("gauss-2", 4), series("sdirk2", 4)
    both = first.then(second)
    assert both.then(second.inverse()) == first
    assert sympy.simplify(both["[tau]"] - second["[tau]"] - first["[tau]"] - second["tau"] * first["tau"]) == 0


def test_polynomials_and_floats_as_they_are():
    ring, x = sympy.ring("x", sympy.QQ)
    trees = table(3)
    a = Series(trees, [ring(1), *[x] * (len(trees) - 1)])
    assert a.then(a.inverse()) == identity(3) and a.log()["[tau]"] == x - x**2 / 2
    floats = series("rk4", 7, exact=False)
    assert floats.coefficients.dtype == float
    assert np.allclose(floats.log().coefficients, series("rk4", 7).log().map(float).coefficients, rtol=0, atol=1e-12)
    assert np.allclose((floats**0.5).then(floats**0.5).coefficients, floats.coefficients, atol=1e-14)


def test_binomials_of_the_identity_plus_a_leaf():
    # Explicit Euler k times: on the bush of order 2 the sum 0 + 1 + ... + (k - 1).
    for k in range(1, 6):
        assert (series("euler", 3) ** k)["[tau]"] == comb(k, 2)


# Refusals and the mapping.


def test_a_series_is_a_mapping():
    a = exact(4)
    assert len(a) == 8 == len(list(a)) and a[tree("[tau]")] == a["[tau]"] == a["[τ]"]
    assert dict(a)[tree("[tau,tau]")] == Fraction(1, 3) and sum(a.values()) == sum(v for _, v in a.items())
    assert list(a.of_order(3).values()) == [Fraction(1, 3), Fraction(1, 6)]
    with pytest.raises(KeyError, match="no coefficient"):
        a["[[[[tau]]]]"]
    with pytest.raises(KeyError):
        a[tree("tau", colours=2)]


def test_refusals():
    with pytest.raises(AlgebraError, match="needs a map"):
        field(3).then(field(3))
    with pytest.raises(AlgebraError, match="needs a map"):
        field(3).log()
    with pytest.raises(AlgebraError, match="needs a field"):
        exact(3).exp()
    with pytest.raises(AlgebraError, match="do not combine"):
        exact(3) + exact(3, colours=2)
    with pytest.raises(AlgebraError, match="no truncation"):
        exact(3).truncated(4)
    with pytest.raises(AlgebraError, match="colour 2"):
        field(3, colours=2, colour=2)
    for bad in (([[0]], [1], [1]), ([[0, 0]], [1]), [], ["rk4", "euler"], "ab-3"):
        with pytest.raises(AlgebraError):
            scheme(bad)


def test_orders_meet_at_the_smaller():
    assert (exact(5) + exact(3)).order == 3 and exact(5).then(exact(3)).order == 3
