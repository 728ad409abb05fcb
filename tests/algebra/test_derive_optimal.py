"""Derived Runge-Kutta methods of least error, of largest stability interval, and strongly stable ones."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy
from derived_runge_kutta import c2, c3, refused
from sympy import Rational as R

from odekit.algebra.conditions import principal_error
from odekit.algebra.derive import derive
from odekit.algebra.derive.rk_error import error_terms, monomials
from odekit.methods import files

# Least errors.


@pytest.mark.parametrize("norm", ["2", "bound"])
def test_ralston(norm):
    assert derive("minimum-error", order=2, norm=norm).method.exact == files.get("ralston").exact


def test_ralston_of_order_three_and_four_minimise_lotkins_bound():
    third, fourth = derive("minimum-error", order=3, norm="bound"), derive("minimum-error", order=4, norm="bound")
    assert third.method.exact[:3] == derive("explicit-runge-kutta", order=3).at(c2="1/2", c3="3/4").method.exact[:3]
    assert len(fourth.published) == 1 and not fourth.published[0]
    for order, point, value in (
        (3, (R(1, 2), R(3, 4)), 1 / 9),
        (4, (R(2, 5), (14 - 3 * sympy.sqrt(5)) / 16), 5.4626754e-2),
    ):
        bound = sum(abs(e) for e in monomials(error_terms(order)).values())
        found = float(bound.subs(dict(zip((c2, c3), point, strict=True))))
        assert found == pytest.approx(value, rel=1e-7)  # the values that Ralston prints
        around = sympy.lambdify((c2, c3), bound, "numpy")
        x, y = np.meshgrid(np.linspace(-1.001, 2, 700), np.linspace(-1.0007, 2, 700))
        assert np.nanmin(around(x, y)) > found
        angle = np.linspace(0, 2 * np.pi, 50)
        assert (around(float(point[0]) + 1e-4 * np.cos(angle), float(point[1]) + 1e-4 * np.sin(angle)) > found).all()


def test_the_least_2_norm_of_order_three_is_the_only_critical_point():
    error = sum(e**2 for e in error_terms(3).values())  # a polynomial, large far away: a minimum exists
    slopes = [sympy.numer(sympy.together(sympy.diff(error, x))) for x in (c2, c3)]
    real = sympy.real_roots(sympy.resultant(*slopes, c3))
    assert len(real) == 1 and sympy.Poly(9 * c2**3 - 18 * c2**2 + 47 * c2 - 20, c2).eval(real[0].evalf(60)) < 1e-50
    found = derive("minimum-error", order=3)
    assert found.data["c"][1] == str(real[0].evalf(40))
    norm = found.certificate().principal_error.norm
    assert norm < derive("minimum-error", order=3, norm="bound").certificate().principal_error.norm


def test_the_least_2_norm_of_order_four():
    found = derive("minimum-error", order=4).certificate()
    norm = found.principal_error.norm
    assert found.order == 4 and norm == pytest.approx(0.01197745054, rel=1e-9)
    error = sympy.lambdify((c2, c3), sum(e**2 for e in error_terms(4).values()), "numpy")
    x, y = np.meshgrid(np.linspace(-1.0003, 2, 1200), np.linspace(-1.0007, 2, 1200))
    assert np.nanmin(error(x, y)) ** 0.5 > norm
    # Far out two terms alone are larger: (5 c3 - 3)/120 and (5 c2 - 2)/240 grow.
    for term, at in (
        ("[[[tau],tau]]", {c3: -1}),
        ("[[[tau],tau]]", {c3: 2}),
        ("[[[tau,tau]]]", {c2: -1}),
        ("[[[tau,tau]]]", {c2: 2}),
    ):
        terms = {str(t): e for t, e in error_terms(4).items()}
        assert abs(terms[term].subs(at)) > norm
    for case in ("c2=c3", "c3=0", "c2=1"):  # one parameter each: every critical point, and the end at infinity
        error = sympy.together(sum(e**2 for e in error_terms(4, case).values()))
        (x,) = error.free_symbols
        least = min(error.subs(x, root) for root in sympy.real_roots(sympy.numer(sympy.together(sympy.diff(error, x)))))
        assert least > norm**2 and sympy.limit(error, x, sympy.oo) > norm**2


def test_kutta_and_ralston_are_not_least_in_the_2_norm():
    best = derive("minimum-error", order=4).certificate().principal_error.norm
    assert all(principal_error(name, 4).norm > best for name in ("rk4", "rk38", "ralston4"))


# Stability.


@pytest.mark.parametrize("stages", [1, 2, 3, 5, 8])
def test_chebyshev_of_order_one_reaches_two_s_squared(stages):
    found = derive("maximum-stability", stages=stages).certificate()
    assert found.order == 1 and found.stability.real_interval == 2 * stages**2


@pytest.mark.parametrize("stages", [2, 3, 4, 5, 8])
def test_chebyshev_of_order_two(stages):
    found = derive("maximum-stability", stages=stages, order=2).certificate()
    least = 2 * (stages**2 - 1) / 3
    assert found.order == 2 and found.findings() == []
    reach = found.stability.real_interval
    assert reach == pytest.approx(least, rel=1e-12) if stages % 2 == 0 else reach > least


@pytest.mark.parametrize(("order", "damping"), [(1, "1/20"), (2, "2/13")])
def test_damping_keeps_the_factor_below_one_inside(order, damping):
    found = derive("maximum-stability", stages=6, order=order, damping=damping).certificate()
    reach, R_ = found.stability.real_interval, found.stability
    inside = np.abs(R_(-np.linspace(0.3, 0.97 * reach, 500)))
    assert inside.max() < 0.97 and reach > 0.9 * (72 if order == 1 else 70 / 3)


@pytest.mark.parametrize("stages", [2, 3, 4, 5, 8, 9])
def test_imaginary_interval(stages):
    found = derive("maximum-stability", stages=stages, interval="imaginary").certificate()
    assert found.findings() == [] and found.order == 1 + stages % 2
    assert found.stability.imaginary_interval == pytest.approx(stages - 1, rel=1e-12)


def test_stability_that_cannot_be_had():
    refused(lambda: derive("maximum-stability", stages=4, order=2, interval="imaginary"), "odd number of stages")
    refused(lambda: derive("maximum-stability", stages=1, interval="imaginary"), "no imaginary interval")
    refused(lambda: derive("maximum-stability", stages=4, damping="-1"), "damping must be")
    refused(lambda: derive("maximum-stability", stages=4, interval="reel"), "did you mean 'real'")


@pytest.mark.parametrize(
    ("stages", "order", "radius"),
    [(1, 1, 1), (4, 1, 4), (2, 2, 1), (5, 2, 4), (3, 3, 1), (4, 3, 2), (9, 3, 6), (10, 4, 6)],
)
def test_strong_stability(stages, order, radius):
    found = derive("strong-stability", stages=stages, order=order).certificate()
    assert found.order == order and found.ssp == Fraction(radius) and found.findings() == []


def test_strong_stability_has_its_barriers():
    refused(lambda: derive("strong-stability", stages=7, order=5), "4 is the most")
    refused(lambda: derive("strong-stability", stages=2, order=3), "needs 3")
    refused(lambda: derive("strong-stability", stages=5, order=3), "no exact method")


def test_ssp104_is_ketchesons():
    published = files.read_method_file(Path(__file__).parent / "data" / "ssp104.toml")
    assert derive("strong-stability", stages=10, order=4).method.exact[:3] == published.exact[:3]
