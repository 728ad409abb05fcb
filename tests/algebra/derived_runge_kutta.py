"""Symbols, small fractions and refusals for tests of derived Runge-Kutta methods."""

import pytest
import sympy
from hypothesis import strategies as st

from odekit.exceptions import OdekitError

SMALL = st.fractions(min_value=-3, max_value=3, max_denominator=12)
c2, c3 = sympy.symbols("c2 c3")


def square(A, s):
    return [[*row, *[0] * (s - len(row))] for row in A]


def refused(call, match):
    with pytest.raises(OdekitError, match=match) as error:
        call()
    assert "\n" not in str(error.value)
