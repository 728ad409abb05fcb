"""Order conditions of multistep methods, error constants, and what the start lets through."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy

from odekit.algebra.multistep import (
    FAMILIES,
    adams_bashforth,
    adams_moulton,
    bdf,
    from_text,
    milne_simpson,
)
from odekit.algebra.multistep_conditions import (
    error_constant,
    multistep_conditions,
    order_of,
    order_with_start,
    residual,
    starting_errors,
)
from odekit.algebra.trees import AlgebraError


def test_error_constants():
    """Hairer, Norsett, Wanner I, III.2, tables 2.1 and 2.2 and (2.13)."""
    gamma = ["1/2", "5/12", "3/8", "251/720", "95/288"]
    assert [str(error_constant(adams_bashforth(k))) for k in range(1, 6)] == gamma
    implicit = ["-1/2", "-1/12", "-1/24", "-19/720", "-3/160"]
    assert [str(error_constant(adams_moulton(k))) for k in range(1, 6)] == implicit
    assert [error_constant(bdf(k)) for k in range(1, 9)] == [Fraction(-1, k + 1) for k in range(1, 9)]
    assert str(error_constant(milne_simpson(2))) == "-1/180"


def test_wrong_weights_lower_the_order():
    wrong = from_text("m", 3, ["1", "-1", "0", "0"], ["0", "23/12", "-15/12", "5/12"])
    assert order_of(wrong.on_equal_steps) == 0
    balanced = from_text("m", 3, ["1", "-1", "0", "0"], ["0", "22/12", "-14/12", "4/12"])
    assert order_of(balanced.on_equal_steps) == 2


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
    with pytest.raises(AlgebraError, match="how many steps"):
        _ = multistep_conditions(2)[0].residual
    with pytest.raises(AlgebraError, match="not zero-stable"):
        order_with_start(bdf(7), [7] * 6)
    with pytest.raises(AlgebraError, match="2 starting values"):
        order_with_start(bdf(3), [3])


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
