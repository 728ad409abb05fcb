"""Laws that hold for every mixture, every state and every noise level."""

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.targets import Empirical, Gaussian, GaussianMixture, LowRank
from odekit.targets.posterior import Tables, combination

KINDS = ["isotropic", "shared", "diagonal", "full", "low-rank", "empirical"]


def random_mixture(kind, seed, count=None, dimension=None):
    g = torch.Generator().manual_seed(seed)
    count = count or int(torch.randint(1, 6, (), generator=g))
    d = dimension or int(torch.randint(1, 5, (), generator=g))
    means = 2 * torch.randn(count, d, generator=g, dtype=torch.float64)
    weights = torch.rand(count, generator=g, dtype=torch.float64) + 0.1
    factors = torch.randn(count, d, d, generator=g, dtype=torch.float64)
    scales = {
        "isotropic": lambda: torch.rand(count, generator=g) + 0.05,
        "shared": lambda: torch.full((count,), 0.3),
        "diagonal": lambda: torch.rand(count, d, generator=g) + 0.05,
        "full": lambda: factors @ factors.mT / d,
        "low-rank": lambda: LowRank(factors[:, :, : (d + 1) // 2], torch.rand(count, generator=g) + 0.05),
    }
    if kind == "empirical":
        return Empirical(means, bandwidth=0.2)
    return GaussianMixture(means, scales[kind](), weights / weights.sum())


kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 10**6)
levels = st.tuples(st.floats(0.05, 1.0), st.floats(0.05, 3.0))


def states(target, alpha, sigma, count=6, seed=0):
    return target.marginal(alpha, sigma).sample(count, seed=seed)


def close(a, b, tolerance=1e-11):
    assert torch.isfinite(a).all()
    assert (a - b).abs().max() <= tolerance * (1 + b.abs().max()), (a - b).abs().max()


@given(kinds, seeds, levels)
def test_score_is_the_gradient_of_the_log_density(kind, seed, level):
    target = random_mixture(kind, seed)
    x = states(target, *level).requires_grad_()
    (gradient,) = torch.autograd.grad(target.log_density(x, *level).sum(), x)
    close(gradient, target.score(x, *level).detach())


@given(kinds, seeds, levels)
def test_tweedie(kind, seed, level):
    target, (alpha, sigma) = random_mixture(kind, seed), level
    x = states(target, alpha, sigma)
    denoiser, noise = target.denoiser(x, alpha, sigma), target.noise(x, alpha, sigma)
    close(alpha * denoiser + sigma * noise, x)
    close(noise, -sigma * target.score(x, alpha, sigma))


@given(kinds, seeds, levels)
def test_marginals_are_mixtures(kind, seed, level):
    target, (alpha, sigma) = random_mixture(kind, seed), level
    marginal, x = target.marginal(alpha, sigma), states(target, alpha, sigma)
    close(marginal.score(x, 1.0, 0.0), target.score(x, alpha, sigma))
    close(marginal.log_density(x), target.log_density(x, alpha, sigma))
    again, once = marginal.marginal(0.5, 0.7), target.marginal(0.5 * alpha, math.hypot(0.5 * sigma, 0.7))
    close(again.score(x, 1.0, 0.0), once.score(x, 1.0, 0.0))
    close(
        marginal.covariance, alpha**2 * target.covariance + sigma**2 * torch.eye(target.dimension, dtype=torch.float64)
    )


@given(kinds, seeds, levels)
def test_jacobian_product_is_symmetric_and_that_of_autograd(kind, seed, level):
    target = random_mixture(kind, seed)
    x = states(target, *level).requires_grad_()
    u, v = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    product = target.score_jvp(x, v, *level)
    (backward,) = torch.autograd.grad(target.score(x, *level), x, v)
    close(product.detach(), backward, 1e-10)
    swapped = (target.score_jvp(x, u, *level) * v).sum()
    assert abs(swapped - (product * u).sum()) <= 1e-10 * (1 + abs(swapped))


@settings(max_examples=15)
@given(kinds, seeds, levels)
def test_many_components_obey_the_same_laws(kind, seed, level):
    """The same laws where log-weights are matrix products."""
    target = random_mixture(kind, seed, 150, 4)
    x = states(target, *level).requires_grad_()
    (gradient,) = torch.autograd.grad(target.log_density(x, *level).sum(), x)
    score = target.score(x, *level)
    close(gradient, score.detach(), 1e-10)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    (backward,) = torch.autograd.grad(score, x, v)
    close(target.score_jvp(x, v, *level).detach(), backward, 1e-9)
    tables = Tables.build(target, *level, x)
    close(score.detach(), combination(tables, x, (0.0, 1.0, 0.0), exact=False).detach(), 1e-10)


@given(seeds, levels)
def test_affine_equivariance(seed, level):
    """Rotating, stretching and moving the data moves score and denoiser along."""
    alpha, sigma = level
    target = random_mixture("full", seed)
    d = target.dimension
    g = torch.Generator().manual_seed(seed + 1)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64))[0]
    stretch, shift = 1.7, torch.randn(d, generator=g, dtype=torch.float64)
    covariances = target.covariances.exact[0]
    moved = GaussianMixture(
        stretch * target.means @ rotation.T + shift,
        _symmetric(stretch**2 * rotation @ covariances @ rotation.T),
        target.weights,
    )
    x = states(target, alpha, sigma)
    y = stretch * x @ rotation.T + alpha * shift
    close(moved.score(y, alpha, stretch * sigma), target.score(x, alpha, sigma) @ rotation.T / stretch, 1e-10)
    close(moved.denoiser(y, alpha, stretch * sigma), stretch * target.denoiser(x, alpha, sigma) @ rotation.T + shift)
    density = target.log_density(x, alpha, sigma) - d * math.log(stretch)
    close(moved.log_density(y, alpha, stretch * sigma), density)


def _symmetric(matrices):
    return (matrices + matrices.mT) / 2


@given(seeds, levels, st.sampled_from([3, 100]))
def test_all_representations_of_a_covariance_agree(seed, level, count):
    """Isotropic, diagonal, full and low-rank; small (compensated) and large (products) alike."""
    d, s = 3, 0.4
    base = random_mixture("shared", seed, count, d)
    many = torch.full((count,), s, dtype=torch.float64)
    forms = [
        many,
        many.unsqueeze(1).expand(count, d),
        torch.eye(d, dtype=torch.float64).expand(count, d, d) * s**2,
        LowRank(torch.zeros(count, d, 1), many),
        LowRank(torch.zeros(count, d, 0), many),
    ]
    first, *others = (GaussianMixture(base.means, form, base.weights) for form in forms)
    x = states(first, *level)
    v = torch.ones_like(x)
    weights = [(0.3, 0.8, -0.4)]
    for other in others:
        close(other.score(x, *level), first.score(x, *level), 1e-10)
        close(other.denoiser(x, *level), first.denoiser(x, *level), 1e-10)
        close(other.log_density(x, *level), first.log_density(x, *level), 1e-10)
        close(other.score_jvp(x, v, *level), first.score_jvp(x, v, *level), 1e-9)
        calls = [t.prepare([level[0]], [level[1]], weights)(0, x) for t in (other, first)]
        close(*calls, 1e-10)


@given(kinds, seeds, levels, st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2)), st.booleans())
def test_prepared_calls_are_the_combination(kind, seed, level, weights, big):
    target = random_mixture(kind, seed, 40 if big else None, 14 if big else None)
    x = states(target, *level)
    wx, ws, wd = weights
    wanted = wx * x + ws * target.score(x, *level) + wd * target.denoiser(x, *level)
    call = target.prepare([0.5, level[0]], [1.0, level[1]], [(0.0, 0.0, 0.0), weights])
    close(call(1, x), wanted, 1e-10)
    close(call(0, x), 0 * x)
    close(call(1, x.float()).double(), wanted, 1e-2)
    assert call(1, x.float()).dtype == torch.float32
    copy = pickle.loads(pickle.dumps(call))
    assert torch.equal(copy(1, x), call(1, x))


@given(kinds, seeds, levels)
def test_gradients_in_alpha_and_sigma(kind, seed, level):
    target = random_mixture(kind, seed)
    x = states(target, *level)
    tensors = [torch.tensor(n, dtype=torch.float64, requires_grad=True) for n in level]
    h = 1e-6
    for name in ("score", "denoiser", "noise", "log_density"):
        function = getattr(target, name)
        value = function(x, *tensors).cos().sum()
        gradients = torch.autograd.grad(value, tensors)
        for i, gradient in enumerate(gradients):
            ends = [function(x, *(n + (sign * h if i == j else 0) for j, n in enumerate(level))) for sign in (1, -1)]
            difference = (ends[0].cos().sum() - ends[1].cos().sum()) / (2 * h)
            scale = 1 + abs(gradient) + ends[0].abs().max() / min(level) ** 3
            assert abs(gradient - difference) <= 1e-6 * scale, (name, i)


@pytest.mark.parametrize("kind", KINDS)
def test_forward_derivatives_pass_through(kind):
    target = random_mixture(kind, 3, 4, 3)
    x, v = states(target, 0.8, 0.6), torch.ones(6, 3, dtype=torch.float64)
    call = target.prepare([0.8], [0.6], [(0.0, 1.0, 0.0)])
    for function in (lambda x: target.score(x, 0.8, 0.6), lambda x: call(0, x)):
        close(torch.func.jvp(function, (x,), (v,))[1], target.score_jvp(x, v, 0.8, 0.6))

    def along(alpha):  # a direction inside a direction: time outside, state inside
        return torch.func.jvp(lambda x: target.score(x, alpha, 0.6), (x,), (v,))[1]

    alpha = torch.tensor(0.8, dtype=torch.float64)
    _, derivative = torch.func.jvp(along, (alpha,), (torch.ones_like(alpha),))
    close(derivative, (along(0.8 + 1e-5) - along(0.8 - 1e-5)) / 2e-5, 1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_made_in_inference_mode_serve_gradients(kind):
    target = random_mixture(kind, 5, 4, 3)
    call = target.prepare([0.8], [0.6], [(0.2, 1.0, 0.5)])
    x = states(target, 0.8, 0.6).float()
    with torch.inference_mode():
        call(0, x)
        target.score(x, 0.8, 0.6)
    x.requires_grad_()
    (call(0, x) + target.score(x, 0.8, 0.6)).sum().backward()
    assert torch.isfinite(x.grad).all()


@given(kinds, seeds)
def test_moments_are_those_of_the_samples(kind, seed):
    target = random_mixture(kind, seed)
    x = target.sample(20000, seed=seed)
    error = torch.linalg.eigvalsh(target.covariance)[-1].sqrt() / 20000**0.5
    assert (x.mean(0) - target.mean).norm() < 6 * target.dimension**0.5 * error
    assert (torch.cov(x.T).reshape(target.covariance.shape) - target.covariance).norm() < 0.2 * target.covariance.norm()


def test_samples_follow_the_density():
    """Mean log-density against its value by quadrature: would see wrong weights or widths that leave moments alone."""
    target = GaussianMixture([[-1.0], [0.8]], [0.3, 0.2], [0.3, 0.7])
    line = torch.linspace(-4, 4, 200001, dtype=torch.float64).unsqueeze(1)
    density = target.log_density(line)
    entropy = (density * density.exp()).sum() * (8 / 200000)
    draws = target.log_density(target.sample(40000, seed=2))
    assert abs(draws.mean() - entropy) < 5 * draws.std() / 200
    wrong = target.log_density(GaussianMixture([[-1.0], [0.8]], [0.3, 0.2], [0.35, 0.65]).sample(40000, seed=2))
    assert abs(wrong.mean() - entropy) > 5 * draws.std() / 200


def test_samples_are_reproducible():
    target = random_mixture("full", 1)
    assert torch.equal(target.sample(5, seed=4), target.sample(5, seed=torch.Generator().manual_seed(4)))
    generator = torch.Generator().manual_seed(4)
    assert not torch.equal(target.sample(5, generator), target.sample(5, generator))
    assert target.sample(5, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_limits(kind):
    """alpha = 0 gives the mean and pure noise; sigma -> 0 gives the state back."""
    target = random_mixture(kind, 11, 5, 3)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    close(target.denoiser(x, 0.0, 1.0), target.mean.expand(4, 3), 1e-14)
    close(target.noise(x, 0.0, 2.0), x / 2, 1e-14)
    data = target.sample(4, seed=1)
    if kind != "low-rank":
        close(target.denoiser(data, 1.0, 0.0), data, 1e-9)
        close(target.noise(data, 1.0, 0.0), 0 * data)
    if kind != "full":
        close(target.denoiser(data, 1.0, 1e-6), data, 1e-9)


def test_point_masses_pull_to_the_nearest_point():
    target = Empirical([[-1.0], [1.0]])
    x = torch.tensor([[0.3], [-1e-3], [1e3]], dtype=torch.float64)
    assert torch.equal(target.denoiser(x, 1.0, 1e-4), torch.tensor([[1.0], [-1.0], [1.0]], dtype=torch.float64))
    assert torch.isfinite(target.log_density(x, 1.0, 1e-4)).all()


def test_one_gaussian_has_a_linear_score():
    covariance = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
    target = Gaussian(torch.tensor([1.0, -2.0]), covariance)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noised = 0.64 * covariance + 0.36 * torch.eye(2, dtype=torch.float64)
    close(target.score(x, 0.8, 0.6), -torch.linalg.solve(noised, (x - 0.8 * target.mean).T).T, 1e-14)


@settings(max_examples=15)
@given(kinds, seeds)
def test_shape_and_dtype_of_states_are_kept(kind, seed):
    flat = random_mixture(kind, seed, 3, 4)
    if kind == "empirical":
        image = Empirical(flat.means.reshape(3, 1, 2, 2), bandwidth=0.2)
    else:
        image = flat.marginal(1.0, 0.0)
        image.shape = (1, 2, 2)
    x = states(flat, 0.8, 0.6)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        y = x.to(dtype).reshape(6, 1, 2, 2)
        for value in (image.score(y, 0.8, 0.6), image.denoiser(y, 0.8, 0.6), image.score_jvp(y, y, 0.8, 0.6)):
            assert value.shape == y.shape and value.dtype == dtype
        assert image.log_density(y, 0.8, 0.6).shape == (6,)
        assert image.prepare([0.8], [0.6], [(0.1, 0.2, 0.3)])(0, y).dtype == dtype
        assert torch.equal(image.score(y, 0.8, 0.6).reshape(6, 4), flat.score(x.to(dtype), 0.8, 0.6))
    assert image.score(y[:0], 0.8, 0.6).shape == (0, 1, 2, 2)
