"""Certificates of every family through one door: orders pinned, first failing conditions named, wrong claims found."""

import dataclasses
from fractions import Fraction

import pytest

from odekit import methods
from odekit.algebra import certificate, stability_function
from odekit.algebra.exponential import ExponentialTableau
from odekit.algebra.exponential_methods import get as exponential
from odekit.algebra.proof import Proof
from odekit.algebra.stochastic_tables import get as stochastic
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import UnknownNameError
from odekit.methods.adams import Adams
from odekit.methods.adams_properties import MomentsCertificate, in_log_snr
from odekit.methods.files import get as tableau

COMMON = ("name", "family", "order", "claimed", "failing")


@pytest.mark.parametrize("name", ["rk4", "krogstad4", "dpmpp-2m", "sra1", "deis-tab-1", "exponential-ab-3"])
def test_all_certificates_answer_alike(name):
    found = certificate(name)
    assert all(hasattr(found, part) for part in COMMON)
    assert found.findings() == [] and found.to_dict()["name"] == name
    assert all(isinstance(text, str) for row in found.rows() for text in row)


# Exponential methods: Hochbruck, Ostermann 2005, tables 3 to 5 and section 5; Luan, Ostermann 2014.

ORDERS = {  # classical, stiff strong, stiff weak, stage order
    "etd1": (1, 1, 1, 20),  # its one stage, at the start of the step, is exact: the search ends
    "etd2rk": (2, 2, 2, 1),
    "etd3rk": (3, 2, 2, 1),
    "etdrk4": (4, 2, 2, 1),
    "krogstad4": (4, 3, 3, 1),
    "strehmel-weiner4": (4, 3, 3, 1),
    "ho4": (4, 3, 4, 1),
    "lawson4": (4, 0, 0, 0),
    "exprk5s8": (5, 4, 5, 1),
}


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_orders_of_exponential_runge_kutta_methods(name):
    found = certificate(exponential(name))
    assert (found.classical.order, found.strong.order, found.weak.order, found.stage_order) == ORDERS[name]
    assert certificate(exponential(name)).findings() == []


def test_a_wrong_weight_of_an_exponential_method_is_named():
    given = exponential("krogstad4")
    wrong = dataclasses.replace(given, b=(*given.b[:3], "-phi2(z)+3*phi3(z)"))
    found = certificate(wrong)
    assert found.findings() == [
        "order 0, not 4 as claimed: tau_0: 5/6, not 1",
        "stiff order 0, not 3 as claimed: tau: 1/6 + ..., not 0",
    ]


def test_embedded_and_stiff_claims_of_exponential_methods_are_held_to_account():
    pair = ExponentialTableau(
        "pair", 2, "here", ("0", "1"), ((), ("phi1(z)",)), ("phi1(z)-phi2(z)", "phi2(z)"), ("phi1(z)", "0"), 2, 3
    )
    found = certificate(pair)
    assert (found.order, found.stiff_order, found.embedded_order) == (2, 2, 1)
    assert [text.split(":")[0] for text in found.findings()] == [
        "stiff order 2, not 3 as claimed", "embedded order 1, not 2 as claimed",
    ]  # fmt: skip


def test_at_z_zero_krogstad_is_the_classical_method():
    numbers = certificate(exponential("krogstad4")).at_zero
    assert numbers.order == 4 and numbers.stability.numerator == stability_function("rk4").numerator
    assert certificate(exponential("ho2")).at_zero is None  # c2 is free


# Adams methods, whatever their clock.


def test_data_in_log_snr_is_an_exponential_multistep_formula():
    found = certificate("dpmpp-2m")
    assert "exponential multistep formula in the log-SNR" in found.route
    assert (found.order, found.main.strong.order, found.main.weak.order) == (2, 1, 2)
    assert found.failing == ("psi_2: -z/12, not 0",)
    literature = exponential("dpmpp-2m")  # the same weights, written out by hand
    mine = in_log_snr(2, lumped=True)
    for z in (-0.3, -2.0):
        ours, theirs = mine.coefficients(z, r1=0.7)[1], literature.coefficients(z, r1=0.7)[1]
        assert ours == pytest.approx(theirs, rel=1e-14)


def test_interpolation_in_log_snr_has_the_stiff_order_of_its_points():
    assert [certificate(f"exponential-ab-{k}").stiff_order for k in (1, 2, 3, 4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("q", [0, 1, 2, 3])
def test_deis_in_time_by_the_moments_of_its_weights(q):
    found = certificate(f"deis-tab-{q}")
    assert found.order == q + 1 == found.claimed
    if q:
        assert found.route == "the moments of the interpolating weights in t"
        assert found.failing[0].startswith(f"moment {q + 1} in t: ")


@pytest.mark.parametrize(
    "points, implicit, prediction, clock, rule, order",
    [
        (3, True, "noise", "t", "interpolating", 3),
        (3, False, "data", "t", "interpolating", 3),
        (3, False, "velocity", "logsnr", "interpolating", 3),
        (3, False, "noise", "t", "lumped", 2),  # the weight function is not constant in the step
        (1, False, "noise", "t", "lumped", 1),
    ],
)
def test_moments_tell_the_order(points, implicit, prediction, clock, rule, order):
    assert MomentsCertificate(points, implicit, prediction, clock, rule).order == order


def test_lumped_weights_of_three_points_claimed_as_order_three_are_refuted():
    found = certificate(Adams(3, "data", "logsnr", "lumped"))
    assert found.order == 2 and found.findings() == ["order 2, not 3 as claimed: psi_2: -z/12, not 0"]
    by_index = certificate(Adams(3, "noise", "index", "lumped", formula=2))
    assert by_index.order == 2 and by_index.findings() == [] and "equal steps" in by_index.route


def test_a_prediction_without_a_closed_clock_is_refused():
    with pytest.raises(AlgebraError, match="score in the clock t: expected one of velocity, noise, data"):
        certificate(Adams(2, "score", "t"))


# Stochastic methods.


def test_stochastic_methods_have_strong_and_weak_orders():
    found = {name: certificate(name).order for name in ("sra1", "sriw1", "ri1", "ri6", "dri1", "rdi1wm", "rs1")}
    half = Fraction(3, 2)
    assert found == {"sra1": half, "sriw1": half, "ri1": 2, "ri6": 2, "dri1": 2, "rdi1wm": 1, "rs1": 2}
    assert certificate("rdi1wm").failing[0].endswith("alpha[B0,B0] = 1/2: off by -1/6")


def test_a_wrong_stochastic_entry_is_named():
    wrong = stochastic("sriw1").changed("beta1", "-2", 0)
    assert certificate(wrong).order == 0 and certificate(wrong).findings()[0].startswith("strong order 0, not 3/2")


def test_a_stochastic_certificate_as_plain_data():
    found = certificate(stochastic("sra1").changed("alpha", "1/2", 0))
    assert isinstance(found, Proof) and repr(found) == "<certificate of sra1, changed: strong order 0>"
    assert found.to_dict() == {
        "name": "sra1, changed", "family": "stochastic-runge-kutta", "class": "SRA", "kind": "strong",
        "claimed_order": "3/2", "order": "0", "failing": ["SRA 1, tau_0: alpha = 1: off by 1/6"],
        "findings": ["strong order 0, not 3/2 as claimed: SRA 1, tau_0: alpha = 1: off by 1/6"],
    }  # fmt: skip


# The door.


def test_names_files_methods_and_data_are_taken_alike(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nfamily = "runge-kutta"\norder = 2\nsource = "here"\nc = ["0", "1"]\nA = [[], ["1"]]\n'
        'b = ["1/2", "1/2"]\n'
    )
    pair = [[0, 0], [1, 0]], [Fraction(1, 2)] * 2
    for given in ("heun2", "heun-edm", methods.get("heun2"), tableau("heun2"), path, str(path), pair):
        assert certificate(given).order == 2
    data = {"name": "d", "family": "runge-kutta", "order": 1, "source": "", "c": ["0"], "A": [[]], "b": ["1"]}
    assert certificate(data).order == 1


def test_what_is_no_method_is_refused_in_one_line():
    with pytest.raises(UnknownNameError, match="unknown method 'krogstad5'; did you mean 'krogstad4'"):
        certificate("krogstad5")
    with pytest.raises(AlgebraError, match="has no exact coefficients"):
        certificate(3)


# A(alpha) of Runge-Kutta methods.


def adjoint(name):
    """R(z) becomes 1/R(-z)."""
    A, b = tableau(name).exact.A, tableau(name).exact.b
    s = range(len(b))
    return [[b[-1 - j] - A[-1 - i][-1 - j] for j in s] for i in s], b[::-1]


@pytest.mark.parametrize("name", ["kutta3", "rk4"])
def test_the_sector_of_an_adjoint_by_a_discriminant(name):
    """1/R(-z) leaves the disc where |R|^2 = 1 has a double root along a ray: the discriminant vanishes there."""
    import sympy

    found = stability_function(adjoint(name))
    assert found.numerator == (1,) and not found.is_a_stable and found.real_interval == float("inf")
    r, c = sympy.symbols("r c")
    z = -r * (c + sympy.I * sympy.sqrt(1 - c**2))
    D = sum(sympy.Rational(x) * z**k for k, x in enumerate(found.denominator))
    excess = sympy.Poly(sympy.cancel(sympy.expand(D * D.subs(sympy.I, -sympy.I) - 1) / r), r)
    cosines = sympy.Poly(sympy.expand(excess.discriminant()), c).sqf_part().nroots(n=20, maxsteps=200)
    angles = [float(sympy.acos(x) * 180 / sympy.pi) for x in cosines if x.is_real and 0 < x < 1]
    assert min(abs(found.a_alpha - angle) for angle in angles) < 1e-5
    assert found.a_alpha == pytest.approx({"kutta3": 88.23, "rk4": 83.96}[name], abs=0.03)


def test_sectors_of_explicit_and_a_stable_methods():
    expected = {"rk4": 0, "dop853": 0, "gauss-2": 90, "radau-iia-3": 90, "sdirk3": 90, "trapezoidal": 90}
    assert {name: stability_function(name).a_alpha for name in expected} == expected
