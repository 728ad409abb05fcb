"""Derived explicit Runge-Kutta methods and embedded pairs: identities, complete families, and what must be refused."""

from pathlib import Path

import pytest
import sympy
from derived_runge_kutta import SMALL, c2, c3, refused, square
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import Rational as R

from odekit.algebra import order_conditions
from odekit.algebra.derive import derive
from odekit.algebra.derive.rk_forms import beside, proved
from odekit.algebra.derive.runge_kutta import CASES, STAGES, family
from odekit.algebra.trees import AlgebraError
from odekit.methods import files

IDS = [f"{order}-{case}" for order, case in CASES]


# Explicit families: the conditions as polynomials, and SymPy's own arithmetic.


@pytest.mark.parametrize(("order", "case"), [key for key in CASES if key[0] < 5], ids=IDS[:-1])
def test_every_condition_holds_identically(order, case):
    A, b = family(order, case)
    at = {f"a{i + 1}{j + 1}": a for i, row in enumerate(A) for j, a in enumerate(row)}
    at |= {f"b{i + 1}": w for i, w in enumerate(b)} | {f"c{i + 1}": sum(row) for i, row in enumerate(A)}
    at = {sympy.Symbol(name): value for name, value in at.items()}
    for condition in order_conditions("runge-kutta", order, stages=len(b)):
        assert sympy.cancel(sympy.together(condition.residual.subs(at, simultaneous=True))) == 0, condition


@pytest.mark.parametrize(("order", "case"), list(CASES), ids=IDS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_any_values_of_the_parameters_give_the_order(order, case, data):
    derivation = derive("explicit-runge-kutta", order=order, case=case)
    values = {name: data.draw(SMALL, name) for name in derivation.free}
    excluded = [sympy.sympify(e) for e in CASES[order, case].excluded]
    assume(all(e.subs({k: R(v.numerator, v.denominator) for k, v in values.items()}) != 0 for e in excluded))
    found = derivation.at(**values).certificate()
    assert found.order == order and found.findings() == []


@pytest.mark.parametrize(("order", "case"), list(CASES), ids=IDS)
def test_what_is_excluded_is_where_denominators_vanish(order, case):
    A, b = family(order, case)
    entries = [sympy.sympify(x) for row in [*A, b] for x in row]
    factors = {f for e in entries for f, _ in sympy.factor_list(sympy.denom(sympy.together(e)))[1]}
    excluded = {sympy.factor_list(sympy.sympify(e))[1][0][0] for e in CASES[order, case].excluded}
    assert {f.as_expr() for f in factors} == excluded


@pytest.mark.parametrize(
    ("order", "values"),
    [
        (2, {"c2": 0}),
        (3, {"c2": "1/2", "c3": "1/2"}),
        (3, {"c2": "2/3"}),
        (4, {"c2": "1/2"}),
        (4, {"c2": "2/5", "c3": "2/5"}),
        (4, {"c3": 1}),
        (4, {"c2": 1, "c3": "1/3"}),
        (4, {"c2": "1/4", "c3": "4/5"}),  # b4 = 0
    ],
    ids=str,
)
def test_excluded_values_are_refused(order, values):
    refused(lambda: derive("explicit-runge-kutta", order=order).at(**values).method, "zero")


def test_the_classification_of_order_four_is_complete():
    # U V = [[1/2, 1/3, 0], [1/3, 1/4, 0], [0, 0, 0]], so that D(1) or the last column of V vanishes; that has c2^2/2.
    conditions = order_conditions("runge-kutta", 4, stages=4)
    residual = {str(c.tree): c.residual for c in conditions}
    a, b, c = {}, sympy.symbols("b1:5"), [0, *sympy.symbols("c2:5")]
    for i in range(1, 4):
        for j in range(1, i):
            a[i, j] = sympy.Symbol(f"a{i + 1}{j + 1}")

    def up(j):
        return sum(b[i] * x for (i, k), x in a.items() if k == j)

    def inner(i):
        return sum(x * c[j] for (k, j), x in a.items() if k == i)

    U = sympy.Matrix([[b[j] for j in (1, 2, 3)], [b[j] * c[j] for j in (1, 2, 3)],
                      [up(j) - b[j] * (1 - c[j]) for j in (1, 2, 3)]])  # fmt: skip
    V = sympy.Matrix([[c[i], c[i] ** 2, inner(i) - c[i] ** 2 / 2] for i in (1, 2, 3)])
    t = {k: residual[v] for k, v in {"1": "[tau]", "2": "[tau,tau]", "a": "[[tau]]", "3": "[tau,tau,tau]",
         "ca": "[[tau],tau]", "a2": "[[tau,tau]]", "aa": "[[[tau]]]"}.items()}  # fmt: skip
    combinations = sympy.Matrix([
        [t["1"], t["2"], t["a"] - t["2"] / 2],
        [t["2"], t["3"], t["ca"] - t["3"] / 2],
        [t["a"] - t["1"] + t["2"], t["a2"] - t["2"] + t["3"],
         t["aa"] - t["a2"] / 2 - t["a"] + t["2"] / 2 + t["ca"] - t["3"] / 2],
    ])  # fmt: skip
    expected = sympy.Matrix([[R(1, 2), R(1, 3), 0], [R(1, 3), R(1, 4), 0], [0, 0, 0]])
    assert sympy.expand(U * V - expected - combinations) == sympy.zeros(3, 3)
    # c2 is not zero, as b4 a43 a32 c2 = 1/24: hence D(1), of which the last equation is b4 (1 - c4) = 0.
    assert V[0, 2] == -(c[1] ** 2) / 2
    # Two nodes coincide: the moments then leave no choice of the others. (c3 = 1 is none: b4 a43 = b3 (1 - c3).)
    for nodes, unknown in (((0, c2, c2, 1), c2), ((0, c2, 0, 1), c2), ((0, 1, c3, 1), c3)):
        moments = [sum(w * x**k for w, x in zip(b, nodes, strict=True)) - R(1, k + 1) for k in range(1, 4)]
        moments.append(sum(b) - 1)
        last = sympy.groebner(moments, *b, unknown, order="lex").exprs[-1]
        assert last.free_symbols == {unknown} and set(sympy.roots(last, unknown)) == {R(1, 2)}
    # Distinct nodes with c2 = 1/2: b3 = 0, which b4 a43 = b3 (1 - c3) excludes.
    assert sympy.numer(family(4)[1][2]).subs(c2, R(1, 2)) == 0


def test_the_classification_of_order_three_is_complete():
    for nodes in ((0, c2, c2), (0, c2, 0)):
        b = sympy.symbols("b1:4")
        moments = [sum(b) - 1, *(sum(w * x**k for w, x in zip(b, nodes, strict=True)) - R(1, k + 1) for k in (1, 2))]
        last = sympy.groebner(moments, *b, c2, order="lex").exprs[-1]
        assert set(sympy.roots(last, c2)) == {R(2, 3)}
    assert sympy.numer(family(3)[1][2]).subs(c2, R(2, 3)) == 0  # and b3 = 0 is excluded by b3 a32 c2 = 1/6


@pytest.mark.parametrize(("order", "case"), list(CASES), ids=IDS)
def test_named_members_are_the_published_methods(order, case):
    derivation = derive("explicit-runge-kutta", order=order, case=case)
    assert len(derivation.published) == len(CASES[order, case].known) and not any(derivation.published)


def test_the_defaults_are_known_methods():
    for order, case, name in (
        (2, "generic", "midpoint"),
        (3, "generic", "heun3"),
        (4, "generic", "rk38"),
        (4, "c2=c3", "rk4"),
    ):
        assert derive("explicit-runge-kutta", order=order, case=case).method.exact == files.get(name).exact
    butcher = files.read_method_file(Path(__file__).parent / "data" / "butcher65.toml")
    assert derive("explicit-runge-kutta", order=5).method.exact[:3] == butcher.exact[:3]
    earlier = derive("explicit-runge-kutta", order=5).at(a43=1).method  # Butcher 1964
    assert [list(map(str, row[1:4])) for row in earlier.exact.A[3:5]] == [["-1/2", "1", "0"], ["0", "0", "9/16"]]


def test_another_method_is_told_apart():
    A, b = family(4, "c2=c3")
    found = beside("rk4", A, b, {"b3": "1/4"})
    assert found and found.what == "a31 is -1/6 here, 0 there"


def test_barriers_and_unknown_cases_are_refused():
    for order, stages in STAGES.items():
        refused(
            lambda p=order, s=stages: derive("explicit-runge-kutta", order=p, stages=s - 1), "no explicit method of"
        )
    refused(lambda: derive("explicit-runge-kutta", order=3, stages=5), "is solved for 3 stages")
    refused(lambda: derive("explicit-runge-kutta", order=6), "2 to 5")
    refused(lambda: derive("explicit-runge-kutta", order=4, case="c2=c4"), "did you mean 'c2=c3'")


def test_a_perturbed_entry_is_refused():
    A, b = family(4)
    A = square(A, 4)
    A[3][1] = A[3][1] + c2 / 1000
    A[3][0] = A[3][0] - c2 / 1000  # row sums stay: only the trees tell
    with pytest.raises(AlgebraError, match="is not of order 4"):
        proved("perturbed", A, b, 4)


# Pairs.


@pytest.mark.parametrize(
    ("name", "dimension"), [("bs3", 2), ("dp5", 1), ("cash-karp", 1), ("fehlberg45", 1), ("sdirk4", 1)]
)
def test_published_pairs_are_recovered(name, dimension):
    pair = derive("embedded-pair", method=name)
    assert len(pair.free) == dimension and len(pair.published) == 1 and not pair.published[0]
    assert pair.method.exact.b_embedded == files.get(name).exact.b_embedded


@pytest.mark.parametrize("name", ["heun2", "ssp33", "bs3", "dp5"])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_all_members_are_pairs(name, data):
    pair = derive("embedded-pair", method=name)
    own = files.get(name).exact.b
    values = {w: data.draw(SMALL, w) for w in pair.free}
    assume(any(value != own[int(w[4:]) - 1] for w, value in values.items()))
    found = pair.at(**values).certificate()
    assert found.embedded_order == found.order - 1 and found.findings() == []


def test_at_its_own_weights_the_pair_is_none():
    found = derive("embedded-pair", method="dp5").at(bhat7=0).certificate()
    assert found.embedded_order == 5 and found.findings() == ["embedded order 5, not 4 as claimed"]


def test_where_only_the_own_weights_solve_there_is_no_pair():
    for name in ("rk4", "rk38", "ralston4", "crouzeix-3"):
        refused(lambda n=name: derive("embedded-pair", method=n), "only its own weights .* extend=True")
        found = derive("embedded-pair", method=name, extend=True)
        assert found.certificate().findings() == []
        assert found.method.exact.A[-1][:-1] == files.get(name).exact.b
    refused(lambda: derive("embedded-pair", method="bs3", extend=True), "already at the new point")
    refused(lambda: derive("embedded-pair", method="tsit5"), "exact entries")
    refused(lambda: derive("embedded-pair", method="euler"), "of order 1")
