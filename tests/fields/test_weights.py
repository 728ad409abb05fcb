"""Exponential weights against independent quadrature (SciPy's adaptive rule, in t) and against closed forms."""

import math

import pytest
import torch
from scipy.integrate import quad

import odekit as ok
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.predictions import PREDICTIONS, prediction
from odekit.fields.weights import ratio, total, weights

TIMES = (0.52, 0.6, 0.71)  # t_next, t, t_prev, with one more node below
OLDER = 0.85
PROCESSES = [ok.VP(), ok.Cosine(), ok.SubVP(), ok.RectifiedFlow()]


def _moment(process, name, t, s, clock, nodes, j):
    """int_t^s Psi_A(s, r) B_r l_j(c(r)) dr straight from the definition, Psi_A by an inner quadrature of A."""
    own = prediction(name)

    def A(r):
        return float(own.evaluate("semilinear", process, r)[0])

    def integrand(r):
        B = float(own.evaluate("semilinear", process, r)[1])
        psi = math.exp(quad(A, r, s, epsabs=1e-14, epsrel=1e-13)[0])
        value = 1.0
        for i, node in enumerate(nodes):
            if i != j:
                value *= (clock(r) - clock(node)) / (clock(nodes[j]) - clock(node))
        return psi * B * value

    return quad(integrand, t, s, epsabs=1e-13, epsrel=1e-12)[0]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.name)
@pytest.mark.parametrize("name", sorted(PREDICTIONS))
@pytest.mark.parametrize("clock", ["t", "logsnr", "kappa"])
def test_interpolating_weights_are_the_integrals_they_claim_to_be(process, name, clock):
    flow = ok.ProbabilityFlow(process, lambda x, t: x, prediction=name)
    f = Coordinates(flow, name)
    to, at, back, older = (Instant(t) for t in (*TIMES, OLDER))
    found = weights(f, to, at, (at, back, older), clock)
    measure = (lambda r: r) if clock == "t" else lambda r: float(getattr(process, clock)(r))
    for j in range(3):
        expected = _moment(process, name, at.time, to.time, measure, (at.time, back.time, older.time), j)
        assert float(found[j]) == pytest.approx(expected, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("name", sorted(PREDICTIONS))
def test_the_scale_of_a_prediction_is_the_integrating_factor_of_its_A(name):
    process = ok.VP()
    own = prediction(name)
    expected = math.exp(quad(lambda r: float(own.evaluate("semilinear", process, r)[0]), 0.6, 0.52, epsrel=1e-13)[0])
    f = Coordinates(ok.ProbabilityFlow(process, lambda x, t: x, prediction=name), name)
    assert float(ratio(f, Instant(0.52), Instant(0.6))) == pytest.approx(expected, rel=1e-12)


def test_a_prediction_of_the_user_without_closed_scale_is_integrated():
    process = ok.VP()
    shifted = ok.Prediction("shifted", P="1/3", Q="-sigma")
    f = Coordinates(ok.ProbabilityFlow(process, lambda x, t: x, prediction=shifted), shifted)
    to, at, back = (Instant(torch.tensor(t, dtype=torch.float64)) for t in TIMES)
    found = weights(f, to, at, (at, back), "logsnr")

    def A(r):
        return float(shifted.evaluate("semilinear", process, r)[0])

    def B(r):
        return float(shifted.evaluate("semilinear", process, r)[1])

    def psi(r):
        return math.exp(quad(A, r, 0.52, epsrel=1e-13)[0])

    assert float(ratio(f, to, at)) == pytest.approx(psi(0.6), rel=1e-12)
    assert float(sum(found)) == pytest.approx(quad(lambda r: psi(r) * B(r), 0.6, 0.52, epsrel=1e-12)[0], rel=1e-11)


@pytest.mark.parametrize("name", ["noise", "data", "velocity"])
def test_totals_are_the_published_closed_forms(name):
    process = ok.VP()
    f = Coordinates(ok.ProbabilityFlow(process, lambda x, t: x, prediction=name), name)
    s, t = 0.5, 0.6
    a, b = process.alpha, process.sigma
    expected = {
        "noise": b(s) - a(s) / a(t) * b(t),
        "data": a(s) - b(s) / b(t) * a(t),
        "velocity": s - t,
    }[name]
    assert float(total(f, Instant(s), Instant(t))) == pytest.approx(expected, rel=1e-13)


def test_a_step_to_sigma_zero_sums_to_one():
    process = ok.VP()
    f = Coordinates(ok.ProbabilityFlow(process, lambda x, t: x, prediction="data"), "data")
    assert float(total(f, Instant(0.0), Instant(0.01))) == 1.0
    assert float(ratio(f, Instant(0.0), Instant(0.01))) == 0.0


def test_fifty_digits_agree_with_float64_and_among_themselves():
    process = ok.VP()
    flow = ok.ProbabilityFlow(process, lambda x, t: x, prediction="noise")
    grid = torch.tensor([0.6, 0.5, 0.42, 0.3], dtype=torch.float64)
    low, middle, high = (ok.plan("deis-tab-2", flow, grid, precision=p).dense() for p in (None, 40, 60))
    gap = max(abs(float(a - b)) for a, b in zip(middle.output, high.output, strict=True))
    assert gap < 1e-35
    assert max(abs(float(a) - float(b)) for a, b in zip(low.output, high.output, strict=True)) < 1e-14
