"""Multistep methods on any steps, held against textbooks, integration, and broken copies."""

import doctest
import importlib
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
    milne_simpson,
    nodes,
    nystroem,
    quadrature,
)
from odekit.algebra.multistep_conditions import (
    error_constant,
    multistep_conditions,
    order_of,
    order_with_start,
    residual,
    starting_errors,
)
from odekit.algebra.multistep_stability import (
    a_alpha,
    differences,
    growth,
    imaginary_interval,
    is_a_stable,
    is_schur,
    locus,
    ratio_limit,
    real_interval,
    root_condition,
    zero_stable,
)
from odekit.algebra.trees import AlgebraError

RATIOS = st.lists(st.fractions(Fraction(1, 3), 3, max_denominator=6), min_size=6, max_size=6)


@pytest.mark.parametrize("module", ["multistep", "multistep_conditions", "multistep_stability"])
def test_examples(module):
    assert doctest.testmod(importlib.import_module(f"odekit.algebra.{module}")).failed == 0


# Formulas.


def test_textbook_coefficients():
    """Hairer, Norsett, Wanner I, III.1: (1.5), (1.9), (1.13'), (1.22')."""
    known = {
        (adams_bashforth, 3): ["0", "23/12", "-4/3", "5/12"],
        (adams_moulton, 3): ["5/12", "2/3", "-1/12"],
        (nystroem, 3): ["0", "7/3", "-2/3", "1/3"],
        (milne_simpson, 3): ["1/3", "4/3", "1/3"],
    }
    for (family, order), beta in known.items():
        assert [str(v) for v in family(order).beta] == beta
    assert [str(v) for v in bdf(4).alpha] == ["1", "-48/25", "36/25", "-16/25", "3/25"]
    assert str(bdf(4).beta[0]) == "12/25"


@given(RATIOS, st.sampled_from(sorted(FAMILIES)), st.integers(1, 6))
@settings(max_examples=40)
def test_order_on_any_steps(ratios, family, order):
    make = FAMILIES[family]
    steps = len(make(order).nodes) - 1
    method = make(order, ratios[: steps - 1])
    assert order_of(method) >= order
    # the same seen with a polynomial of that degree, in floats
    c, alpha, beta = (np.array([float(v) for v in part]) for part in (method.nodes, method.alpha, method.beta))
    p = np.arange(1.0, order + 2)
    size = (abs(c).max() + 1) ** order * (abs(alpha).sum() + order * abs(beta).sum()) * order**2
    assert abs(alpha @ np.polyval(p, c) - beta @ np.polyval(np.polyder(p), c)) < 1e-12 * size


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_symbolic_ratios(family, order):
    make = FAMILIES[family]
    method = make(order, symbolic=True)
    ratios = [Fraction(k + 2, 2 * k + 3) for k in range(len(method.nodes) - 2)]
    direct = make(order, ratios)
    assert method.at(ratios).alpha == direct.alpha and method.at(ratios).beta == direct.beta
    assert order_of(method) >= order
    if order < 4:
        for q in range(order + 1):  # an identity in the ratios
            assert residual(method, q) == 0
        assert residual(method, order_of(method) + 1) != 0


def test_closed_forms():
    w = sympy.Symbol("w1")
    alpha, beta = adams_bashforth(2, symbolic=True).expressions()
    assert sympy.simplify(beta[1] - (1 + w / 2)) == 0 and sympy.simplify(beta[2] + w / 2) == 0
    alpha, beta = bdf(2, symbolic=True).expressions()
    assert sympy.simplify(alpha[1] + (1 + w) ** 2 / (1 + 2 * w)) == 0
    assert sympy.simplify(beta[0] - (1 + w) / (1 + 2 * w)) == 0
    scope = {}
    exec(bdf(3, symbolic=True).python(), scope)
    found = scope["bdf_3"](2.0, 0.5)
    direct = bdf(3, [2, "1/2"])
    assert np.allclose(found[0], [float(v) for v in direct.alpha]) and np.allclose(
        found[1], [float(v) for v in direct.beta]
    )
    assert "w_{1}" in bdf(2, symbolic=True).latex()


def test_high_orders():
    assert order_of(adams_bashforth(15)) == 15 and order_of(adams_moulton(16)) == 16 and order_of(bdf(12)) == 12
    assert order_of(adams_bashforth(6, symbolic=True)) == 6 and order_of(bdf(6, symbolic=True)) == 6


def test_a_changed_coefficient_is_seen():
    for make in FAMILIES.values():
        method = make(4)
        for part in ("alpha", "beta"):
            for j, value in enumerate(getattr(method, part)):
                if value:
                    changed = list(getattr(method, part))
                    changed[j] = value + Fraction(1, 1000)
                    both = {"alpha": method.alpha, "beta": method.beta} | {part: tuple(changed)}
                    broken = Multistep("broken", method.nodes, both["alpha"], both["beta"])
                    assert order_of(broken) < 4


def test_ratios_forgotten():
    """Adams-Bashforth with the weights of equal steps on unequal ones: order 1 at most."""
    method = Multistep("m", nodes(2, ["2"]), adams_bashforth(2).alpha, adams_bashforth(2).beta)
    assert order_of(method) == 1 and order_of(adams_bashforth(2, ["2"])) == 2


def test_error_constants():
    """Hairer, Norsett, Wanner I, III.2, tables 2.1 and 2.2 and (2.13)."""
    assert [str(error_constant(adams_bashforth(k))) for k in range(1, 6)] == ["1/2", "5/12", "3/8", "251/720", "95/288"]
    assert [str(error_constant(adams_moulton(k))) for k in range(1, 6)] == [
        "-1/2",
        "-1/12",
        "-1/24",
        "-19/720",
        "-3/160",
    ]
    assert [error_constant(bdf(k)) for k in range(1, 7)] == [Fraction(-1, k + 1) for k in range(1, 7)]
    assert str(error_constant(milne_simpson(3))) == "-1/180"


# Conditions.


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_conditions_as_python_and_symbols(family):
    method = FAMILIES[family](3, ["3/2", "2/3", "5/4"][: len(FAMILIES[family](3).nodes) - 2])
    k = len(method.nodes) - 1
    scope = {"alpha": method.alpha, "beta": method.beta, "nodes": method.nodes}
    place = {f"alpha{j}": v for j, v in enumerate(method.alpha)} | {f"beta{j}": v for j, v in enumerate(method.beta)}
    place |= {
        f"w{j + 1}": (a - b) / (b - c)
        for j, (a, b, c) in enumerate(zip(method.nodes, method.nodes[1:], method.nodes[2:], strict=False))
    }
    for condition in multistep_conditions(5, steps=k):
        q = condition.degree
        assert eval(condition.python(), scope) == residual(method, q)
        assert condition.residual.subs({n: sympy.Rational(v) for n, v in place.items()}) == residual(method, q)
        assert (residual(method, q) == 0) == (q <= order_of(method))
        assert condition.latex().startswith("\\sum_{j}") and str(condition).endswith("= 0")
    assert [c.tree for c in multistep_conditions(3)] == ["empty", "tau", "[tau]", "[tau,tau]"]


def test_refusals():
    with pytest.raises(AlgebraError, match="expected 1 to"):
        adams_bashforth(0)
    with pytest.raises(AlgebraError, match="expected 1 to"):
        adams_bashforth(40)
    with pytest.raises(AlgebraError, match="needs 2 positive ratios"):
        bdf(3, [2])
    with pytest.raises(AlgebraError, match="needs 2 positive ratios"):
        bdf(3, [2, -1])
    with pytest.raises(AlgebraError, match="how many steps"):
        _ = multistep_conditions(2)[0].residual
    with pytest.raises(AlgebraError, match="alpha_0 = 0"):
        Multistep("m", nodes(1), (0, 1), (1, 0))
    with pytest.raises(AlgebraError, match="equal steps"):
        real_interval(bdf(2, [2]))
    with pytest.raises(AlgebraError, match="not zero-stable"):
        order_with_start(bdf(7), [7] * 6)
    with pytest.raises(AlgebraError, match="2 starting values"):
        order_with_start(bdf(3), [3])


# Stability.


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
    assert [real_interval(adams_moulton(k)) for k in range(1, 6)] == [math.inf, math.inf, 6, 3, Fraction(90, 49)]
    assert real_interval(nystroem(2)) == 0 and imaginary_interval(nystroem(2)) == pytest.approx(1)
    assert real_interval(bdf(7)) == 0
    assert imaginary_interval(adams_bashforth(3)) == pytest.approx(0.7236, abs=1e-4)
    assert imaginary_interval(adams_bashforth(2)) == 0 and imaginary_interval(bdf(2)) == math.inf


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
    assert order_of(explicit) == 3 and not zero_stable(explicit)


def test_second_dahlquist_barrier():
    for make in FAMILIES.values():
        for order in range(1, 8):
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


# Starts.


def global_error(order, start, steps):
    """Adams-Bashforth on y' = cos(t) y from t = 0 to 2, starting values of wrong order injected."""
    h, rate = 2 / steps, np.cos
    exact = lambda t: np.exp(np.sin(t))  # noqa: E731
    y = [exact(j * h) + (5 * h**q if j else 0) for j, q in enumerate([0, *start])]
    beta = [float(b) for b in adams_bashforth(order).beta[1:]]
    while len(y) <= steps:
        n = len(y) - 1
        y.append(y[-1] + h * sum(b * rate((n - j) * h) * y[n - j] for j, b in enumerate(beta)))
    return abs(y[-1] - exact(2.0))


@pytest.mark.parametrize(
    ("order", "start"),
    [(3, [2, 2]), (3, [3, 3]), (4, [2, 3, 4]), (4, [3, 3, 3]), (4, [4, 4, 4]), (2, [1]), (4, [4, 4, 2])],
)
def test_starting_errors_count(order, start):
    slopes = [math.log2(global_error(order, start, n) / global_error(order, start, 2 * n)) for n in (640, 1280)]
    assert slopes[-1] == pytest.approx(order_with_start(adams_bashforth(order), start), abs=0.12)


def test_starts_by_formulas():
    assert starting_errors([1]) == [2] and starting_errors([2, 1, 5]) == [3, 2, 2]
    assert order_with_start(adams_bashforth(2), starting_errors([1])) == 2  # Euler's method starts order 2 well
    assert order_with_start(adams_bashforth(3), starting_errors([1, 2])) == 2
    conditions = [c for c in multistep_conditions(3, steps=3, start=True) if "start" in str(c)]
    assert [eval(c.python(), {"errors": [2, 3]}) for c in conditions] == [1, 0]
