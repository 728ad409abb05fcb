"""The ring of polynomials in z and phi functions: values, identities decided exactly, what is outside."""

import mpmath
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.algebra.exponential_polynomials import Ring
from odekit.algebra.phi import phi_mp
from odekit.algebra.trees import AlgebraError
from odekit.expressions import parse

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
