"""Linear multistep methods: published intervals, angles and barriers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.algebra.linear_multistep import (
    LinearMultistep,
    adams_bashforth,
    adams_moulton,
    bdf,
    linear_multistep,
    milne_simpson,
    nystroem,
    root_condition,
)
from odekit.algebra.polynomials import first_positive, polynomial, product, real_roots, roots, value
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import UnknownNameError


def test_coefficients_as_printed():
    assert adams_bashforth(3).beta == (Fraction(5, 12), Fraction(-16, 12), Fraction(23, 12), 0)
    assert adams_moulton(1).beta == (0, 1) and adams_moulton(4).beta == (
        Fraction(1, 24),
        Fraction(-5, 24),
        Fraction(19, 24),
        Fraction(9, 24),
    )
    assert bdf(3).alpha == (Fraction(-1, 3), Fraction(3, 2), -3, Fraction(11, 6))
    assert nystroem(2).beta == (0, 2, 0) and milne_simpson(2).beta == (Fraction(1, 3), Fraction(4, 3), Fraction(1, 3))
    assert linear_multistep("ab-4") == adams_bashforth(4)


def test_orders_and_error_constants():
    for k in range(1, 9):
        assert adams_bashforth(k).order == k and adams_moulton(k).order == k and bdf(k).order == k
        assert bdf(k).error_constant == Fraction(-1, k + 1)
    gamma = [Fraction(1, 2), Fraction(5, 12), Fraction(3, 8), Fraction(251, 720), Fraction(95, 288)]
    assert [adams_bashforth(k).error_constant for k in range(1, 6)] == gamma
    assert [milne_simpson(k).order for k in (2, 3, 4)] == [4, 4, 5] and nystroem(3).order == 3


def test_a_wrong_coefficient_lowers_the_order():
    wrong = LinearMultistep("", adams_bashforth(3).alpha, (Fraction(5, 12), Fraction(-15, 12), Fraction(23, 12), 0))
    assert wrong.order == 0 and adams_bashforth(3).order == 3
    balanced = LinearMultistep("", adams_bashforth(3).alpha, (Fraction(4, 12), Fraction(-14, 12), Fraction(22, 12), 0))
    assert balanced.order == 2


def test_bdf_is_zero_stable_to_six():
    assert [bdf(k).is_zero_stable for k in range(1, 9)] == [True] * 6 + [False] * 2


def test_angles_of_bdf():
    angles = [90, 90, 86.0324, 73.3517, 51.8398, 17.8398]
    assert [round(bdf(k).a_alpha, 4) for k in range(1, 7)] == angles and bdf(7).a_alpha == 0


def test_real_intervals_of_adams():
    intervals = [2, 1, Fraction(6, 11), Fraction(3, 10), Fraction(90, 551)]
    assert [adams_bashforth(k).real_interval for k in range(1, 6)] == intervals
    moulton = [float("inf"), 6, 3, Fraction(90, 49), Fraction(45, 38)]  # Hairer, Wanner II, V.1
    assert [adams_moulton(k).real_interval for k in range(2, 7)] == moulton
    assert nystroem(2).real_interval == 0 and bdf(6).real_interval == float("inf")


def test_barriers():
    """Dahlquist: zero-stable k-step methods are of order k + 1 at most (k + 2 for even k), A-stable ones of order 2."""
    made = [f(k) for f in (adams_bashforth, adams_moulton, bdf) for k in range(1, 7)]
    made += [f(k) for f in (nystroem, milne_simpson) for k in range(2, 7)]
    for method in made:
        if method.is_zero_stable:
            assert method.order <= method.steps + 1 + (method.steps % 2 == 0)
        if method.a_alpha == 90:
            assert method.order <= 2
    greedy = LinearMultistep("", (-5, 4, 1), (2, 4, 0))  # two steps, explicit, of order three: not zero-stable
    assert greedy.order == 3 and not greedy.is_zero_stable


def test_trapezoidal_rule_is_the_best_a_stable_method():
    assert adams_moulton(2).a_alpha == 90 and adams_moulton(2).error_constant == Fraction(-1, 12)


coefficients = st.lists(st.integers(-6, 6), min_size=2, max_size=6).filter(lambda c: c[-1] != 0)


@given(coefficients)
@settings(max_examples=100)
def test_root_condition_against_computed_roots(c):
    sizes = [abs(complex(r)) for r in roots(polynomial(c))]
    if all(abs(size - 1) > 1e-6 for size in sizes):
        assert root_condition(c) == all(size < 1 for size in sizes)


@given(st.lists(st.sampled_from([(1, 1), (-1, 1), (1, 0, 1), (1, 1, 1)]), min_size=1, max_size=4), st.integers(2, 9))
def test_roots_on_the_circle_must_be_simple(factors, inner):
    p = product(*(polynomial(f) for f in factors), polynomial([1, inner]))
    distinct = len(set(factors)) == len(factors)
    assert root_condition(p) == distinct


def test_polynomials():
    p = product(polynomial([-1, 1]), polynomial([-1, 1]), polynomial([-2, 0, 1]))
    assert [float(x) for x in real_roots(p)] == pytest.approx([-(2**0.5), 1, 2**0.5])
    assert value(p, Fraction(3)) == 28 and len(roots(p)) == 3
    assert first_positive(polynomial([0, -1])) is None and first_positive(polynomial([0, 1])) == 0
    assert first_positive(product(polynomial([-1, 1]), polynomial([-1, 1]), polynomial([-3, 1]))) == 3  # touches at 1


@pytest.mark.parametrize("name", ["ab-3", "am-3", "bdf-4"])
def test_stability_against_computed_roots(name):
    method = linear_multistep(name)
    for z in (-0.1, -0.5, -1.5, -4.0):
        exact = Fraction(z)
        found = np.roots([float(a) - z * float(b) for a, b in zip(method.alpha[::-1], method.beta[::-1], strict=True)])
        assert method.is_stable_at(exact) == bool(max(abs(found)) <= 1)


def test_refusals():
    with pytest.raises(UnknownNameError, match="did you mean"):
        linear_multistep("abb-3")
    with pytest.raises(AlgebraError, match="at least 2"):
        nystroem(1)
    with pytest.raises(AlgebraError, match="last alpha"):
        LinearMultistep("none", (1, 0), (0, 1))
