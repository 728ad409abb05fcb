"""The printer: stable rewriting, one source for all kinds, and refusal of what it cannot print."""

import math

import mpmath
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from odekit.exceptions import OdekitError
from odekit.processes.code import FUNCTIONS, compiled, rewrite

x, y = sympy.symbols("x y", real=True)


@pytest.mark.parametrize(
    ("plain", "stable"),
    [
        (1 - sympy.exp(x), "-expm1(x)"),
        (3 - 3 * sympy.exp(x), "-3*expm1(x)"),
        (sympy.sqrt(1 - sympy.exp(2 * x)), "sqrt(-expm1(2*x))"),
        (sympy.log(1 + x * y), "log1p(x*y)"),
        (sympy.log(1 - sympy.exp(x)), "Log1mExp(x)"),
        (sympy.log(1 + sympy.exp(-2 * x)), "Softplus(-2*x)"),
        (sympy.log(2 + x), "log(x + 2)"),
        (-1 / (1 - x), "-1/(1 - x)"),  # turned round, it would reach x = 1 with the wrong sign
    ],
)
def test_rewriting(plain, stable):
    assert str(rewrite(plain)) == stable


@settings(deadline=None, max_examples=100)
@given(u=st.floats(-700, -1e-300))
def test_logarithm_of_one_minus_an_exponential(u):
    code = compiled(sympy.log(1 - sympy.exp(x)), (x,))
    with mp.workdps(400):
        exact = mpmath.log(-mpmath.expm1(mpmath.mpf(u)))
        for value in (code.on_float(u), code.on_torch(torch.tensor(u, dtype=torch.float64)).item()):
            assert abs(value - exact) <= 4e-16 * abs(exact)


@settings(deadline=None, max_examples=100)
@given(u=st.floats(-700, 1e300))
def test_softplus(u):
    code = compiled(sympy.log(1 + sympy.exp(x)), (x,))
    with mp.workdps(400):
        exact = mpmath.log1p(mpmath.exp(mpmath.mpf(u))) if u < 1e3 else mpmath.mpf(u)
        for value in (code.on_float(u), code.on_torch(torch.tensor(u, dtype=torch.float64)).item()):
            assert abs(value - exact) <= 4e-16 * abs(exact)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_in_every_dialect(name):
    function = getattr(sympy, name, None) or getattr(sympy.codegen.cfunctions, name)
    code = compiled(function(x) + sympy.Rational(1, 3) * sympy.pi * x + sympy.E, (x,))
    at = 1.5 if name == "acosh" else 0.7
    with mp.workdps(40):
        t = mpmath.mpf(at)
        exact = getattr(mpmath, name)(t) + mpmath.pi * t / 3 + mpmath.e
        assert abs(code.on_mpmath(t) - exact) < mpmath.mpf(10) ** -38
    for value in (code.on_float(at), code.on_torch(torch.tensor(at, dtype=torch.float64)).item()):
        assert value == pytest.approx(float(exact), rel=1e-15)
    with __import__("numpy").errstate(all="ignore"):
        assert float(code._for("numpy")(at)) == pytest.approx(float(exact), rel=1e-15)


def test_poles_and_overflow_are_infinities_on_floats():
    assert compiled(1 / x, (x,)).on_float(0.0) == math.inf
    assert compiled(sympy.log(x), (x,)).on_float(0.0) == -math.inf
    assert compiled(sympy.exp(x), (x,)).on_float(1e4) == math.inf
    assert compiled(sympy.sqrt(1 - sympy.exp(x)), (x,)).on_float(0.0) == 0.0
    assert math.copysign(1, compiled(sympy.sqrt(1 - sympy.exp(x)), (x,)).on_float(0.0)) == 1.0


def test_a_float_in_an_expression_means_its_decimal():
    with mp.workdps(40):
        assert abs(compiled(0.1 * x, (x,)).on_mpmath(mpmath.mpf(1)) - mpmath.mpf(1) / 10) < mpmath.mpf(10) ** -39


def test_what_cannot_be_printed_is_refused():
    with pytest.raises(OdekitError, match="no code for gamma"):
        compiled(sympy.gamma(x), (x,))
    with pytest.raises(OdekitError, match="the expression contains y; known here: x"):
        compiled(x + y, (x,))
