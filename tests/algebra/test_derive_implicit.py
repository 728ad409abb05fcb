"""Derived diagonally implicit methods: their orders, stability, and the roots that are not stable."""

from fractions import Fraction

import pytest
import sympy
from derived_runge_kutta import SMALL, refused, square
from hypothesis import assume, given, settings
from sympy import Rational as R

from odekit.algebra.derive import derive
from odekit.algebra.derive.rk_forms import proved
from odekit.algebra.derive.rk_implicit import single
from odekit.algebra.trees import AlgebraError


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("stable", ["A", "L"])
def test_sdirk(order, stable):
    found = derive("sdirk", order=order, stable=stable)
    certificate = found.certificate()
    assert certificate.order == order and certificate.findings() == [] and not any(found.published)
    assert certificate.stability.is_a_stable and certificate.stability.is_l_stable == (stable == "L")
    assert len({str(row[-1]) for row in found.data["A"]}) == 1


def test_sdirk_of_order_four_has_gamma_in_closed_form():
    gamma = sympy.cos(sympy.pi / 18) / sympy.sqrt(3) + R(1, 2)
    assert derive("sdirk", order=4, stable="A", digits=60).data["c"][0] == str(gamma.evalf(60))


def test_other_roots_are_not_stable():
    assert not derive("sdirk", order=3, stable="A", root=1).certificate().stability.is_a_stable
    assert not any(derive("sdirk", order=4, stable="A", root=k).certificate().stability.is_a_stable for k in (1, 2))
    assert not any(derive("sdirk", order=3, root=k).certificate().stability.is_a_stable for k in (1, 3))
    refused(lambda: derive("sdirk", order=3, root=4), "1 to 3")


def test_conditions_hold_modulo_the_polynomial_only():
    A, b, condition = single(3, "A")
    rows, weights = [[sympy.sympify(a) for a in row] for row in square(A, 2)], [sympy.sympify(w) for w in b]
    at = {condition.gen: R(3, 4)}
    with pytest.raises(AlgebraError, match="is not of order 3"):
        proved("not at a root", [[a.subs(at) for a in row] for row in rows], [w.subs(at) for w in weights], 3)


@pytest.mark.parametrize("gamma", ["1/8", "1/4", "1/2", "1"])
def test_the_family_of_order_two_is_a_stable_from_a_quarter(gamma):
    found = derive("sdirk", order=2, stable="family").at(gamma=gamma, c2="2/3").certificate()
    assert found.order == 2 and found.stability.is_a_stable == (Fraction(gamma) >= Fraction(1, 4))
    assert not found.stability.is_l_stable
    refused(lambda: derive("sdirk", order=2, stable="family").at(gamma="1/3", c2="1/3").method, "zero")


def test_tr_bdf2():
    found = derive("esdirk").certificate()
    assert found.order == 2 and found.embedded_order == 3 and found.stage_order == 2 and found.stability.is_l_stable
    root = sympy.sqrt(2)
    w, d = root / 4, 1 - root / 2
    expected = [(1 - w) / 3, (3 * w + 1) / 3, d / 3]  # Hosea, Shampine 1996
    assert all(
        sympy.simplify(x - y) == 0 for x, y in zip(derive("esdirk").method.exact.b_embedded, expected, strict=True)
    )
    assert not derive("esdirk", gamma="1/4").certificate().stability.is_l_stable
    refused(lambda: derive("esdirk", gamma="1/2"), "coincide")


@settings(max_examples=8, deadline=None)
@given(b1=SMALL, c1=SMALL)
def test_dirk_families(b1, c1):
    second = derive("dirk", order=2).at(b1=b1).certificate()
    assert second.symplectic and second.order == 2
    assume(c1 != Fraction(1, 2))
    assert derive("dirk", order=3).at(c1=c1).certificate().order == 3


def test_dirk_of_order_four():
    found = derive("dirk", order=4).certificate()
    assert found.order == 4 and found.symplectic and found.symmetric and not found.stability.is_a_stable
    assert not derive("dirk", order=3).published[0]
