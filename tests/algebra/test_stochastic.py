"""Conditions of stochastic Runge-Kutta methods: published, derived, printed; tables that meet them, and broken ones."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from odekit.algebra import stochastic_tables as tables
from odekit.algebra.stochastic import (
    failing,
    order_of,
    residuals,
    stochastic_conditions,
    weight,
)
from odekit.algebra.stochastic_orders import derived, published, reduced, weak_defects
from odekit.algebra.stochastic_trees import exact_mean, forests_of, ito_integral, scaled, trees_of, weak_class
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import OdekitError

FIRST, SECOND, TAU = (1, ()), (2, ()), (0, ())


def floats(table):
    """The coefficients as arrays of float64."""
    return {k: np.array(v, dtype=object).astype(float) for k, v in table.coefficients.items()}


# Tables.


@pytest.mark.parametrize("name", tables.names())
def test_tables(name):
    """checkSRIOrder, checkSRAOrder, checkRIOrder and checkRSOrder of StochasticDiffEq.jl, exactly."""
    table = tables.get(name)
    assert failing(table) == [] and order_of(table) == table.order
    assert len(residuals(table)) == {"SRA": 8, "SRI": 25, "RI": 59 if table.order == 2 else 9, "RS": 55}[table.family]


@pytest.mark.parametrize("name", [n for n in tables.names() if n != "rdi1wm"])
def test_every_changed_entry_is_named(name):
    table = tables.get(name)
    for key, rows in table.coefficients.items():
        for place in np.ndindex(np.shape(np.array(rows, dtype=object))):
            value = rows[place[0]] if len(place) == 1 else rows[place[0]][place[1]]
            if value != 0:
                missed = failing(table.changed(key, value + Fraction(1, 1000), *place))
                assert missed, f"{name}: {key}{place} can be anything"
                assert str(missed[0]).startswith(f"{table.family} {missed[0].number}, ")


def test_a_known_control():
    table = tables.get("sriw1").changed("beta3", "-1", 1)
    assert [str(c) for c in failing(table)][:2] == [
        "SRI 4, tau_1: beta3 = 0",
        "SRI 8, [tau_1]_1: beta3[B1] = 0",
    ]
    assert order_of(table) == 0
    assert order_of(tables.get("sriw1").changed("alpha", 0, 0)) == 0
    assert order_of(tables.get("sriw1").changed("B0", 1, 1, 0)) == 1


# Conditions.


def test_counts():
    counts = {("SRA", "1"): 3, ("SRA", "3/2"): 8, ("SRI", "1"): 9, ("SRI", "3/2"): 25}
    counts |= {("RI", "1"): 9, ("RI", "2"): 59, ("RS", "1"): 6, ("RS", "2"): 55}
    for (family, order), n in counts.items():
        found = stochastic_conditions(family, order)
        assert len(found) == n == len({c.terms for c in found})


@pytest.mark.parametrize("name", ["sra3", "sriw2", "ri5", "dri1", "rs2"])
def test_printed_conditions(name):
    """The Python text, run on floats, is the residual; on a table that is not of the order."""
    table = tables.get(name).changed("alpha", "1/7", 0).changed("beta1", "2/7", 1)
    scope = {
        k: np.array([[float(x) for x in r] for r in v] if k[0] in "AB" else [float(x) for x in v])
        for k, v in table.coefficients.items()
    }
    scope["e"] = np.ones(table.stages)
    for condition, value in residuals(table).items():
        assert eval(condition.python(), scope) == pytest.approx(float(value), abs=1e-12)
        text = condition.latex()
        assert text.count("{") == text.count("}") and text.endswith("1}{2}") == (str(condition.value) == "1/2")
        assert condition.trees and str(condition.trees[0]) in str(condition)


def test_refusals():
    with pytest.raises(OdekitError, match="did you mean"):
        stochastic_conditions("SRIW", 1)
    with pytest.raises(AlgebraError, match="conditions are known for 1 and 2"):
        stochastic_conditions("RI", 3)
    with pytest.raises(AlgebraError, match="position 7"):
        weight("alpha[x]")
    with pytest.raises(AlgebraError, match="',' or ']' expected"):
        weight("alpha[B0")
    with pytest.raises(AlgebraError, match="alpha or beta"):
        weight("B0")
    with pytest.raises(OdekitError, match="did you mean"):
        tables.get("sriw3")


# The exact solution.


def test_ito_integrals():
    s, W, Z = 0.3, 0.7, 0.2
    value = lambda t: sum(float(c) * s ** m[0] * W ** m[1] * Z ** m[2] for m, c in ito_integral(t).items())  # noqa: E731
    h = s * s
    assert value((1, (FIRST,))) == pytest.approx((W * W - h) / 2)
    assert value((1, ((1, (FIRST,)),))) == pytest.approx((W**3 - 3 * h * W) / 6)
    assert value((1, (TAU,))) == pytest.approx(h * W - Z) and value((0, (FIRST,))) == Z
    with pytest.raises(AlgebraError, match="no polynomial"):
        ito_integral((0, (FIRST, FIRST)))


def test_means_by_known_moments():
    assert exact_mean((FIRST, (0, (FIRST,)))) == Fraction(1, 2)  # E I_1 I_10
    assert exact_mean(((0, (FIRST,)), (0, (FIRST,)))) == Fraction(1, 3)
    assert (
        exact_mean(((1, (SECOND,)), (1, (SECOND,)))) == Fraction(1, 2)
        and exact_mean(((1, (SECOND,)), (2, (FIRST,)))) == 0
    )
    assert exact_mean(((1, (FIRST,)),), ito=False) == Fraction(1, 2) and exact_mean(((1, (FIRST,)),)) == 0
    # Stratonovich integrals obey the chain rule: four equal noises in a row give W^4/24
    chain = (1, ((1, ((1, (FIRST,)),)),))
    assert exact_mean((chain,), ito=False) == Fraction(3, 24)


def test_means_by_simulation():
    """E of products of iterated integrals, from Euler-Maruyama on a fine grid."""
    generator, n, paths = np.random.default_rng(0), 200, 20_000
    dW = generator.standard_normal((2, n, paths)) / math.sqrt(n)

    def integral(tree):
        inner = np.ones((n, paths))
        for child in tree[1]:
            path = np.cumsum(integral(child), axis=0)
            inner = inner * np.concatenate([np.zeros((1, paths)), path[:-1]])
        return inner * (1 / n if tree[0] == 0 else dW[tree[0] - 1])

    for forest in [
        ((1, (SECOND,)), (1, (SECOND,))),
        ((0, (FIRST, FIRST)),),
        (FIRST, (1, (TAU,))),
        ((1, (FIRST, SECOND)), SECOND),
        (FIRST, FIRST, FIRST, FIRST),
    ]:
        sample = np.prod([integral(t).sum(axis=0) for t in forest], axis=0)
        error = sample.std() / math.sqrt(paths)
        assert abs(sample.mean() - float(exact_mean(tuple(sorted(forest))))) < 4 * error + 2 / n


def test_tree_counts():
    """A tree is a root (drift counts 1, a noise 1/2) and a forest; forests are counted by Euler's transform."""
    for noises in (1, 2):
        trees, forests = [0], [1]
        for n in range(1, 6):
            trees.append(noises * forests[n - 1] + (forests[n - 2] if n > 1 else 0))
            euler = [sum(d * trees[d] for d in range(1, k + 1) if k % d == 0) for k in range(1, n + 1)]
            forests.append(sum(e * forests[n - k] for k, e in enumerate(euler, start=1)) // n)
        assert [len(trees_of(n, noises)) for n in range(1, 6)] == trees[1:]
        assert [len(forests_of(n, noises)) for n in range(1, 6)] == forests[1:]
        assert len(set(forests_of(5, noises))) == forests[5]


# Published lists against the derivation.


@pytest.mark.parametrize(("family", "order"), [("SRA", "1"), ("SRA", "3/2"), ("SRI", "1"), ("SRI", "3/2")])
def test_strong_conditions_are_what_trees_ask_for(family, order):
    assert derived(family, order) == published(family, order)
    assert len(derived(family, order)) == len(stochastic_conditions(family, order))  # none follows from the others


def test_contradictions_are_seen():
    with pytest.raises(AlgebraError, match="contradict"):
        reduced([{"x": Fraction(1), "": Fraction(1)}, {"x": Fraction(2), "": Fraction(3)}])


@pytest.mark.parametrize("family", ["RI", "RS"])
@pytest.mark.parametrize("order", [1, 2])
def test_weak_conditions_suffice(family, order):
    for noises in (1, 2):
        assert weak_defects(family, order, noises) == {}
    assert weak_defects(family, order, 3, method=weak_class(family, 3, independent=True)) == {}


@pytest.mark.parametrize("family", ["RI", "RS"])
def test_every_weak_condition_is_needed(family):
    """With one weight left open, or wrong, some mean is wrong; three noises are needed to see some of RS."""
    from odekit.algebra.stochastic_orders import _known

    silent = []
    for condition in stochastic_conditions(family, 2):
        target = condition.terms[0][1][-1]
        if str(target) in ("beta1", "beta2[B2]"):
            continue
        known = _known(family, 2)
        wrong = known(target) + Fraction(1, 7)
        if not weak_defects(family, 2, 2, values=lambda w, t=target, v=wrong, k=known: v if w == t else k(w)):
            silent.append(condition.number)
    assert silent == ([] if family == "RI" else [51, 54, 55])


@pytest.mark.parametrize("name", ["ri1", "ri5", "ri6", "rdi1wm", "dri1", "rs1", "rs2"])
def test_weak_orders_of_tables_by_trees(name):
    table = tables.get(name)
    values, order = floats(table), int(table.order)
    assert weak_defects(table.family, order, 2, values=lambda w: float(w.value(values))) == {}
    values["alpha"][0] += 0.01
    assert weak_defects(table.family, order, 2, values=lambda w: float(w.value(values)))
    if order == 1:
        assert weak_defects(table.family, 2, 2, values=lambda w: float(w.value(values)))


def test_shared_random_variables():
    """A finding: one J_k for all pairs makes I_12 and I_13 of Ito methods correlate; three noises lose order 2."""
    defects = weak_defects("RI", 2, 3)
    assert defects[((1, (SECOND,)), (1, ((3, ()),)))] == {(): Fraction(1, 4)}  # E I_12 I_13, which is 0
    assert weak_defects("RI", 1, 3) == {}
    # seen without trees: all values of the variables, h = 1
    total = Fraction(0)
    for x, J1 in product(product((-1, 0, 1), repeat=3), (-1, 1)):
        probability = math.prod(Fraction(1, 6) if v else Fraction(2, 3) for v in x) / 2
        total += probability * (3 * x[0] * x[1] - J1) * (3 * x[0] * x[2] - J1) / 4
    assert total == Fraction(1, 4)
    assert len(weak_defects("RS", 2, 3)) == 0  # the products of Roessler 2007, (5.2), do not correlate


def test_a_published_slip_in_the_random_variables():
    """StochasticDiffEq.jl takes -I_k J_l for k < l where Roessler 2007, (5.2), has -I_l J_k: order 2 is lost."""
    method = weak_class("RS", 2)
    given = method.edge

    def edge(stage, colour):
        if stage == ("K", 1) and colour == 2:
            return [("B2", scaled(method.monomial(I1=1, J1=1, s=-1), -1), ("H", 2))]
        return given(stage, colour)

    method.edge = edge
    assert weak_defects("RS", 2, 2, method=method)
