"""Certificates: every number of spec/theory.md, section C, and every control that must fail."""

import dataclasses
from fractions import Fraction
from math import factorial, sqrt
from pathlib import Path

import pytest

from odekit.algebra.conditions import residuals
from odekit.algebra.properties import certificate
from odekit.algebra.runge_kutta import series
from odekit.algebra.stability import StabilityFunction, stability_function
from odekit.algebra.trees import AlgebraError, tree
from odekit.exceptions import MethodError
from odekit.methods import files

HERE = Path(__file__).parent / "data"
CONTROLS = Path(__file__).parent.parent / "methods" / "data"
LITERATURE = ("merson43", "higham-hall-5", "butcher65", "bs5", "cmr6", "pd8", "ssp104")


def fixture(name):
    return files.read_method_file(HERE / f"{name}.toml")


def control(name):
    return files.read_method_file(CONTROLS / f"{name}.toml")


def unchecked(path):
    """(A, b, b_embedded) of a file whose sums do not fit, which a Tableau would refuse."""
    import tomllib

    data = tomllib.loads(path.read_text())
    A = [list(map(Fraction, row)) for row in data["A"]]
    return A, list(map(Fraction, data["b"])), list(map(Fraction, data["b_embedded"]))


# Orders and principal errors.

SQUARES = {  # norm squared, exact
    "euler": Fraction(1, 4),
    "midpoint": Fraction(17, 24**2),
    "heun2": Fraction(5, 12**2),
    "ssp33": Fraction(1, 192),
    "heun3": Fraction(5, 108) ** 2,
    "kutta3": Fraction(1, 288),
    "rk4": Fraction(1745, 2880**2),
}
NORMS = {
    "bs3": 0.04181109229, "merson43": 0.005705443307, "fehlberg45": 0.003355744693, "cash-karp": 9.482886175e-4,
    "dp5": 3.990801609e-4, "higham-hall-5": 1.797083638e-3, "butcher65": 1.369768562e-3, "bs5": 2.216932778e-5,
    "cmr6": 6.005272641e-5, "pd8": 4.5074472e-6, "dop853": 6.263412404e-6, "gauss-2": 0.004330621975,
    "gauss-3": 1.650466905e-4, "radau-iia-3": 9.895285073e-4, "ssp104": 0.002211223747,
}  # fmt: skip


def of(name):
    return certificate(fixture(name) if name in LITERATURE else name)


@pytest.mark.parametrize("name", sorted(SQUARES))
def test_principal_error_norms_that_are_known_exactly(name):
    assert of(name).principal_error.norm_squared == SQUARES[name]


@pytest.mark.parametrize("name", sorted(NORMS))
def test_principal_error_norms(name):
    digits = len(f"{NORMS[name]:.12g}".lstrip("0.").split("e")[0].replace(".", ""))
    assert of(name).principal_error.norm == pytest.approx(NORMS[name], rel=2.0 * 10 ** (1 - digits))


@pytest.mark.parametrize("name", sorted({*files.names(), *LITERATURE}))
def test_every_method_is_of_the_order_it_claims(name):
    found = of(name)
    assert found.findings() == [] and found.order == found.claimed and found.embedded_order == found.claimed_embedded


def test_stage_orders():
    expected = {"euler": 1, "rk4": 1, "dop853": 1, "gauss-2": 2, "gauss-3": 3, "radau-iia-2": 2, "radau-iia-3": 3}
    expected |= {"trapezoidal": 2, "implicit-midpoint": 1, "implicit-euler": 1, "sdirk4": 1}
    assert {name: certificate(name).stage_order for name in expected} == expected


def test_orders_of_collocation():
    for name, stages, lost in (("gauss-2", 2, 0), ("gauss-3", 3, 0), ("radau-iia-2", 2, 1), ("radau-iia-3", 3, 1)):
        assert certificate(name).order == 2 * stages - lost
    assert certificate("trapezoidal").order == 2 * 2 - 2  # Lobatto IIIA


# Controls: each must fail, at the order and with the condition that is known to break.


def test_four_stages_with_the_stability_polynomial_of_rk4():
    found = certificate(control("four-stage"))
    assert found.order == 2 and found.findings() == ["order 2, not 4 as claimed: [tau,tau]: 1/4, not 1/3"]
    assert found.stability.numerator == stability_function("rk4").numerator
    gap = residuals(control("four-stage"), 4)
    assert not any(gap["[" * k + "tau" + "]" * k] for k in range(4))


def test_the_mutant_of_dormand_prince_keeps_what_is_easy_to_check():
    found, original = certificate(control("dp5-mutant")), certificate("dp5")
    assert found.order == 3 and str(found.failing[0]) == "[[tau,tau]]: 320251/3864000, not 1/12"
    assert found.scheme.b == original.scheme.b and found.stability.numerator[:6] == original.stability.numerator[:6]
    gap = residuals(control("dp5-mutant"), 5)
    assert not any(gap[t] for t in ("tau", "[tau]", "[[tau]]", "[[[tau]]]", "[[[[tau]]]]"))
    assert not any(gap["[" + ",".join(["tau"] * k) + "]"] for k in range(1, 5))


def test_cash_karp_with_18574():
    path = CONTROLS / "cash-karp-18574.toml"
    with pytest.raises(MethodError, match="b_embedded sums to 48383/48384"):
        files.read_method_file(path)
    A, b, embedded = unchecked(path)
    assert certificate((A, b)).order == 5 and certificate((A, embedded)).order == 0
    assert str(certificate((A, embedded)).failing[0]) == "tau: 48383/48384, not 1"


def test_fehlberg_with_3554():
    path = CONTROLS / "fehlberg45-3554.toml"
    with pytest.raises(MethodError, match="row 6 of A sums to"):
        files.read_method_file(path)
    A, b, embedded = unchecked(path)
    assert certificate((A, b)).order == 1 and certificate((A, embedded)).order == 4  # the embedded row masks the typo
    assert certificate((A, b)).failing[0].tree == tree("[tau]")


def test_an_entry_of_rk4_on_the_diagonal():
    # netket issue 1056: the last row of A as (0, 0, 1, 1).
    A, b = (
        [[0, 0, 0, 0], [Fraction(1, 2), 0, 0, 0], [0, Fraction(1, 2), 0, 0], [0, 0, 1, 1]],
        certificate("rk4").scheme.b[0],
    )
    assert certificate((A, b)).order == 1
    rows = tuple(tuple(map(str, row)) for row in A)
    with pytest.raises(MethodError, match="row 4 of A sums to 2"):
        dataclasses.replace(files.get("rk4"), A=rows)


def test_tsitouras_with_one_fortieth():
    # sundials issue 850: the last embedded weight as printed in the paper's table for another pair.
    pair = files.get("tsit5")
    assert pair.b_embedded[-1] == "1/66"
    with pytest.raises(MethodError, match="b_embedded sums"):
        dataclasses.replace(pair, b_embedded=(*pair.b_embedded[:-1], "1/40"))
    A, b = pair.exact.A, (*pair.exact.b_embedded[:-1], Fraction(1, 40))
    assert certificate((A, b)).order == 0


def test_lambert_as_shipped_is_of_order_two():
    shipped = fixture("lambert65")
    found = certificate(shipped)
    assert found.findings() == ["order 2, not 5 as claimed: [[tau]]: 8/45, not 1/6"]
    rows = [list(row) for row in shipped.exact.A]
    rows[2][:2] = Fraction(3, 16), Fraction(1, 16)
    assert certificate((rows, shipped.exact.b)).order == 5


@pytest.mark.parametrize("name", ["kutta3", "rk4", "dp5", "gauss-2"])
def test_a_thousandth_in_any_entry_lowers_the_order(name):
    A, b = (list(part) for part in (certificate(name).scheme.A[0], certificate(name).scheme.b[0]))
    order = certificate(name).order
    for i, row in enumerate(A):
        for j, entry in enumerate(row):
            if entry and any(b[i:]):
                changed = [list(r) for r in A]
                changed[i][j] = entry + Fraction(1, 1000)
                if name == "dp5" and i == 6:
                    continue  # the seventh stage only serves the embedded weights
                assert certificate((changed, b)).order < order, (i, j)


# Stability.

TAYLOR_REAL = [2, 2, 2.5127453266, 2.7852935634, 3.2170478666, 3.5534412585, 3.9541297306, 4.3136272278]
TAYLOR_IMAGINARY = [0, 0, sqrt(3), 2 * sqrt(2), 0, 0, 1.764421, 3.395140]


def taylor(p):
    """R(z) = sum z^k/k! to z^p, by a tableau whose only tall weights are those."""
    A = [[Fraction(int(j == i - 1), p - i + 1) for j in range(p)] for i in range(p)]
    return stability_function((A, [*[0] * (p - 1), 1]))


@pytest.mark.parametrize("p", range(1, 9))
def test_intervals_of_taylor_polynomials(p):
    R = taylor(p)
    assert R.numerator == tuple(Fraction(1, factorial(k)) for k in range(p + 1)) and R.denominator == (1,)
    assert R.real_interval == pytest.approx(TAYLOR_REAL[p - 1], abs=6e-11)
    assert R.imaginary_interval == pytest.approx(TAYLOR_IMAGINARY[p - 1], abs=6e-7 if p > 6 else 1e-12)


def test_the_intervals_of_the_classical_methods_are_those_of_their_polynomials():
    for name, p in (("euler", 1), ("heun2", 2), ("kutta3", 3), ("rk38", 4)):
        R = stability_function(name)
        assert R.numerator == taylor(p).numerator and R.real_interval == taylor(p).real_interval


@pytest.mark.parametrize("name", ["rk4", "dp5", "gauss-2", "radau-iia-3", "sdirk4", "trapezoidal"])
def test_stability_function_against_one_step_by_hand(name):
    import numpy as np

    A, b = (
        np.array([[float(x) for x in row] for row in part])
        for part in (certificate(name).scheme.A[0], certificate(name).scheme.b)
    )
    for z in (-1.3, 0.7 + 2j, -5 + 0.1j):
        by_hand = 1 + z * b[0] @ np.linalg.solve(np.eye(len(A)) - z * A, np.ones(len(A)))
        assert stability_function(name)(z) == pytest.approx(by_hand, rel=1e-11)


def test_stability_of_implicit_methods():
    radau = stability_function("radau-iia-3")
    assert radau.positive_axis == pytest.approx(11.84, abs=0.005) and radau.is_l_stable
    assert radau.denominator == (1, Fraction(-3, 5), Fraction(3, 20), Fraction(-1, 60))  # a Pade approximation
    for name in ("gauss-2", "gauss-3", "implicit-midpoint", "trapezoidal", "crouzeix-3"):
        assert stability_function(name).is_a_stable and not stability_function(name).is_l_stable
    for name in ("implicit-euler", "sdirk2", "sdirk3", "sdirk4", "radau-iia-2"):
        assert stability_function(name).is_l_stable
    for name in ("rk4", "dop853", "euler"):
        R = stability_function(name)
        assert not R.is_a_stable and R.positive_axis == float("inf")


def test_a_pole_in_the_left_half_plane_is_not_a_stable():
    R = stability_function(([[Fraction(-1, 2)]], [1]))  # |R(iy)| > 1
    assert not R.is_a_stable
    mirror = StabilityFunction((1, 0), (1, 1), (0, -2, -1), ())  # |R(iy)| = 1 is claimed, the pole is at -1
    assert not mirror.is_a_stable


def test_printed_decimals_and_floats_do_not_close_an_interval():
    assert stability_function(fixture("pd8")).real_interval == pytest.approx(5.1666, abs=1e-4)
    assert stability_function("tsit5").real_interval == pytest.approx(3.5068, abs=1e-4)
    half, third, sixth = 1 / 2, 1 / 3, 1 / 6
    floats = [[0, 0, 0, 0], [half, 0, 0, 0], [0, half, 0, 0], [0, 0, 1.0, 0]], [sixth, third, third, sixth]
    assert stability_function(floats).imaginary_interval == pytest.approx(2 * sqrt(2), abs=1e-9)


def test_families_have_a_stability_function_and_no_interval_yet():
    import sympy

    x = sympy.Symbol("x")
    R = stability_function(([[x]], [1]))
    assert R.numerator == (1, 1 - x) and R.denominator == (1, -x)
    with pytest.raises(AlgebraError, match="give them values"):
        R.real_interval  # noqa: B018


# Preservation and monotonicity.


def test_what_is_not_symplectic_says_where():
    assert certificate("rk4").symplectic.failing == "[tau] o [[tau]]: 1/48, not 0"


def test_tableau_and_trees_agree_on_what_is_symplectic():
    from odekit.algebra.structure import symmetric, symplectic

    for name in ("gauss-2", "trapezoidal", "heun2", "sdirk2", "radau-iia-2"):
        a = series(name, 6)
        assert bool(certificate(name).symplectic) == bool(symplectic(a))
        assert bool(certificate(name).symmetric) == bool(symmetric(a))


def test_strong_stability_preserving_coefficients():
    expected = {"euler": 1, "heun2": 1, "ssp33": 1, "rk4": 0, "midpoint": 0, "ralston": Fraction(1, 2), "dop853": 0}
    expected |= {"implicit-midpoint": 2, "trapezoidal": 2, "gauss-2": 0}
    assert {name: certificate(name).ssp for name in expected} == expected
    assert certificate("implicit-euler").ssp == float("inf")
    assert certificate(fixture("ssp104")).ssp == 6  # at most s - p + 1 = 7
    assert certificate("sdirk2").ssp == pytest.approx(1 + sqrt(2), abs=1e-12)


def test_a_certificate_as_data():
    data = certificate("dp5").to_dict()
    assert (data["order"], data["embedded_order"], data["stage_order"]) == (5, 4, 1)
    assert data["stability_numerator"][-1] == "1/600" and data["findings"] == []
    assert certificate(([[0]], [1])).claimed is None and certificate(([[0]], [1])).findings() == []
    with pytest.raises(AlgebraError, match="not of an additive one"):
        certificate([([[0]], [1]), ([[1]], [1])]).stage_order  # noqa: B018


def test_orders_beyond_a_low_claim_are_a_finding():
    modest = dataclasses.replace(files.get("rk4"), order=3)
    assert certificate(modest).findings() == ["order 4, not 3 as claimed"]


def test_claims_beyond_the_limit_are_not_contradicted(monkeypatch):
    from odekit.algebra import properties

    monkeypatch.setattr(properties, "LIMITS", {1: 4})
    assert certificate("dp5").order == 4 and certificate("dp5").findings() == []
    assert certificate(control("four-stage")).order == 2


def test_additive_methods_have_an_order():
    assert certificate(["rk4", "rk4"]).order == 4
    assert certificate([([[0]], [1]), ([[1]], [1])]).order == 1
