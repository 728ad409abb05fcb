"""Exact scores of mixtures on one, three and four channels, against mixtures on the whole state written out in full."""

import math

import mpmath
import pytest
import sympy
import torch

import odekit as ok
from odekit.exceptions import TargetError
from odekit.targets import Empirical, GaussianMixture, LowRank, under

G = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, generator=G, dtype=torch.float64)


MEANS, FACTORS, WEIGHTS = draw(3, 4), draw(3, 4, 4), [0.2, 0.5, 0.3]
MIXTURES = {
    "isotropic": GaussianMixture(MEANS, [0.3, 0.5, 0.2], WEIGHTS),
    "diagonal": GaussianMixture(MEANS, draw(3, 4).abs() + 0.1, WEIGHTS, shape=(2, 2)),
    "full": GaussianMixture(MEANS, FACTORS @ FACTORS.mT / 4, WEIGHTS),
    "low-rank": GaussianMixture(MEANS, LowRank(FACTORS[:, :, :2], [0.2, 0.3, 0.1]), WEIGHTS),
    "points": Empirical(MEANS),
}
t = sympy.Symbol("t")
CHAIN = sympy.Matrix([[0, 1, 0], [-1, 0, 2], [0, -2, -3]]) * 2
NOISE = sympy.Matrix([0, 0, sympy.sqrt(12)])
LONGER = sympy.Matrix([[-1, 1, 0, 0], [-1, 0, 1, 0], [0, -1, 0, 1], [0, 0, -1, -4]]) * 3
PROCESSES = {
    "one": ok.LinearSDE(sympy.Matrix([[-1 - t]]), sympy.Matrix([[sympy.sqrt(2)]])),
    "third order": ok.LinearSDE(CHAIN, NOISE, initial=(0, 0.04, 0.04)),
    "wide": ok.LinearSDE(CHAIN, NOISE, initial=(0.01, 0, 0.04)),
    "four": ok.LinearSDE(LONGER, sympy.Matrix([0, 0, 0, 3]), initial=(0, 0.1, 0.1, 0.1)),
    "two": ok.LinearSDE(sympy.Matrix([[0, 1], [-1, -2]]), sympy.Matrix([0, 2]), initial=(0, 1)),
}
CASES = {f"{p} {m}": (p, m) for p in PROCESSES for m in MIXTURES}
every_case = pytest.mark.parametrize("case", CASES)
T = 0.3


def seen_through(case):
    process, mixture = CASES[case]
    return under(PROCESSES[process], MIXTURES[mixture])


def written_out(seen, t):
    """The same law as a mixture on flattened states, with covariances of the whole state."""
    process, mixture, d, n = seen.process, seen.mixture, seen.mixture.dimension, seen.process.channels
    eye = torch.eye(d, dtype=torch.float64)
    columns = eye.unsqueeze(1).expand(d, len(mixture.means), d)
    S = mixture.covariances.join(mixture.covariances.eigenvalues, mixture.covariances.split(columns)).transpose(0, 1)
    start = torch.diag(torch.tensor([float(v) for v in process.initial_variances], dtype=torch.float64))
    first = torch.zeros(n, n, dtype=torch.float64)
    first[0, 0] = 1
    flow, noise = (torch.kron(op.value, eye) for op in (process.mean(t), process.covariance(t, initial=False)))
    spread = torch.kron(start, eye) + torch.stack([torch.kron(first, one) for one in S])
    means = torch.cat([mixture.means, *[torch.zeros_like(mixture.means)] * (n - 1)], 1) @ flow.T
    return GaussianMixture(means, flow @ spread @ flow.T + noise, mixture.weights)


def close(a, b, tolerance):
    assert torch.isfinite(a).all()
    gap = (a - b).abs().max().item()
    assert gap <= tolerance * (1 + b.abs().max().item()), gap


@every_case
def test_laws_are_those_of_the_whole_state(case):
    seen = seen_through(case)
    full, u = written_out(seen, T), seen.sample(7, T, seed=1)
    v, flat = draw(*u.shape), u.flatten(1)
    assert u.shape == (7, seen.process.channels, *seen.mixture.shape)
    close(seen.score(u, T).flatten(1), full.score(flat, 1.0, 0.0), 3e-11)
    close(seen.log_density(u, T), full.log_density(flat), 3e-11)
    close(seen.score_jvp(u, v, T).flatten(1), full.score_jvp(flat, v.flatten(1), 1.0, 0.0), 3e-11)


@every_case
def test_score_and_jacobian_by_differentiation(case):
    seen = seen_through(case)
    u = seen.sample(5, T, seed=2).requires_grad_()
    v = draw(*u.shape)
    (gradient,) = torch.autograd.grad(seen.log_density(u, T).sum(), u)
    close(seen.score(u, T).detach(), gradient, 1e-12)
    (product,) = torch.autograd.grad((seen.score(u, T) * v).sum(), u)
    close(seen.score_jvp(u.detach(), v, T), product, 1e-11)


@every_case
@pytest.mark.parametrize("t", [3e-2, 0.3, 0.9])
def test_tweedie(case, t):
    """Psi^-1 (u + Sigma_t s) = (E[x_0 | u], 0, ...): d numbers that the score must have right, and zeros."""
    seen = seen_through(case)
    u, process = seen.sample(7, t, seed=3), seen.process
    score, back, sigma = seen.score(u, t), process.mean(t).inverse(), process.covariance(t)
    start = back.apply(u + sigma.apply(score))
    rounding = 2e-14 * (1 + back.value.abs().max() * (u.abs().max() + sigma.value.abs().max() * score.abs().max()))
    if process.channels > 1:
        assert start[:, 1:].abs().max() <= rounding
    assert (start[:, 0] - seen.denoiser(u, t)).abs().max() <= rounding


def test_a_wrong_score_fails_the_other_tweedie_components():
    seen = under(PROCESSES["third order"], MIXTURES["full"])
    u = seen.sample(7, T, seed=3)
    wrong = seen.score(u, T) + 1e-6 * u
    start = seen.process.mean(T).inverse().apply(u + seen.process.covariance(T).apply(wrong))
    assert start[:, 1:].abs().amax((0, 2)).min() > 1e-8


@pytest.mark.parametrize("variance", [1e4, 1.0, 1e-8])
def test_posterior_means_keep_their_digits(variance):
    """Cov(x_0, u) Sigma^-1 (u - mean) in forty digits: for data wide and narrow beside the noise."""
    seen = under(PROCESSES["third order"], GaussianMixture([[0.3]], torch.tensor([[[variance]]]).double(), [1.0]))
    t = mpmath.mpf("0.001")
    u = seen.sample(9, float(t), seed=4)
    with mpmath.workdps(40):
        psi = mpmath.matrix(seen.process.mean(t).value[:, 0].tolist())
        spread = mpmath.matrix(seen.process.covariance(t).value.tolist()) + mpmath.mpf(variance) * psi * psi.T
        gain = (mpmath.inverse(spread) * psi * mpmath.mpf(variance)).T
        exact = [0.3 + (gain * (mpmath.matrix(row) - 0.3 * psi))[0] for row in u[:, :, 0].tolist()]
    exact = torch.tensor([float(x) for x in exact], dtype=torch.float64)
    assert ((seen.denoiser(u, float(t))[:, 0] - exact) / (exact.abs() + variance**0.5)).abs().max() < 1e-13


def test_one_channel_is_the_scalar_mixture():
    seen = seen_through("one full")
    u, process = seen.sample(6, T), seen.process
    alpha, sigma = process.mean(T).value.item(), process.factor(T, "L").value.item()
    assert abs(alpha - math.exp(-T - T * T / 2)) < 1e-15
    close(seen.score(u, T)[:, 0], seen.mixture.score(u[:, 0], alpha, sigma), 1e-12)
    close(seen.denoiser(u, T), seen.mixture.denoiser(u[:, 0], alpha, sigma), 1e-12)


def test_marginal_of_the_data_and_draws():
    seen = under(PROCESSES["third order"], MIXTURES["full"])
    law, draws = seen.marginal_x(0.4), seen.sample(40_000, 0.4, seed=5)[:, 0]
    assert (draws.mean(0) - law.mean).abs().max() < 5 * (law.covariance.diagonal().max() / 40_000).sqrt()
    assert (torch.cov(draws.T) - law.covariance).abs().max() < 0.05 * law.covariance.abs().max()


REFUSED = {
    "a state of two channels": (
        lambda: under(PROCESSES["third order"], MIXTURES["full"]).score(torch.zeros(2, 2, 4), T),
        r"states must be \(batch, 3, 4\), got shape \(2, 2, 4\)",
    ),
    "points without noise": (
        lambda: under(PROCESSES["third order"], MIXTURES["points"]).score(torch.zeros(2, 3, 4), 0.0),
        "no density at t = 0: the covariance of a component is singular",
    ),
    "noise that never reaches a channel": (
        lambda: under(
            ok.LinearSDE(-sympy.eye(3), sympy.Matrix([1, 1, 0])), MIXTURES["points"]
        ).score(torch.zeros(2, 3, 4), 0.5),
        "no density at t = 0.5: the covariance of a component is singular",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, words = REFUSED[name]
    with pytest.raises(TargetError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
