"""Exact scores under CLD, PSLD and blurring, against mixtures on the whole state written out in full."""

import pickle

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.exceptions import TargetError
from odekit.targets import Empirical, GaussianMixture, LowRank, under

G = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, generator=G, dtype=torch.float64)


MEANS, FACTORS, WEIGHTS = draw(3, 4), draw(3, 4, 4), [0.2, 0.5, 0.3]
MIXTURES = {
    "isotropic": GaussianMixture(MEANS, [0.3, 0.5, 0.2], WEIGHTS),
    "shared": GaussianMixture(MEANS, [0.3] * 3, WEIGHTS),
    "diagonal": GaussianMixture(MEANS, draw(3, 4).abs() + 0.1, WEIGHTS, shape=(2, 2)),
    "full": GaussianMixture(MEANS, FACTORS @ FACTORS.mT / 4, WEIGHTS),
    "low-rank": GaussianMixture(MEANS, LowRank(FACTORS[:, :, :2], [0.2, 0.3, 0.1]), WEIGHTS),
    "points": Empirical(MEANS),
}
PHASE = {"psld": ok.PSLD(), "cld": ok.CLD(), "wide": ok.PSLD(Gamma=0.5, nu=2.5, position_variance=0.01)}
CASES = {f"{p} {m}": (p, m) for p in (*PHASE, "blurring") for m in MIXTURES}
every_case = pytest.mark.parametrize("case", CASES)
T = 0.3


def seen_through(case):
    process, mixture = CASES[case]
    mixture = MIXTURES[mixture]
    return under(ok.Blurring(shape=mixture.shape, blur=3.0) if process == "blurring" else PHASE[process], mixture)


def golden(*digits):
    return torch.tensor(digits, dtype=torch.float64)


def covariances(mixture):
    """S_k as matrices (K, d, d), from conditional draws' own definition: f(S) of every unit vector."""
    d = mixture.dimension
    columns = torch.eye(d, dtype=torch.float64).unsqueeze(1).expand(d, len(mixture.means), d)
    return mixture.covariances.join(mixture.covariances.eigenvalues, mixture.covariances.split(columns)).transpose(0, 1)


def written_out(seen, t):
    """The same law as a mixture on flattened states, with covariances of the whole state."""
    process, mixture, d = seen.process, seen.mixture, seen.mixture.dimension
    S = covariances(mixture)
    if isinstance(process, ok.Blurring):
        basis = process.embed(torch.eye(d, dtype=torch.float64).reshape(d, *process.shape)).reshape(d, d).T
        E = process.mean(t).value.unsqueeze(1) * basis
        total = E @ S @ E.T + torch.diag(process.covariance(t).value)
        return GaussianMixture(mixture.means @ E.T, total, mixture.weights)
    E, noise = process.mean(t).value, process.covariance(t, initial=False).value
    position, momentum = (float(v) for v in process.initial_variances)
    eye = torch.eye(d, dtype=torch.float64)
    start = torch.zeros(len(S), 2 * d, 2 * d, dtype=torch.float64)
    start[:, :d, :d] = S + position * eye
    start[:, d:, d:] = momentum * eye
    flow = torch.kron(E, eye)
    means = torch.cat([mixture.means, torch.zeros_like(mixture.means)], 1) @ flow.T
    return GaussianMixture(means, flow @ start @ flow.T + torch.kron(noise, eye), mixture.weights)


def close(a, b, tolerance):
    assert torch.isfinite(a).all()
    gap = (a - b).abs().max().item()
    assert gap <= tolerance * (1 + b.abs().max().item()), gap


@every_case
def test_laws_are_those_of_the_whole_state(case):
    seen = seen_through(case)
    full, u = written_out(seen, T), seen.sample(7, T, seed=1)
    v, flat = draw(*u.shape), u.flatten(1)
    close(seen.score(u, T).flatten(1), full.score(flat, 1.0, 0.0), 1e-12)
    close(seen.log_density(u, T), full.log_density(flat), 1e-12)
    close(seen.score_jvp(u, v, T).flatten(1), full.score_jvp(flat, v.flatten(1), 1.0, 0.0), 1e-11)


@every_case
def test_score_and_jacobian_by_differentiation(case):
    seen, t = seen_through(case), T
    u = seen.sample(5, t, seed=2).requires_grad_()
    v = draw(*u.shape)
    (gradient,) = torch.autograd.grad(seen.log_density(u, t).sum(), u)
    close(seen.score(u, t).detach(), gradient, 1e-12)
    (product,) = torch.autograd.grad((seen.score(u, t) * v).sum(), u)
    close(seen.score_jvp(u.detach(), v, t), product, 1e-11)


@every_case
@pytest.mark.parametrize("t", [1e-2, 0.3, 0.9])
def test_tweedie(case, t):
    """Psi^-1 (u + Sigma_t s) = (E[x_0 | u], 0): d numbers that the score must have right, and d zeros."""
    seen = seen_through(case)
    u, process = seen.sample(7, t, seed=3), seen.process
    score, back, sigma = seen.score(u, t), process.mean(t).inverse(), process.covariance(t)
    start = back.apply(u + sigma.apply(score))
    rounding = 4e-15 * (1 + back.value.abs().max() * (u.abs().max() + sigma.value.abs().max() * score.abs().max()))
    if process.carrier == "block":
        assert start[:, 1].abs().max() <= rounding
        start = start[:, 0]
    assert (start - seen.denoiser(u, t)).abs().max() <= rounding


def test_a_wrong_score_fails_the_second_tweedie_component():
    seen = under(ok.PSLD(), MIXTURES["full"])
    u = seen.sample(7, T, seed=3)
    wrong = seen.score(u, T) + 1e-6 * u
    start = seen.process.mean(T).inverse().apply(u + seen.process.covariance(T).apply(wrong))
    assert start[:, 1].abs().max() > 1e-8


@every_case
def test_draws_have_the_law(case):
    """Mean and covariance of 20,000 draws against the law's, in units of its own deviations."""
    seen = seen_through(case)
    full, u = written_out(seen, T), seen.sample(20000, T, seed=4).flatten(1)
    root = torch.linalg.cholesky(full.covariance)
    white = torch.linalg.solve_triangular(root, (u - full.mean).T, upper=False)
    assert white.mean(1).abs().max() < 4.5 / 20000**0.5
    assert (white @ white.T / 20000 - torch.eye(len(white))).abs().max() < 0.06


def test_golden_score_and_flow():
    """The specification's state, its score and the ends of one Euler step and of the exact flow, t = .3 -> .25."""
    seen = under(ok.PSLD(), GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6]))
    u = torch.tensor([[[0.5], [-0.2]]], dtype=torch.float64)
    close(seen.score(u, 0.3).flatten(), golden(-0.38613996, 0.63304109), 6e-9)

    def velocity(t, u):
        process = seen.process
        return process.drift(t).apply(u) - process.diffusion(t).apply(seen.score(u, t)) / 2

    close((u - 0.05 * velocity(0.3, u)).flatten(), golden(0.66022772, -0.13347526), 6e-9)

    def rate(t, y):
        return velocity(t, torch.tensor(y).reshape(1, 2, 1)).flatten().numpy()

    path = solve_ivp(rate, (0.3, 0.25), [0.5, -0.2], method="DOP853", rtol=1e-12, atol=1e-13)
    close(torch.tensor(path.y[:, -1]), golden(0.63196514, -0.12802342), 6e-9)


@pytest.mark.parametrize("name", PHASE)
def test_r_noise_is_constant_on_paths_of_a_point(name):
    """Point data: u_t = mu_t + R_t eps with one eps solves the flow exactly; the Cholesky noise turns."""
    process, point = PHASE[name], Empirical([[0.7, -1.2]])
    seen, eps, turned = under(process, point), draw(3, 2, 2), []
    for t in (0.9, 0.3, 1e-2):
        mean = process.mean(t).apply(process.embed(point.means))
        score = seen.score(mean + process.factor(t).apply(eps), t)
        close(-process.factor(t).transpose().apply(score), eps, 1e-11)
        turned.append(-process.factor(t, "L").transpose().apply(score))
    assert (turned[0] - turned[-1]).abs().max() > 0.1


@pytest.mark.parametrize("name", ["psld", "cld"])
def test_gaussian_data_flow_in_one_step(name):
    """R of the process whose Sigma_0 holds the data's variance carries the flow of Gaussian data: R_s R_t^-1."""
    process, variance, (t, s) = PHASE[name], 0.25, (1.0, 0.2)
    seen = under(process, GaussianMixture([[0.7]], [variance**0.5], [1.0]))
    spread = type(process)(**{**process.parameters, "position_variance": variance})
    start = seen.sample(1, t, seed=5)

    def rate(r, y):
        u = torch.tensor(y).reshape(1, 2, 1)
        return (process.drift(r).apply(u) - process.diffusion(r).apply(seen.score(u, r)) / 2).flatten().numpy()

    path = solve_ivp(rate, (t, s), start.flatten().numpy(), method="DOP853", rtol=1e-12, atol=1e-13)
    mean = [process.mean(r).apply(torch.tensor([[[0.7], [0.0]]], dtype=torch.float64)) for r in (t, s)]
    carried = mean[1] + (spread.factor(s) @ spread.factor(t).inverse()).apply(start - mean[0])
    close(carried.flatten(), torch.tensor(path.y[:, -1]), 2e-11)


def test_marginal_in_x_is_the_law_of_the_positions():
    seen = under(ok.PSLD(), MIXTURES["full"])
    marginal, full = seen.marginal_x(T), written_out(seen, T)
    close(marginal.mean, full.mean[:4], 1e-13)
    close(marginal.covariance, full.covariance[:4, :4], 1e-13)
    # and its density, with the momentum integrated out: one dimension, 400 nodes
    seen = under(ok.CLD(), GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6]))
    x, w = np.polynomial.legendre.leggauss(400)
    momenta = torch.tensor(6 * x)
    for position in (-0.5, 0.8):
        u = torch.stack([torch.full_like(momenta, position), momenta], 1).unsqueeze(2)
        integral = (torch.exp(seen.log_density(u, T)) * torch.tensor(6 * w)).sum()
        density = torch.exp(seen.marginal_x(T).log_density(torch.tensor([[position]], dtype=torch.float64)))
        close(integral, density, 1e-12)


def test_blurring_without_blur_is_the_cosine_process():
    process, mixture = ok.Blurring(shape=(4,), blur=0.0), MIXTURES["full"]
    seen, u = under(process, mixture), draw(5, 4)
    alpha, sigma = process.mean(T).value[0].item(), process.factor(T).value[0].item()
    assert alpha**2 + sigma**2 == pytest.approx(1, abs=1e-15)
    close(process.project(seen.score(process.embed(u), T)), mixture.score(u, alpha, sigma), 1e-13)
    close(process.project(seen.denoiser(process.embed(u), T)), mixture.denoiser(u, alpha, sigma), 1e-12)


@pytest.mark.parametrize("case", ["psld full", "cld low-rank", "blurring isotropic"])
def test_scores_differentiate_in_time(case):
    seen = seen_through(case)
    u, t = seen.sample(4, T, seed=6), torch.tensor(T, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(seen.score(u, t).sum(), t)
    difference = (seen.score(u, T + 1e-5) - seen.score(u, T - 1e-5)).sum() / 2e-5
    assert abs(slope - difference) <= 1e-6 * (1 + abs(difference))


@pytest.mark.parametrize("case", ["psld full", "cld isotropic", "blurring full"])
def test_states_come_back_in_their_dtype_and_large_batches_in_parts(case):
    seen = seen_through(case)
    u = seen.sample(6, T, seed=7)
    small = seen.score(u.float(), T)
    assert small.dtype == torch.float32
    assert (small - seen.score(u, T)).abs().max() < 1e-4
    tight = under(seen.process, pickle.loads(pickle.dumps(seen.mixture)))
    tight.mixture.budget = 64 * seen.mixture.means.numel() * 2
    close(tight.score(u, T), seen.score(u, T), 1e-15)
    assert tight.denoiser(u, T).shape == (6, *seen.mixture.shape)


def test_laws_pickle_and_hold_their_tables():
    seen = under(ok.PSLD(), MIXTURES["full"])
    u = seen.sample(3, T)
    close(pickle.loads(pickle.dumps(seen)).score(u, T), seen.score(u, T), 0.0)
    assert seen.at(T) is seen.at(T) and seen.shape == (2, 4)


def test_any_linear_sde_has_exact_scores():
    import sympy

    t = sympy.Symbol("t")
    process = ok.LinearSDE(sympy.Matrix([[-t, 2], [-2, -1 - t]]), sympy.diag(1, 2), initial=(0, 0.1))
    seen = under(process, MIXTURES["full"])
    full, u = written_out(seen, T), seen.sample(5, T)
    close(seen.score(u, T).flatten(1), full.score(u.flatten(1), 1.0, 0.0), 1e-12)


REFUSED = {
    "no channel axis": (
        lambda: under(ok.PSLD(), MIXTURES["full"]).score(draw(3, 4), T),
        r"states must be \(batch, 2, 4\), got shape \(3, 4\); PSLD needs the channel axis",
    ),
    "whole numbers": (
        lambda: under(ok.PSLD(), MIXTURES["full"]).score(torch.ones(3, 2, 4, dtype=torch.long), T),
        r"floating point tensor \(batch, 2, 4\)",
    ),
    "other direction": (
        lambda: under(ok.PSLD(), MIXTURES["full"]).score_jvp(draw(3, 2, 4), draw(2, 2, 4), T),
        "u and v must have one shape",
    ),
    "point at t = 0": (lambda: under(ok.CLD(), MIXTURES["points"]).at(0.0), "no density at t = 0.*take t > 0"),
    "scalar process": (lambda: under(ok.VP(), MIXTURES["full"]), "VP has scalar coefficients: ask the mixture"),
    "no process": (lambda: under("psld", MIXTURES["full"]), "expected a process such as"),
    "no mixture": (lambda: under(ok.PSLD(), draw(3, 4)), "exact scores need a Gaussian mixture"),
    "other signal": (
        lambda: under(ok.Blurring(shape=(5,)), MIXTURES["full"]),
        r"signals of shape \(4,\), .* those of \(5,\)",
    ),
    "too large": (
        lambda: under(ok.Blurring(shape=(3000,)), GaussianMixture(torch.zeros(1, 3000), torch.ones(1, 3000), [1.0])),
        "exceed the budget",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, words = REFUSED[name]
    with pytest.raises(TargetError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
