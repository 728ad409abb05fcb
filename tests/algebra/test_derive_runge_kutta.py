"""Derived Runge-Kutta methods: identities, complete families, optima, and what must be refused."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import Rational as R

from odekit.algebra import order_conditions
from odekit.algebra.conditions import principal_error
from odekit.algebra.derive import derive
from odekit.algebra.derive.rk_error import error_terms, monomials
from odekit.algebra.derive.rk_forms import beside, proved
from odekit.algebra.derive.rk_implicit import single
from odekit.algebra.derive.runge_kutta import CASES, STAGES, family
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import OdekitError
from odekit.methods import files

IDS = [f"{order}-{case}" for order, case in CASES]
SMALL = st.fractions(min_value=-3, max_value=3, max_denominator=12)
c2, c3, c4, b3 = sympy.symbols("c2 c3 c4 b3")


def square(A, s):
    return [[*row, *[0] * (s - len(row))] for row in A]


def refused(call, match):
    with pytest.raises(OdekitError, match=match) as error:
        call()
    assert "\n" not in str(error.value)


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


# Diagonally implicit methods.


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
