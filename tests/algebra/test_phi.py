"""phi functions against closed forms at 60 digits and more, on sweeps that cross every switch of formula."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from odekit.algebra.phi import (
    closed_form,
    derivative,
    evaluate,
    in_exponentials,
    index_of,
    phi,
    phi_mp,
    recurrence,
    taylor,
)
from odekit.algebra.trees import AlgebraError
from odekit.expressions import parse

TOLERANCE = 1e-14
REFERENCE_DIGITS = 60


def reference(k, z):
    """The closed form, with digits to spare for all it cancels; the series below 1e-4."""
    with mpmath.workdps(REFERENCE_DIGITS + 60):
        z = mpmath.mpmathify(z)
        if abs(z) < 1e-4:
            return mpmath.fsum(z**j / mpmath.factorial(j + k) for j in range(32))
        return (mpmath.exp(z) - mpmath.fsum(z**j / mpmath.factorial(j) for j in range(k))) / z**k


def worst(k, z, values):
    """The largest error in units of the scale that the issue sets: |phi_k| for real z, and a floor for complex z."""
    found = 0.0
    for x, value in zip(z, values, strict=True):
        exact = reference(k, x)
        scale = abs(exact)
        if isinstance(x, complex):
            scale = max(scale, mpmath.exp(max(x.real, 0.0)) / (1 + abs(x)) ** k)
        found = max(found, float(abs(mpmath.mpmathify(value) - exact) / scale))
    return found


def sizes(k):
    """Distances from the origin: 0, tiny ones, all decades, both sides of the circle |z| = k, up to 700."""
    rim = max(k, 1)
    near = [rim * (1 + s) for s in (-1e-2, -1e-15, 0.0, 1e-15, 1e-2)]
    dense = np.linspace(0.05, 2.5 * rim, 41)
    return np.concatenate([[0.0, 5e-324, 1e-300, 1e-20], np.geomspace(1e-16, 700.0, 60), dense, near, [700.0]])


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("k", range(9))
def test_real_arguments_to_1e14_relative(k):
    z = np.concatenate([sizes(k), -sizes(k)])
    assert worst(k, z.tolist(), phi(k, z).tolist()) < TOLERANCE


@pytest.mark.parametrize("k", range(9))
def test_complex_arguments_to_1e14_of_the_natural_scale(k):
    directions = np.exp(1j * np.pi * np.array([0.07, 0.31, 0.5, 0.62, 0.88, 1.0, -0.5, -0.23]))
    z = (sizes(k)[::2, None] * directions).ravel()
    periods = 2j * np.pi * np.arange(1, 111)  # zeros of phi_1, and where sines cancel
    z = np.concatenate([z, periods, periods[:20] * (1 + 1e-9), periods[:20] + 1e-6])
    z = z[np.abs(z) <= 700.0]
    assert worst(k, z.tolist(), phi(k, z).tolist()) < TOLERANCE


@pytest.mark.parametrize("k", range(2, 9))
def test_complex_zeros_of_phi(k):
    """Near its zeros (in the right half plane) phi_k is small against the terms it is made of."""
    zeros = []
    with mpmath.workdps(30):
        for m in range(3, 15):
            z = mpmath.mpc(1, 2 * mpmath.pi * m)
            for _ in range(100):  # e^z = sum_{j<k} z^j/j!, solved for the exponent: a contraction
                z = mpmath.log(mpmath.fsum(z**j / mpmath.factorial(j) for j in range(k))) + 2j * mpmath.pi * m
            if abs(reference(k, z)) * abs(z) ** k < 1e-15 * mpmath.exp(z.real):
                zeros.append(complex(z))
    assert len(zeros) >= 8
    z = [x * (1 + s) for x in zeros for s in (0, 1e-12, 1e-6)]
    assert worst(k, z, phi(k, z).tolist()) < TOLERANCE


def test_a_naive_float64_recurrence_fails_the_same_sweep():
    """Negative control: the sweep sees a cancellation that the two formulas avoid."""

    def naive(k, z):
        value = np.exp(z)
        for j in range(k):
            value = (value - 1 / math.factorial(j)) / z
        return value

    z = sizes(3)[4:]
    assert worst(3, z.tolist(), naive(3, z).tolist()) > 1e10 * TOLERANCE


def test_the_naive_recurrence_in_float32_loses_three_digits_at_a_tenth_and_all_at_a_hundredth():
    """Finding 10 of spec/samplers.md; and what we give for float32 input is good to float32 and better."""

    def naive(k, z):
        value = np.exp(z)
        for j in range(k):
            value = (value - np.float32(1 / math.factorial(j))) / z
        return value

    def error(k, z, value):
        return abs(float(value) / float(reference(k, float(z))) - 1)

    tenth, hundredth = np.float32(0.1), np.float32(0.01)
    assert error(3, tenth, naive(3, tenth)) > 1e3 * 2**-24
    assert error(4, hundredth, naive(4, hundredth)) > 1
    for k in range(9):
        for z in (tenth, hundredth, -tenth, np.float32(1e-30)):
            assert error(k, z, phi(k, z)) < TOLERANCE


@pytest.mark.parametrize("k", range(1, 9))
def test_the_two_formulas_meet_without_a_step(k):
    """Across |z| = k the value moves by what phi_k' allows and rounding, no more."""
    rim = float(max(k, 1))
    for direction in (1.0, -1.0, 1j, np.exp(2.1j)):
        inside = np.nextafter(rim, 0) * direction
        outside = np.nextafter(rim, np.inf) * direction
        jump = abs(phi(k, outside) - phi(k, inside))
        assert jump < TOLERANCE * max(abs(phi(k, inside)), math.exp(max(inside.real, 0)) / (1 + rim) ** k)


@given(st.integers(0, 7), st.floats(0, 700))
@settings(deadline=None, max_examples=200)
def test_recurrence_upwards_holds_where_it_does_not_cancel(k, z):
    assert phi(k, z) == pytest.approx(z * phi(k + 1, z) + 1 / math.factorial(k), rel=4e-14, abs=0)


@given(st.integers(1, 8), st.floats(-700, 700))
@settings(deadline=None, max_examples=200)
def test_between_its_bounds(k, z):
    """0 < phi_k(z), increasing in z, and phi_k(z) <= max(1, e^z)/k!."""
    value = phi(k, z)
    assert 0 < value <= max(1.0, math.exp(z)) / math.factorial(k) * (1 + TOLERANCE)


def test_shapes_kinds_and_limits():
    assert isinstance(phi(1, 2), float) and isinstance(phi(1, 2j), complex)
    assert phi(2, np.ones((2, 3), dtype=np.float32)).shape == (2, 3)
    assert phi(2, np.ones(2, dtype=np.float32)).dtype == np.float64
    assert phi(2, np.ones(2, dtype=np.complex64)).dtype == np.complex128
    assert [phi(k, -math.inf) for k in range(4)] == [0.0] * 4  # a step to sigma = 0
    assert math.isnan(phi(2, math.nan))
    with pytest.raises(AlgebraError, match="phi_-1"):
        phi(-1, 0.0)


@pytest.mark.parametrize("digits", [15, 50, 200])
def test_any_digits_against_the_hypergeometric_function(digits):
    for k in range(9):
        for z in (0, "1e-40", "-0.3", "0.49", "0.51", 4, -8, "-700", 700, mpmath.mpc(0, 40), mpmath.mpc("1e-9", 1)):
            z = mpmath.mpmathify(z)
            value = phi_mp(k, z, digits)
            with mpmath.workdps(digits + 30):
                exact = mpmath.hyp1f1(1, k + 1, z) / mpmath.factorial(k)
                assert abs(value - exact) <= abs(exact) * mpmath.mpf(10) ** (1 - digits)


def test_mpmath_numbers_stay_mpmath_numbers():
    with mpmath.workdps(40):
        value = phi(2, mpmath.mpf(-1))
        assert isinstance(value, mp.mpf) and abs(value - mpmath.exp(-1)) < mpmath.mpf(10) ** -39


# ---------------------------------------------------------------- symbols


@pytest.mark.parametrize("k", range(9))
def test_symbols_agree_with_the_definition(k):
    z = sympy.Symbol("z")
    series = sympy.series(closed_form(k, z), z, 0, 4).removeO()
    assert [series.coeff(z, j) for j in range(4)] == [sympy.Rational(1, math.factorial(j + k)) for j in range(4)]
    assert taylor(k, 2) == [Fraction(1, math.factorial(k)), Fraction(1, math.factorial(k + 1))]
    assert closed_form(k, 0) == sympy.Rational(1, math.factorial(k))
    if k:
        assert sympy.simplify(in_exponentials(recurrence(k, z)) - closed_form(k, z)) == 0
    for times in (1, 2, 3):
        claimed = sum(factor * closed_form(index, z) for index, factor in derivative(k, times).items())
        assert sympy.simplify(claimed - sympy.diff(closed_form(k, z), z, times)) == 0


def test_a_wrong_derivative_would_show():
    z = sympy.Symbol("z")
    wrong = closed_form(2, z) - 3 * closed_form(3, z)  # the factor is k = 2
    assert sympy.simplify(wrong - sympy.diff(closed_form(2, z), z)) != 0


def test_expressions_in_formal_phi():
    expression = parse("2*phi2(-c*h) - sqrt(2)*phi1(h)**2/3", symbols=("c", "h"))
    found = evaluate(expression, {"c": 0.5, "h": 0.3})
    assert found == pytest.approx(2 * phi(2, -0.15) - math.sqrt(2) / 3 * phi(1, 0.3) ** 2, rel=1e-15)
    with mpmath.workdps(40):
        fine = evaluate(expression, {"c": mpmath.mpf("0.5"), "h": mpmath.mpf("0.3")})
        closed = in_exponentials(expression).subs({"c": sympy.Rational(1, 2), "h": sympy.Rational(3, 10)}).evalf(50)
        assert abs(fine - mpmath.mpf(str(closed))) < mpmath.mpf(10) ** -38
    array = evaluate(expression, {"c": 0.5, "h": np.array([0.3, 1.0])})
    assert array.shape == (2,) and array[0] == found
    with pytest.raises(AlgebraError, match="h has no value"):
        evaluate(expression, {"c": 1.0})
    assert (index_of("phi12"), index_of("phix"), index_of("phi")) == (12, None, None)
