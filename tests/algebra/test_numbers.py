"""Numbers with roots against SymPy's, and the grading that turns rationals into integers."""

from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.algebra.numbers import Algebraic, array, is_zero, numbers, plain

rationals = st.fractions(min_value=-3, max_value=3, max_denominator=8)


@pytest.mark.parametrize("root", [sympy.sqrt(6), sympy.cbrt(2), sympy.sqrt(2) + sympy.sqrt(3)])
@given(st.lists(rationals, min_size=3, max_size=3), st.lists(rationals, min_size=3, max_size=3))
@settings(max_examples=10)
def test_arithmetic_of_a_field_is_sympys(root, p, q):
    x, y = (sum(sympy.Rational(c.numerator, c.denominator) * root**k for k, c in enumerate(part)) for part in (p, q))
    (a, b, _), leave = numbers(([x], 1), ([y], 1), ([root], 1))
    total, difference, product = (leave(v, w)[0] for v, w in ((a + b, 1), (a - b, 1), (a * b, 2)))
    for found, wanted in ((total, x + y), (difference, x - y), (product, x * y)):
        assert sympy.expand(sympy.sympify(found) - wanted) == 0


def test_fields_are_recognised():
    (a,), leave = numbers(([sympy.sqrt(6), sympy.Rational(1, 3)], 1))
    assert all(isinstance(v, Algebraic) for v in a)
    assert list(leave(a, 1)) == [sympy.sqrt(6), Fraction(1, 3)]


@given(st.lists(st.tuples(rationals, st.integers(1, 4)), min_size=1, max_size=8))
def test_graded_rationals_are_integers_and_come_back(pairs):
    values, weights = zip(*pairs, strict=True)
    (a,), leave = numbers((values, np.array(weights)))
    assert all(isinstance(v, int) for v in a)
    assert list(leave(a, np.array(weights))) == list(values)


def test_kinds():
    assert array([1, 0.5]).dtype == float and array([1, 0.5j]).dtype == complex
    assert array([1, sympy.Rational(1, 2)])[1] == Fraction(1, 2) and isinstance(plain(np.int64(3)), Fraction)
    assert is_zero(sympy.sqrt(2) * sympy.sqrt(3) - sympy.sqrt(6)) and is_zero(sympy.sqrt(8) - 2 * sympy.sqrt(2))
    assert not is_zero(sympy.sqrt(2) - sympy.Rational(141421356237, 10**11))
    assert is_zero(1e-14, 1e-12) and not is_zero(1e-14)
