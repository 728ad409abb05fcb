"""Stability of multistep methods: published intervals, angles and barriers; computed roots; sequences of steps."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.algebra.multistep import (
    FAMILIES,
    Multistep,
    adams_bashforth,
    adams_moulton,
    bdf,
    from_text,
    get,
    milne_simpson,
    nodes,
    nystroem,
)
from odekit.algebra.multistep_conditions import error_constant, order_of
from odekit.algebra.multistep_rules import quadrature
from odekit.algebra.multistep_stability import (
    a_alpha,
    imaginary_interval,
    is_a_stable,
    is_schur,
    is_stable_at,
    locus,
    real_interval,
    root_condition,
    violating_root,
    zero_stable,
)
from odekit.algebra.multistep_unequal import differences, growth, ratio_limit
from odekit.algebra.polynomials import first_positive, polynomial, product, real_roots, roots, value
from odekit.algebra.trees import AlgebraError


def test_bdf():
    """theory.md, section C; Hairer, Wanner II, table V.2.1."""
    assert [zero_stable(bdf(k)) for k in range(1, 13)] == [True] * 6 + [False] * 6
    known = [90, 90, 86.0324, 73.3517, 51.8398, 17.8398]
    assert np.allclose([a_alpha(bdf(k)) for k in range(1, 7)], known, atol=5e-5)
    assert a_alpha(bdf(7)) == 0 and a_alpha(adams_bashforth(2)) == 0 and a_alpha(adams_moulton(3)) == 0


def test_adams_intervals():
    assert [real_interval(adams_bashforth(k)) for k in range(1, 6)] == [
        2, 1, Fraction(6, 11), Fraction(3, 10), Fraction(90, 551),
    ]  # fmt: skip
    moulton = [math.inf, math.inf, 6, 3, Fraction(90, 49), Fraction(45, 38)]  # Hairer, Wanner II, V.1
    assert [real_interval(adams_moulton(k)) for k in range(1, 7)] == moulton
    assert real_interval(nystroem(2)) == 0 and imaginary_interval(nystroem(2)) == pytest.approx(1)
    assert real_interval(bdf(6)) == math.inf and real_interval(bdf(7)) == 0
    assert imaginary_interval(milne_simpson(2)) == pytest.approx(math.sqrt(3), abs=1e-14)
    assert imaginary_interval(adams_bashforth(3)) == pytest.approx(0.7236, abs=1e-4)
    assert imaginary_interval(adams_bashforth(2)) == 0 and imaginary_interval(bdf(2)) == math.inf


@pytest.mark.parametrize("name", ["ab-3", "ab-4", "nystroem-2", "milne-simpson-2"])
def test_imaginary_intervals_by_simulation(name):
    """Just inside, powers of the companion matrix stay bounded; just outside, they grow."""
    method = get(name)
    alpha, beta = (np.array([complex(v) for v in part]) for part in (method.alpha, method.beta))
    end = imaginary_interval(method)
    for y, stable in ((0.5 * end, True), (0.99 * end, True), (1.01 * end, False)):
        p = alpha - 1j * y * beta
        companion = np.eye(len(p) - 1, k=-1, dtype=complex)
        companion[0] = -p[1:] / p[0]
        assert (np.abs(np.linalg.matrix_power(companion, 4096)).max() < 1e2) == stable


def test_a_root_at_infinity_is_unstable():
    """Where alpha_0 = z beta_0 the equation for the new value has no solution."""
    method = from_text("m", 1, ["1", "-1"], ["-1", "2"])
    assert not is_stable_at(method, Fraction(-1)) and is_stable_at(method, Fraction(-1, 9))


@pytest.mark.parametrize("name", ["ab-3", "am-3", "bdf-4"])
@pytest.mark.parametrize("z", [-0.1, -0.5, -1.5, -4.0])
def test_stability_against_computed_roots(name, z):
    alpha, beta = (np.array([float(v) for v in part]) for part in (get(name).alpha, get(name).beta))
    assert is_stable_at(get(name), Fraction(z)) == bool(np.abs(np.roots(alpha - z * beta)).max() <= 1)


@pytest.mark.parametrize("make", [adams_bashforth, adams_moulton])
@pytest.mark.parametrize("order", [3, 4, 5])
def test_intervals_by_simulation(make, order):
    end = float(real_interval(make(order)))
    alpha, beta = (np.array([float(v) for v in part]) for part in (make(order).alpha, make(order).beta))
    for z, stable in ((-0.99 * end, True), (-1.01 * end, False)):
        assert (np.abs(np.roots(alpha - z * beta)).max() <= 1) == stable


def test_sectors_by_sampling():
    for k in (3, 4, 5, 6):
        alpha, beta = (np.array([float(v) for v in part]) for part in (bdf(k).alpha, bdf(k).beta))

        def worst(angle, alpha=alpha, beta=beta):
            rays = -np.exp(1j * np.radians(angle)) * np.geomspace(1e-3, 1e3, 400)
            return max(np.abs(np.roots(alpha - z * beta)).max() for z in rays)

        assert worst(a_alpha(bdf(k)) - 0.1) <= 1 < worst(a_alpha(bdf(k)) + 0.5)


@given(st.lists(st.fractions(-2, 2, max_denominator=9), min_size=2, max_size=5))
@settings(max_examples=60)
def test_root_condition_against_roots(tail):
    p = [Fraction(1), *tail]
    radius = np.abs(np.roots([float(v) for v in p])).max(initial=0)
    if abs(radius - 1) > 1e-6:
        assert root_condition(p) == is_schur(p) == (radius < 1)


@given(st.lists(st.sampled_from([(1, 1), (-1, 1), (1, 0, 1), (1, 1, 1)]), min_size=1, max_size=4), st.integers(2, 9))
def test_roots_on_the_circle_must_be_simple(factors, inner):
    p = product(*(polynomial(f) for f in factors), polynomial([1, inner]))
    assert root_condition(p[::-1]) == (len(set(factors)) == len(factors))


def test_root_condition_with_complex_coefficients():
    from sympy import QQ, QQ_I

    i, one = QQ_I(QQ(0), QQ(1)), QQ_I(QQ(1), QQ(0))
    assert root_condition([one, -i]) and root_condition([one, i * 0, one])
    assert not root_condition([one, -2 * i, -one])  # (z - i)^2
    assert not root_condition([one, -2 * i]) and is_schur([2 * one, i])
    assert root_condition([one, -(one + i), i])  # 1 and i


def test_roots_that_break_zero_stability():
    assert violating_root(bdf(6)) is None and abs(violating_root(bdf(7))[0]) == pytest.approx(1.0222, abs=1e-4)
    assert violating_root(from_text("m", 1, ["1", "-2", "1"], ["0", "1", "-1"])) == (1, 2)
    assert violating_root(from_text("m", 1, ["1", "-5/2", "2", "-1/2"], ["0", "1", "0", "0"])) == (1, 2)


def test_root_condition_on_the_circle():
    assert root_condition([1, 0, 0, -1]) and not is_schur([1, 0, 0, -1])
    assert not root_condition([1, -1, -1, 1])  # (z - 1)^2 (z + 1)
    assert root_condition([4, -7, 4]) and root_condition([1.0, -1.75, 1.0])
    assert not root_condition([1.0, -2.0, 1.0])


def test_first_dahlquist_barrier():
    """Zero-stable methods of k steps are of order k + 1 (k odd) or k + 2 (k even) at most, explicit ones of order k."""
    generator = np.random.default_rng(0)
    seen = {}
    for k in (1, 2, 3, 4):
        points = nodes(k)
        for trial in range(60):
            # rho = (z - 1) q(z): rational q, symmetric in half of the trials so that roots lie on the circle
            q = [Fraction(int(v), 8) for v in generator.integers(-8, 9, k)]
            q[0] = Fraction(1)
            if trial % 2:
                q = [(a + b) / 2 for a, b in zip(q, q[::-1], strict=True)]
            if q[0] == 0:
                continue
            alpha = [a - b for a, b in zip([*q, 0], [0, *q], strict=True)]
            for first in (0, 1):
                beta = quadrature(points, alpha, range(first, k + 1))
                method = Multistep("m", points, tuple(alpha), beta)
                if zero_stable(method) and sum(beta):
                    limit = (k + 2 if k % 2 == 0 else k + 1) if first == 0 else k
                    assert order_of(method) <= limit
                    seen[k, first] = max(seen.get((k, first), 0), order_of(method))
    assert all(seen[k, 0] == (k + 2 if k % 2 == 0 else k + 1) for k in (1, 2, 3, 4))
    assert all(seen[k, 1] == k for k in (1, 2, 3, 4))


def test_beyond_the_barrier_nothing_is_stable():
    """The methods of the highest order 2k, and the explicit one of order 3 with two steps: all unstable from k = 3."""
    for k in (2, 3, 4):
        c = [-sympy.Integer(j) for j in range(k + 1)]
        rows = [
            [v**q for v in c[1:]] + [-q * (v ** (q - 1) if q > 1 else 1) if q else 0 for v in c]
            for q in range(2 * k + 1)
        ]
        right = [-(c[0] ** q if q else 1) for q in range(2 * k + 1)]
        solution = sympy.Matrix(rows).LUsolve(sympy.Matrix(right))
        values = [Fraction(int(v.p), int(v.q)) for v in solution]
        method = Multistep("m", tuple(Fraction(1 + int(v)) for v in c), (1, *values[:k]), tuple(values[k:]))
        assert order_of(method) == 2 * k and zero_stable(method) == (k == 2)
    explicit = Multistep("m", nodes(2), (1, 4, -5), (0, 4, 2))
    assert order_of(explicit) == 3 and not zero_stable(explicit) and violating_root(explicit) == (-5, 1)


def test_second_dahlquist_barrier():
    for make in FAMILIES.values():
        for order in range(2, 8):
            method = make(order)
            assert not is_a_stable(method) or (order_of(method) <= 2 and not method.is_explicit)
    stable = [bdf(1), bdf(2), adams_moulton(1), adams_moulton(2)]
    assert all(map(is_a_stable, stable))
    assert min(abs(error_constant(m)) for m in stable if order_of(m) == 2) == Fraction(1, 12)  # the trapezoidal rule


def test_locus():
    z = locus(bdf(2), np.array([0.3]))[0]
    alpha, beta = (np.array([float(v) for v in part]) for part in (bdf(2).alpha, bdf(2).beta))
    assert np.abs(np.abs(np.roots(alpha - z * beta)) - 1).min() < 1e-12


# Unequal steps.


def test_growing_steps():
    """1 + sqrt(2), and the golden ratio: Grigorieff 1983; Hairer, Norsett, Wanner I, III.5."""
    assert ratio_limit(bdf, 2) == pytest.approx(1 + math.sqrt(2), abs=1e-9)
    assert ratio_limit(bdf, 3) == pytest.approx((1 + math.sqrt(5)) / 2, abs=1e-9)
    assert ratio_limit(bdf, 1) == math.inf and ratio_limit(adams_bashforth, 4) == math.inf
    assert ratio_limit(bdf, 7) == 0


def test_any_sequence_of_bounded_ratios():
    assert growth(adams_bashforth, 3, 10.0).verdict == "stable"
    found = growth(bdf, 3, 1.7)
    assert found.verdict == "unstable"
    total, w = np.eye(2), found.worst
    for i in range(10 * len(w)):  # the sequence named does grow
        total = differences(bdf(3, [Fraction(w[(i - j) % len(w)]) for j in range(2)])) @ total
    assert np.abs(total).max() > 1.1
    assert growth(bdf, 3, 1.3).verdict == "stable"


def test_equal_steps_are_meant():
    """Regions are those of equal steps: of the method's own formula there, where it has one."""
    assert real_interval(bdf(2, [2])) == math.inf and real_interval(adams_bashforth(2, symbolic=True)) == 1
    doubled = from_text("m", 1, ["1", "-2", "1"], ["0", "1", "-1"])  # stable on (-2, 0), not at 0
    assert is_stable_at(doubled, Fraction(-1)) and real_interval(doubled) == 0 == imaginary_interval(doubled)
    with pytest.raises(AlgebraError, match="equal steps"):
        real_interval(Multistep("m", nodes(2, [2]), (1, -1, 0), (0, 1, 0)))
    with pytest.raises(AlgebraError, match="rational"):
        real_interval(from_text("m", 1, ["1", "-sqrt(2)", "sqrt(2)-1"], ["0", "1", "0"]))


def test_polynomials():
    p = product(polynomial([-1, 1]), polynomial([-1, 1]), polynomial([-2, 0, 1]))
    assert [float(x) for x in real_roots(p)] == pytest.approx([-(2**0.5), 1, 2**0.5])
    assert value(p, Fraction(3)) == 28 and len(roots(p)) == 3
    assert first_positive(polynomial([0, -1])) is None and first_positive(polynomial([0, 1])) == 0
    assert first_positive(product(polynomial([-1, 1]), polynomial([-1, 1]), polynomial([-3, 1]))) == 3  # touches at 1
