"""Multistep formulas on any steps, held against textbooks, integration, and broken copies."""

import math
from dataclasses import replace
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
    names,
    nodes,
    nystroem,
)
from odekit.algebra.multistep_conditions import order_of, order_on_smooth_grids, residual
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import ExpressionError, UnknownNameError

RATIOS = st.lists(st.fractions(Fraction(1, 3), 3, max_denominator=6), min_size=6, max_size=6)


def test_textbook_coefficients():
    """Hairer, Norsett, Wanner I, III.1: (1.5), (1.9), (1.13), (1.15), (1.22')."""
    known = {
        "ab-3": ["0", "23/12", "-4/3", "5/12"],
        "am-1": ["1", "0"],
        "am-3": ["5/12", "2/3", "-1/12"],
        "am-4": ["3/8", "19/24", "-5/24", "1/24"],
        "nystroem-2": ["0", "2", "0"],
        "nystroem-3": ["0", "7/3", "-2/3", "1/3"],
        "milne-simpson-2": ["1/3", "4/3", "1/3"],
        "milne-simpson-4": ["29/90", "62/45", "4/15", "2/45", "-1/90"],
    }
    for name, beta in known.items():
        assert [str(v) for v in get(name).beta] == beta, name
    assert [str(v) for v in bdf(3).alpha] == ["1", "-18/11", "9/11", "-2/11"]
    assert [str(v) for v in bdf(4).alpha] == ["1", "-48/25", "36/25", "-16/25", "3/25"]
    assert str(bdf(4).beta[0]) == "12/25"


def test_names():
    assert get("ab-4") == adams_bashforth(4) and all(get(name).name == name for name in names())
    for name in ("abb-3", "ab-0", "ab-21", "ab-03", "ab-", "ab-x", "ab-²"):
        with pytest.raises(UnknownNameError, match="multistep method"):
            get(name)


@given(RATIOS, st.sampled_from(sorted(FAMILIES)), st.integers(2, 6))
@settings(max_examples=40)
def test_order_on_any_steps(ratios, family, k):
    method = FAMILIES[family](k).at(ratios[: len(FAMILIES[family](k).nodes) - 2])
    order = 3 if method.name == "milne-simpson-2" else method.order
    assert order_of(method) >= order
    # the same seen with a polynomial of that degree, in floats
    c, alpha, beta = (np.array([float(v) for v in part]) for part in (method.nodes, method.alpha, method.beta))
    p = np.arange(1.0, order + 2)
    size = (abs(c).max() + 1) ** order * (abs(alpha).sum() + order * abs(beta).sum()) * order**2
    assert abs(alpha @ np.polyval(p, c) - beta @ np.polyval(np.polyder(p), c)) < 1e-12 * size


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_symbolic_ratios(family, k):
    """Closed forms, put into numbers, are the formula made for these numbers."""
    make = FAMILIES[family]
    closed = replace(make(k, symbolic=True), rule=None)
    ratios = [Fraction(j + 2, 2 * j + 3) for j in range(len(closed.nodes) - 2)]
    direct = make(k, ratios)
    assert closed.at(ratios) == direct == make(k).at(ratios) and closed.on_equal_steps == make(k)
    if k < 4:
        order = order_of(closed)
        for q in range(order + 1):  # an identity in the ratios
            assert residual(closed, q) == 0
        assert residual(closed, order + 1) != 0


def test_closed_forms():
    """Hairer, Norsett, Wanner I, III.5: variable-step Adams-Bashforth 2 and BDF2."""
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
    assert [order_of(milne_simpson(k)) for k in (2, 3, 4)] == [4, 4, 5] and order_of(nystroem(3)) == 3


def test_a_changed_coefficient_is_seen():
    for make in FAMILIES.values():
        method = make(4)
        for part in ("alpha", "beta"):
            for j, value in enumerate(getattr(method, part)):
                if value:
                    changed = list(getattr(method, part))
                    changed[j] = value + Fraction(1, 1000)
                    assert order_of(replace(method, **{part: tuple(changed)})) < 4


# From text.


def texts(method):
    return tuple([str(v) for v in part] for part in method.expressions())


@pytest.mark.parametrize("name", ["ab-3", "am-4", "nystroem-3", "milne-simpson-2", "bdf-4", "am-1"])
def test_text_and_back(name):
    family, _, k = name.rpartition("-")
    closed = FAMILIES[family](int(k), symbolic=True)
    method = from_text(name, closed.order, *texts(closed), closed.source)
    assert method.at_random() == closed.at_random() and order_of(method) == order_of(closed)


def test_ratios_forgotten():
    """Adams-Bashforth with the weights of equal steps: order 1 where steps jump, 2 at most where they vary smoothly."""
    for k in (2, 3, 4):
        method = from_text("m", k, *texts(adams_bashforth(k)))
        assert order_of(method.on_equal_steps) == k and order_of(method) == 1 and order_on_smooth_grids(method) == 2
        assert order_on_smooth_grids(adams_bashforth(k)) == k
    bashful = from_text("m", 2, ["1", "-4/3", "1/3"], ["2/3", "0", "0"])
    assert order_of(bashful) == 0 and order_on_smooth_grids(bashful) == 1 and order_of(bashful.on_equal_steps) == 2
    assert order_on_smooth_grids(milne_simpson(2)) == 4 and order_on_smooth_grids(bdf(4)) == 4


def test_parameters_and_roots():
    """An explicit two-step method of order 2 for any alpha_2: here irrational."""
    given = (["1", "-1-a", "a"], ["0", "(1+a+(1-a)/(w1))*w1/2 + (1-a)", "0"])
    method = from_text("m", 1, *given, parameters={"a": "sqrt(2)/3"})
    assert method.on_equal_steps.alpha[2] == sympy.sqrt(2) / 3
    exact = from_text("m", 2, ["1", "-1-a", "a"], ["0", "(3-a)/2", "-(1+a)/2"], parameters={"a": "sqrt(2)/3"})
    assert order_of(exact.on_equal_steps) == 2 and order_of(exact) == 0
    with pytest.raises(ExpressionError, match="'b'"):
        from_text("m", 2, ["1", "-1-b", "b"], ["0", "1", "0"], parameters={"a": "1"})


@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        (["1", "-1"], ["0", "1", "0"], "2 alpha and 3 beta"),
        (["1"], ["1"], "0 steps"),
        (["0", "1", "-1"], ["0", "1", "0"], "alpha_0 = 0"),
        (["w1-w1", "1", "-1"], ["0", "1", "0"], "alpha_0 = 0"),
        (["1", "w2", "-1"], ["0", "1", "0"], "entry 2 of alpha: unknown symbol 'w2'"),
        (["1", "-1", "0"], ["0", "1/0", "0"], "entry 2 of beta: division by zero"),
        (["1", "-1", "0"], ["0", "sqrt(w1)", "0"], "no rational function"),
        (["1", "-1", "0"], ["0", "phi1(w1)", "0"], "no rational function"),
        (["1", "-1", "0"], ["0", "pi", "0"], "pi is no rational function"),
        (["1", "-1", "0"], ["0", "import os", "0"], "entry 2 of beta"),
    ],
)
def test_texts_refused(alpha, beta, message):
    with pytest.raises((AlgebraError, ExpressionError), match=message):
        from_text("m", 2, alpha, beta)


def test_refusals():
    with pytest.raises(AlgebraError, match="expected 1 to"):
        adams_bashforth(0)
    with pytest.raises(AlgebraError, match="expected 1 to"):
        adams_bashforth(40)
    with pytest.raises(AlgebraError, match="at least 2"):
        milne_simpson(1)
    with pytest.raises(AlgebraError, match="needs 2 positive ratios"):
        bdf(3, [2])
    with pytest.raises(AlgebraError, match="needs 2 positive ratios"):
        bdf(3, [2, -1])
    with pytest.raises(AlgebraError, match="alpha_0 = 0"):
        Multistep("m", nodes(1), (0, 1), (1, 0))
    with pytest.raises(AlgebraError, match="its own steps only"):
        Multistep("m", nodes(2), (1, -1, 0), (0, 1, 0)).at([2])
    with pytest.raises(AlgebraError, match="infinite for the ratios 1"):
        from_text("m", 1, ["1", "-1", "0"], ["0", "1/(w1-1)", "0"]).at([1])
    assert math.isfinite(from_text("m", 1, ["1", "-1", "0"], ["0", "1/(w1-1)", "0"]).at([2]).beta[1])
