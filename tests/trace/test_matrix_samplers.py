"""Somebody's samplers of phase space and of blurring become Plans: recognised when right, named where wrong.

The samplers are written from their papers (Pandey & Mandt 2023, arXiv 2303.01748, equation 7 for the process; Pandey,
Rudolph & Mandt 2023, arXiv 2310.07894 for the splittings; Zhang, Tao & Chen 2023, arXiv 2206.05564, equations 19 and
20 for gDDIM), not from the package: constants, matrix exponentials and sums on tensors.
"""

import re

import numpy as np
import pytest
import torch

import odekit as ok
from odekit.exceptions import OdekitError, TraceError
from odekit.processes import CLD, PSLD, VP, Blurring

GAMMA, NU, BETA, MASS = 0.01, 4.01, 8.0, 0.25
UNEVEN = torch.tensor([0.8, 0.62, 0.51, 0.33, 0.2, 0.16], dtype=torch.float64)


def model(x, t):
    """Never asked: only tables are compared."""
    return x


def flow_of(process, prediction="score"):
    return ok.ProbabilityFlow(process, model, prediction)


def pulls(x, m, sx, sm, M=MASS):
    """dx and dm per unit of time running back."""
    return BETA / 2 * (GAMMA * x - m / M + GAMMA * sx), BETA / 2 * (x + NU * m + M * NU * sm)


def halves(u):
    return u[:, 0], u[:, 1]


def together(x, m):
    return torch.stack([x, m], 1)


def euler(score, u, times):
    for t, s in zip(times[:-1], times[1:], strict=True):
        u = u + (t - s) * together(*pulls(*halves(u), *halves(score(u, t))))
    return u


def rse(score, u, times):
    for t, s in zip(times[:-1], times[1:], strict=True):
        (x, m), (sx, sm), h = halves(u), halves(score(u, t)), t - s
        m = m + h * pulls(x, m, sx, sm)[1]
        u = together(x + h * pulls(x, m, sx, sm)[0], m)
    return u


def rvv(score, u, times, last=1.0, M=MASS, late=True):
    for t, s in zip(times[:-1], times[1:], strict=True):
        (x, m), (sx, sm), h = halves(u), halves(score(u, t)), t - s
        m = m + h / 2 * pulls(x, m, sx, sm, M)[1]
        x = x + h * pulls(x, m, sx, sm)[0]
        m = m + last * h / 2 * pulls(x, m, *halves(score(together(x, m), s if late else t)))[1]
        u = together(x, m)
    return u


def nvv(score, u, times):
    for t, s in zip(times[:-1], times[1:], strict=True):
        (x, m), h = halves(u), t - s
        m = m + h / 2 * pulls(x, m, *halves(score(together(x, m), t)))[1]
        x = x + h * pulls(x, m, *halves(score(together(x, m), t)))[0]
        m = m + h / 2 * pulls(x, m, *halves(score(together(x, m), t)))[1]
        u = together(x, m)
    return u


F = BETA / 2 * torch.tensor([[-GAMMA, 1 / MASS], [-1.0, -NU]], dtype=torch.float64)
Q = torch.tensor([1.0, MASS], dtype=torch.float64).diag()


def cholesky(t):
    E = torch.matrix_exp(t * F)
    start = torch.tensor([0.0, 0.04 * MASS], dtype=torch.float64).diag()
    return torch.linalg.cholesky(Q + E @ (start - Q) @ E.T)


def exponential_euler(noise, u, times):
    """lambda-DDIM-I with lambda = 0, gDDIM of degree 0 in the frame of L: the forcing by 60 Gauss points."""
    nodes, masses = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(60))
    GG = BETA * torch.tensor([GAMMA, MASS * NU], dtype=torch.float64).diag()
    for t, s in zip(times[:-1], times[1:], strict=True):
        W = torch.zeros(2, 2, dtype=torch.float64)
        for node, mass in zip(nodes, masses, strict=True):
            r = s + (t - s) * (1 + node) / 2
            W += mass * (t - s) / 4 * torch.matrix_exp((s - r) * F) @ GG @ torch.linalg.inv(cholesky(r)).T
        step = torch.matrix_exp((s - t) * F)
        u = torch.einsum("ij,bj...->bi...", step, u) - torch.einsum("ij,bj...->bi...", W, noise(u, t))
    return u


CASES = {
    "euler": (euler, "score"),
    "rse": (rse, "score"),
    "rvv": (rvv, "score"),
    "nvv": (nvv, "score"),
    "lambda-ddim-1": (exponential_euler, "l-noise"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_sampler_of_phase_space_is_its_method(name):
    sampler, prediction = CASES[name]
    options = {"rate": 0.0} if name == "lambda-ddim-1" else {}
    traced = ok.trace(sampler, grid=UNEVEN, process=PSLD(), prediction=prediction)
    planned = ok.plan(name, flow_of(PSLD(), prediction), UNEVEN, **options)
    assert traced.form == (2, 2) and traced.registers == 1
    assert ok.same(traced, planned) and ok.same(planned, traced)
    other = {"rvv": "nvv"}.get(name, "rvv")
    assert not ok.same(traced, ok.plan(other, flow_of(PSLD(), prediction), UNEVEN))


def test_states_of_any_shape_give_the_same_plan():
    bare, wide = (ok.trace(rvv, shape, grid=UNEVEN, process=PSLD(), prediction="score") for shape in ((), (2, 3, 4)))
    assert ok.same(bare, wide)


def test_single_precision_is_seen_and_allowed_for():
    planned = ok.plan("rvv", flow_of(PSLD()), UNEVEN)
    for last, equal in ((1.0, True), (1.001, False)):

        def sampler(score, u, times, *, last=last):
            return rvv(score, u.float(), times, last)

        traced = ok.trace(sampler, grid=UNEVEN, process=PSLD(), prediction="score")
        assert traced.precision == "float32" and bool(ok.same(traced, planned)) is equal


def test_both_plans_run_alike():
    process = PSLD()
    flow = ok.ProbabilityFlow(process, ok.GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6]), "score")
    u = flow.model.marginals.sample(5, 0.8)
    traced = ok.trace(rvv, grid=UNEVEN, process=process, prediction="score")
    assert torch.allclose(traced(flow.model, u), rvv(flow.model, u, UNEVEN), rtol=1e-12, atol=1e-12)


MUTANTS = {
    "a last half step a millionth too long": (
        lambda s, u, ts: rvv(s, u, ts, last=1 + 1e-6),
        r"evaluation 2 takes .*entry 1, 1",
    ),
    "another mass in the first half step": (
        lambda s, u, ts: rvv(s, u, ts, M=0.26),
        r"evaluation 1 .*N_0 \(entry 1, 1\)",
    ),
    "no time correction": (lambda s, u, ts: rvv(s, u, ts, late=False), "evaluation 1 is at time 0.8"),
    "momentum for position": (lambda s, u, ts: rvv(lambda x, t: s(x, t).flip(1), u, ts), "evaluation 1 "),
}


@pytest.mark.parametrize("case", MUTANTS)
def test_a_wrong_sampler_is_told_where_it_is_wrong(case):
    sampler, words = MUTANTS[case]
    planned = ok.plan("rvv", flow_of(PSLD()), UNEVEN)
    traced = ok.trace(lambda m, u, ts: sampler(m, u, ts), grid=UNEVEN, process=PSLD(), prediction="score")
    found = ok.same(traced, planned)
    assert not found
    assert re.search(words, str(found)), str(found)


def test_somebodys_coefficients_in_another_gauge():
    """A sampler for a network of l-noise is the method for a model of the score."""
    traced = ok.trace(exponential_euler, grid=UNEVEN, process=PSLD(), prediction="l-noise")
    assert ok.same(traced, ok.plan("lambda-ddim-1", flow_of(PSLD(), "score"), UNEVEN, rate=0.0))


def test_draws_are_registers():
    """Euler-Maruyama: noise of one size on the position and of another on the momentum."""

    def euler_maruyama(score, u, times):
        for t, s in zip(times[:-1], times[1:], strict=True):
            (x, m), (sx, sm), h, z = halves(u), halves(score(u, t)), t - s, torch.randn_like(u)
            x, m = x - h * BETA / 2 * (-GAMMA * x + m / MASS), m - h * BETA / 2 * (-x - NU * m)
            x, m = x + h * BETA * GAMMA * sx, m + h * BETA * MASS * NU * sm
            u = together(x, m) + (h * BETA) ** 0.5 * together(GAMMA**0.5 * z[:, 0], (MASS * NU) ** 0.5 * z[:, 1])
        return u

    traced = ok.trace(euler_maruyama, grid=UNEVEN, process=PSLD(), prediction="score")
    assert traced.draws == traced.evaluations == 5
    amplitude = torch.as_tensor(traced.dense().noise_output[-1])
    expected = torch.tensor([GAMMA, MASS * NU], dtype=torch.float64).mul(0.04 * BETA).sqrt().diag()
    assert torch.allclose(amplitude, expected, rtol=1e-12, atol=1e-15)


def test_they_are_recognised():
    """By their tables on three uneven grids, among all methods of the catalogue; a mutant is told its place."""
    from analysis.exact import ExactProblem
    from analysis.recognise import parting, recognise

    flow = flow_of(PSLD())
    grid = torch.linspace(1.0, 0.05, 7, dtype=torch.float64)
    problem = ExactProblem(flow, torch.ones(3, 2, 1, dtype=torch.float64), 1.0, 0.05, lambda n: grid, {})
    assert recognise(rvv, problem) == ("rvv", ["the same method as rvv (equal tables on three uneven grids)"])

    def mutant(score, u, times):
        return rvv(score, u, times, last=1.01)

    name, (found,) = recognise(mutant, problem)
    assert name == "rvv" and "nearest is rvv: evaluation 2 takes" in found and "entry 1, 1" in found
    places = [parting(ok.trace(s, grid=grid, process=PSLD(), prediction="score"), "rvv", grid) for s in (mutant, rvv)]
    assert places == [(2, 12), (13, 12)]


# ------------------------------------------------------------ a number a component


def frequencies(n=4, blur=2.0):
    """alpha and sigma of the blurring process with a cosine schedule, from their definitions."""
    process = Blurring(shape=(n,), blur=blur)
    return process, lambda t: process.mean(t).value, lambda t: process.factor(t).value


def test_a_sampler_of_blurring_is_ddim_in_every_frequency():
    process, alpha, sigma = frequencies()

    def ddim(noise, x, times):
        for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            eps = noise(x, t)
            x = alpha(s) * (x - sigma(t) * eps) / alpha(t) + sigma(s) * eps
        return x

    def mistaken(noise, x, times):
        """The signal's part of one frequency forgotten."""
        return ddim(noise, x, times) * torch.tensor([1.0, 1.0, 1.0, 1.001], dtype=torch.float64)

    planned = ok.plan("gddim-0", flow_of(process, "r-noise"), UNEVEN)
    traced = ok.trace(ddim, grid=UNEVEN, process=process, prediction="r-noise")
    assert traced.form == (4,) and ok.same(traced, planned)
    found = ok.same(ok.trace(mistaken, grid=UNEVEN, process=process, prediction="r-noise"), planned)
    assert not found and "the output" in str(found) and "entry 3" in str(found)


@pytest.mark.parametrize("process", [PSLD(), CLD(), Blurring(shape=(2, 3))], ids=["psld", "cld", "blurring"])
@pytest.mark.parametrize("prediction", ["velocity", "score"])
def test_a_plan_is_traced_whatever_its_coefficients(process, prediction):
    plan = ok.plan("heun2", flow_of(process, prediction), UNEVEN)
    assert ok.same(ok.trace(plan), plan) and ok.trace(plan).form == plan.form


# ------------------------------------------------------------ refusals


REFUSED = {
    "a block for a scalar process": (
        lambda: ok.trace(rvv, (2,), "block", grid=UNEVEN, process=VP()),
        r"carrier 'block' on VP\(.*whose coefficients are scalar: expected 'scalar'$",
    ),
    "numbers a component for phase space": (
        lambda: ok.trace(rvv, (2,), "diagonal", grid=UNEVEN, process=PSLD(), prediction="score"),
        r"carrier 'diagonal' on PSLD\(.* are block: expected 'scalar' or 'block'$",
    ),
    "the noise of phase space": (
        lambda: ok.trace(rvv, grid=UNEVEN, process=PSLD()),
        "no prediction 'noise'; its predictions: velocity, score, r-noise, l-noise",
    ),
    "a state without channels": (
        lambda: ok.trace(rvv, (3,), grid=UNEVEN, process=PSLD(), prediction="score"),
        r"states of the carrier 'block' are \(B, 2, ...\): expected shape=\(2, ...\), got \(3,\)",
    ),
    "numbers where matrices are": (
        lambda: ok.trace(rvv, (2,), "scalar", grid=UNEVEN, process=PSLD(), prediction="score"),
        "its coefficients are no scalars",
    ),
    "no process": (
        lambda: ok.trace(rvv, (2,), grid=UNEVEN),
        "its coefficients are no scalars; if they are 2x2 blocks, process= or carrier= says so$",
    ),
    "a matrix for every position": (
        lambda: ok.trace(
            lambda m, u: u + m(u, 0.5).flip(1) * torch.arange(3.0), (2, 3), process=PSLD(), prediction="score"
        ),
        "differently: its coefficients are no 2x2 blocks on the channels$",
    ),
    "frequencies that mix": (
        lambda: ok.trace(lambda m, x: x + m(x, 0.5).roll(1, 1), process=Blurring(shape=(4,)), prediction="score"),
        "mixes the elements of a sample: its coefficients are no numbers a component$",
    ),
    "an unknown carrier": (lambda: ok.trace(rvv, (2,), "matrix", grid=UNEVEN), "unknown carrier 'matrix'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    call, words = REFUSED[case]
    with pytest.raises(OdekitError, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_a_saturation_of_one_channel_is_named():
    def clipped(score, u, times):
        return rvv(lambda x, t: score(torch.cat([x[:, :1], x[:, 1:].clamp(-1, 1)], 1), t), u, times)

    with pytest.raises(TraceError, match="evaluation 0 .*clipping or thresholding"):
        ok.trace(clipped, grid=UNEVEN, process=PSLD(), prediction="score")
