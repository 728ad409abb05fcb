"""Number fields: correct rounding, quadrature to the last digit, stacking."""

import math
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from odekit.exceptions import ExpressionError
from odekit.expressions import FLOAT64, exact_value, field_of, mpfield, parse


@settings(deadline=None, max_examples=200)
@given(st.fractions())
def test_fractions_are_correctly_rounded(value):
    nearest = FLOAT64.number(value)
    error = abs(Fraction(nearest) - value)
    assert error <= abs(Fraction(math.nextafter(nearest, math.inf)) - value)
    assert error <= abs(Fraction(math.nextafter(nearest, -math.inf)) - value)
    wide = mpfield(40).number(value)
    with mp.workdps(60):
        assert abs(wide * value.denominator - value.numerator) <= mpmath.mpf(10) ** -40 * abs(value.numerator)


@pytest.mark.parametrize(
    ("exact", "value"),
    [
        (0.1, 0.1),
        (3, 3.0),
        ("1/3", 1 / 3),
        (Decimal("0.1"), 0.1),
        (np.float64(0.25), 0.25),
        (sympy.Rational(1, 3), 1 / 3),
        (sympy.sqrt(2), math.sqrt(2)),
        (sympy.pi, math.pi),
        ((1 + sympy.sqrt(2)) ** 2 - 3 - 2 * sympy.sqrt(2), 0.0),  # a zero in disguise
        (sympy.Float("0.1"), 0.1),
    ],
)
def test_numbers_of_every_spelling(exact, value):
    number = FLOAT64.number(exact)
    assert type(number) is float and number == value
    wide = mpfield(50).number(exact)
    assert isinstance(wide, mpmath.mpf) and float(wide) == value


def test_mpmath_numbers_have_their_digits_whatever_the_ambient_precision():
    for ambient in (5, 15, 80):
        with mp.workdps(ambient):
            numbers = [mpfield(50).number(0.1), mpfield(50).number("sqrt(2)")]
        with mp.workdps(70):
            assert abs(numbers[0] - mpmath.mpf(1) / 10) < mpmath.mpf(10) ** -51
            assert abs(numbers[1] - mpmath.sqrt(2)) < mpmath.mpf(10) ** -49
            assert numbers[1] != mpmath.sqrt(2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, "a", "1/0", None, sympy.Symbol("x"), sympy.I, [1], 1j, "1e400"])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(ExpressionError):
        FLOAT64.number(bad)


def test_exact_values():
    assert exact_value(0.1) == Fraction(1, 10)
    assert exact_value("0.1 + 1/5") == Fraction(3, 10)
    assert exact_value(parse("sqrt(2)")) == sympy.sqrt(2)


@pytest.mark.parametrize("field", [FLOAT64, mpfield(50)])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 16, 41])
def test_quadrature_integrates_polynomials(field, n):
    nodes, weights = field.gauss_legendre(n)
    assert len(nodes) == len(weights) == n and nodes == sorted(nodes)
    assert all(0 < x < 1 for x in nodes) and all(w > 0 for w in weights)
    with mp.workdps(60):
        for degree in (0, 1, n, 2 * n - 1):
            integral = mpmath.fsum(w * mpmath.mpf(x) ** degree for x, w in zip(nodes, weights, strict=True))
            tolerance = mpmath.mpf(10) ** (-48 if field is not FLOAT64 else -15)
            assert abs(integral * (degree + 1) - 1) < tolerance * (1 + degree)
        integral = mpmath.fsum(w * mpmath.mpf(x) ** (2 * n) for x, w in zip(nodes, weights, strict=True))
        if n <= 8:  # and no further: the rule has this degree, not a better one
            assert abs(integral * (2 * n + 1) - 1) > 1e-12


def test_quadrature_is_right_to_the_last_digit():
    for n in (5, 16, 64):
        floats = FLOAT64.gauss_legendre(n)
        wide = mpfield(40).gauss_legendre(n)
        for column, exact in zip(floats, wide, strict=True):
            assert column == [float(value) for value in exact]
    nodes, weights = FLOAT64.gauss_legendre(16)
    reference, masses = np.polynomial.legendre.leggauss(16)
    assert nodes == pytest.approx(((reference + 1) / 2).tolist(), abs=2e-16)
    assert weights == pytest.approx((masses / 2).tolist(), rel=1e-14)
    assert type(nodes[0]) is float


def test_quadrature_lists_are_the_callers_own():
    nodes, _ = FLOAT64.gauss_legendre(4)
    nodes[0] = 9.0
    assert FLOAT64.gauss_legendre(4)[0][0] != 9.0
    with pytest.raises(ExpressionError, match="at least one node"):
        FLOAT64.gauss_legendre(0)


def test_stacking():
    stacked = FLOAT64.stack([1.0, 2.0])
    assert stacked.dtype == torch.float64 and stacked.tolist() == [1.0, 2.0]
    t = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert FLOAT64.stack([t, 2 * t]).shape == (2, 2) and FLOAT64.stack([t, 2 * t]).requires_grad
    wide = mpfield(30).stack([mpmath.mpf(1), mpmath.mpf(2)])
    assert wide.dtype == object and wide.shape == (2,)
    assert mpfield(30).stack([wide, wide, wide]).shape == (3, 2)


def test_fields_of_numbers():
    for number in (0.5, 1, torch.zeros(2), np.float64(1), np.zeros(2)):
        assert field_of(number) is FLOAT64
    with mp.workdps(33):
        assert field_of(mpmath.mpf(1)) is mpfield(33)
        assert field_of(np.array([mpmath.mpf(1)], dtype=object)) is mpfield(33)
    with pytest.raises(ExpressionError, match="in no number field"):
        field_of("1")
    for digits in (0, 2.5, 10**6):
        with pytest.raises(ExpressionError, match="digits must be"):
            mpfield(digits)


def test_context():
    before = mp.dps
    with mpfield(42).context:
        assert mp.dps == 42
    assert mp.dps == before
    with FLOAT64.context:
        assert mp.dps == before
