"""Free Lie algebras, splitting and composition methods, held against published counts, matrices and broken copies."""

import random
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm, logm

from odekit.algebra import compositions
from odekit.algebra.lie import bch, dimension, exp, letter, unit, words
from odekit.algebra.nystrom import vanishing
from odekit.algebra.processing import processing
from odekit.algebra.splitting import (
    Splitting,
    error_norm,
    error_terms,
    first_failure,
    order_of,
    residuals,
    series,
)
from odekit.algebra.splitting_conditions import count, splitting_conditions, symbolic
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import OdekitError

FREE = [2, 1, 2, 3, 6, 9, 18, 30, 56, 99]
STRANG = Splitting("strang", (("A", "1/2"), ("B", 1), ("A", "1/2")), 2)


def matrices(seed=0, size=6):
    generator = np.random.default_rng(seed)
    return {x: generator.standard_normal((size, size)) / 3 for x in "ABC"}


def product(method, parts, h):
    """The method on linear fields: Lie derivatives multiply in the order of application."""
    return reduce(np.matmul, (expm(h * float(v) * parts[x]) for x, v in method.as_flows().at(30).steps))


def bracketed(text, parts):
    """A bracket of letters, read and evaluated."""
    if len(text) == 1:
        return parts[text]
    depth = 0
    for position, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 1:
            u, v = bracketed(text[1:position], parts), bracketed(text[position + 1 : -1], parts)
            return u @ v - v @ u
    raise AssertionError(text)


# Words and brackets.


def test_dimensions_and_lyndon_words():
    every, odd = (tuple(f"Y{n}" for n in range(1, 11, step)) for step in (1, 2))
    assert [dimension(n) for n in range(1, 11)] == FREE
    assert [dimension(n, every) for n in range(1, 11)] == [1, 1, 2, 3, 6, 9, 18, 30, 56, 99]
    assert [dimension(n, odd) for n in range(1, 11)] == [1, 0, 1, 1, 2, 2, 4, 5, 8, 11]
    assert dimension(3, ("A", "B", "C")) == 8
    assert [len(level) for level in words(10).lyndon[1:]] == FREE
    assert [len(level) for level in words(8, every[:8]).lyndon[1:]] == [1, 1, 2, 3, 6, 9, 18, 30]


def test_composition_counts():
    assert [count(n, "adjoint") for n in range(1, 11)] == [1, 1, 2, 3, 6, 9, 18, 30, 56, 99]
    assert [len([c for c in splitting_conditions(8, "symmetric") if c.order == n]) for n in range(1, 9)] == [
        1, 0, 1, 1, 2, 2, 4, 5,
    ]  # fmt: skip


def test_bch_on_matrices():
    parts, h = matrices(), 0.01
    found = sum(float(v) * h ** sum(x in "AB" for x in k) * bracketed(k, parts) for k, v in bch(6).items())
    exact = logm(expm(h * parts["A"]) @ expm(h * parts["B"]))
    assert np.abs(found - exact).max() < 1e-13


def test_bch_is_known():
    known = {"[A,B]": "1/2", "[A,[A,B]]": "1/12", "[[A,B],B]": "1/12", "[A,[[A,B],B]]": "1/24"}
    found = bch(4)
    assert {k: str(found[k]) for k in known} == known
    assert all(v == 0 for k, v in found.items() if k not in known and k not in "AB")


@given(st.lists(st.fractions(-2, 2, max_denominator=7), min_size=4, max_size=4), st.sampled_from(["ABAB", "ABCA"]))
@settings(max_examples=15)
def test_group_laws(values, pattern):
    method = Splitting("m", tuple(zip(pattern, values, strict=True)))
    flow = series(method, 4)
    log = flow.log()
    assert log.exp() == flow and flow * flow.inverse() == unit(flow.table)
    assert series(method.adjoint(), 4) == flow.adjoint()
    log.brackets()  # raises unless the logarithm is a combination of brackets
    # the product of two Lyndon values is a sum of others: shuffles
    assert flow["A"] * flow["B"] == flow["AB"] + flow["BA"]


def test_what_is_no_bracket_is_refused():
    w = words(3)
    with pytest.raises(AlgebraError, match="no combination of brackets"):
        (letter(w, "A") * letter(w, "B")).brackets()
    with pytest.raises(AlgebraError, match="constant 0"):
        exp(unit(w))
    with pytest.raises(AlgebraError, match="'AX' is no word"):
        unit(w)["AX"]
    with pytest.raises(AlgebraError, match="at most"):
        words(20)


# Orders of known methods.


@pytest.mark.parametrize("name", compositions.names())
def test_known_methods(name):
    method = compositions.get(name)
    order, word, value = first_failure(method, method.order + 1)
    assert order == method.order, f"{name}: {word} is off by {value}"
    if method.kind != "flows" and method.order < 8:
        assert order_of(method.as_flows(), method.order + 1) == method.order


@pytest.mark.parametrize("name", [n for n in compositions.names() if compositions.get(n).order > 1])
def test_a_changed_step_is_seen(name):
    method = compositions.get(name)
    steps, generator = list(method.steps), random.Random(name)
    k = generator.randrange(len(steps))
    steps[k] = (steps[k][0], f"{steps[k][1]}+0.001")
    broken = Splitting("broken", tuple(steps), digits=method.digits, nystrom=method.nystrom)
    order, word, value = first_failure(broken, method.order)
    assert order < method.order and word and abs(value) > 1e-7


def test_strang():
    assert {k: v for k, v in series(STRANG, 3).log().brackets().items() if v} == {
        "A": 1,
        "B": 1,
        "[A,[A,B]]": Fraction(-1, 24),
        "[[A,B],B]": Fraction(1, 12),
    }
    assert error_norm(STRANG) == pytest.approx(5**0.5 / 24)


def test_yoshida_digits():
    outer, inner, _ = (float(v) for v in compositions.get("triple-jump-4").numbers(20))
    assert (outer, inner) == (1.3512071919596575, -1.7024143839193153)  # the nearest to 1.351207191959657634...
    assert 1 / (2 - 2 ** (1 / 3)) == 1.3512071919596578  # what float64 makes of it, as spec/theory.md prints it


def test_exact_residuals_of_roots():
    found = residuals(compositions.get("mclachlan-4").as_flows(), 4)
    assert all(v == 0 for v in found.values())  # exactly, in the field of sqrt(19)
    assert all(v == 0 for v in residuals(compositions.get("forest-ruth"), 4).values())


def test_swapped_mclachlan_drops_to_order_two():
    """JuliaGNI/GeometricIntegrators.jl #220: the adjoint comes first."""
    good = compositions.get("mclachlan-4")
    bad = compositions.swapped(good)
    assert (order_of(good), order_of(bad), order_of(bad.as_flows())) == (4, 2, 2)
    assert bad.is_symmetric


def test_orders_on_matrices():
    parts = matrices()
    for name in ("ruth-3", "mclachlan-4", "blanes-moan-4", "yoshida-6-a", "mclachlan-atela-4"):
        method = compositions.get(name)
        errors = [np.abs(product(method, parts, h) - expm(h * (parts["A"] + parts["B"]))).max() for h in (0.4, 0.2)]
        # a Nystroem method is of lower order for parts that are not of Nystroem's kind
        expected = method.order if not method.nystrom else order_of(Splitting("m", method.steps, digits=method.digits))
        assert abs(np.log2(errors[0] / errors[1]) - expected - 1) < 0.35, name


def test_leading_error_on_matrices():
    parts = matrices()
    for name in ("ruth-3", "forest-ruth"):
        method, h = compositions.get(name), 0.02 if name == "ruth-3" else 0.05
        lead = sum(float(v) * bracketed(k, parts) for k, v in error_terms(method).items())
        found = (product(method, parts, h) - expm(h * (parts["A"] + parts["B"]))) / h ** (method.order + 1)
        assert np.abs(found - lead).max() < 0.1 * np.abs(lead).max()


def test_symmetric_methods_have_odd_logarithms():
    log = series(compositions.get("forest-ruth"), 6).log()
    assert all(v == 0 for v, g in zip(log.coefficients, log.table.grades, strict=True) if g % 2 == 0)
    assert compositions.get("forest-ruth").is_symmetric and not compositions.get("ruth-3").is_symmetric
    assert any(v != 0 for v in series(compositions.get("ruth-3"), 4).log().coefficients[-16:])


def test_real_methods_above_order_two_step_back():
    """Sheng 1989, Suzuki 1991; Goldman, Kaper 1996: a negative step of every part."""
    for name in compositions.names():
        method = compositions.get(name)
        if method.order >= 3:
            steps = method.as_flows().at(20).steps
            assert all(min(v for y, v in steps if y == x) < 0 for x in "AB"), name
    assert all(float(v) > 0 for v in STRANG.numbers())


def test_positive_steps_miss_order_three():
    """The barrier seen from below: over positive steps, the two conditions of order 3 stay away from 0."""
    generator = np.random.default_rng(0)
    least = 1.0
    for _ in range(200):
        a, b = (generator.dirichlet(np.ones(4)) for _ in "AB")
        method = Splitting("m", tuple(zip("ABABABAB", np.ravel([a, b], order="F").tolist(), strict=True)))
        found = residuals(method, 3)
        least = min(least, max(abs(found[w]) for w in ("AB", "AAB", "ABB")))
    assert least > 1e-3


def test_any_numbers():
    """Floats and mpmath numbers are tested to the digits they have; SymPy's, as text, to 60."""
    import mpmath
    import sympy

    method = compositions.get("forest-ruth")
    exact = method.numbers()
    with mpmath.workdps(40):
        kinds = [tuple(map(float, exact)), method.numbers(40), tuple(sympy.sympify(v) for v in exact)]
        for values in kinds:
            same = Splitting("m", tuple(zip("ABABABA", values, strict=True)))
            assert order_of(same, 5) == 4 and same.is_symmetric and processing(same, 4).order == 4
            assert len(series(same, 3).log().brackets()) == 5
    assert error_norm(Splitting("m", tuple(zip("ABABABA", kinds[0], strict=True)))) == pytest.approx(error_norm(method))


def test_mclachlans_equivalence():
    """A composition and the splitting it makes of two parts are of the same order (McLachlan 1995)."""
    generator = np.random.default_rng(1)
    for _ in range(5):
        values = generator.dirichlet(np.ones(4))
        method = Splitting("m", tuple(zip(["M", "M*", "M", "M*"], map(float, values), strict=True)))
        assert order_of(method) == order_of(method.as_flows()) == 1


def test_nystrom():
    assert [dimension(n) - len(vanishing(9, n)) for n in range(1, 10)] == [2, 1, 2, 2, 4, 5, 10, 14, 25]
    for name, order in (("mclachlan-atela-4", 3), ("blanes-moan-srkn-11b", 4)):
        method = compositions.get(name)
        plain = Splitting("m", method.steps, digits=method.digits)
        assert order_of(plain) == order < order_of(method)


def test_three_parts():
    method = Splitting("m", tuple(zip("ABCBA", ["1/2", "1/2", 1, "1/2", "1/2"], strict=True)))
    assert order_of(method) == 2
    assert order_of(Splitting("m", (("A", 1), ("B", 1), ("C", 1)))) == 1


# Conditions that print themselves.


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("flows", "ABABAB"), ("adjoint", ["M*", "M", "M*", "M"]), ("symmetric", "SSS")],
)
def test_conditions_as_python_and_as_polynomials(kind, pattern):
    order = 5
    values = [Fraction(k * k + 1, 7 + k) * (-1) ** k for k in range(len(pattern))]
    found = residuals(Splitting("m", tuple(zip(pattern, values, strict=True))), order)
    polynomials = splitting_conditions(order, kind, pattern)
    if kind == "flows":
        scope = {"a": values[::2], "b": values[1::2], "s": 3}
    else:
        scope = {"gamma": values, "eps": [-1 if x == "M*" else 1 for x in pattern], "s": len(values)}
    place = {str(v): value for (_, v), value in zip(symbolic(pattern).steps, values, strict=True)}
    for condition, printed in zip(polynomials, splitting_conditions(order, kind), strict=True):
        assert eval(printed.python(), scope) == pytest.approx(float(found[printed.word]), abs=1e-12)
        if condition.order < 5:
            assert condition.residual.subs(place) == found[condition.word]
        assert printed.latex().count("{") == printed.latex().count("}") and "\\sum" in printed.latex()
        assert str(printed).startswith(f"{printed.word}: ")


def test_conditions_refuse_what_does_not_fit():
    with pytest.raises(OdekitError, match="did you mean"):
        splitting_conditions(3, "flow")
    with pytest.raises(AlgebraError, match="composes adjoint"):
        splitting_conditions(3, "flows", ["M", "M*"])
    with pytest.raises(AlgebraError, match="expected 1 to 12"):
        splitting_conditions(40)
    with pytest.raises(AlgebraError, match="pattern"):
        _ = splitting_conditions(2)[0].residual
    with pytest.raises(AlgebraError, match="do not mix"):
        Splitting("m", (("S", 1), ("A", 1)))
    with pytest.raises(OdekitError, match="did you mean"):
        compositions.get("yoshida-8")
