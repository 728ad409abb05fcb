"""The named targets are the ones of the literature."""

import math
import pickle

import pytest
import torch

from odekit import targets


def test_names_and_get():
    assert targets.names() == [
        "aniso3",
        "bimodal",
        "digits",
        "digits-mixture",
        "ring6",
        "scattered",
        "trio",
        "trio-sharp",
    ]
    for name in targets.names():
        target = targets.get(name)
        copy = pickle.loads(pickle.dumps(target))
        x = target.marginal(0.8, 0.6).sample(3)
        assert torch.equal(copy.score(x, 0.8, 0.6), target.score(x, 0.8, 0.6))


@pytest.mark.parametrize("name, spread", [("ring6", 1.41), ("aniso3", 0.90)])
def test_planar_mixtures_have_the_measured_spread(name, spread):
    """c_data = sqrt(tr Cov / 2) as printed with the references (spec of schedules, section 9)."""
    covariance = targets.get(name).covariance
    assert abs(math.sqrt(covariance.trace() / 2) - spread) < 0.02


def test_ring6():
    target = targets.ring6()
    assert torch.allclose(target.means.norm(dim=1), torch.full((6,), 2.0, dtype=torch.float64))
    assert target.weights.tolist() == [0.25, 0.20, 0.15, 0.15, 0.15, 0.10]
    assert torch.allclose(target.means[1], torch.tensor([1.0, math.sqrt(3)], dtype=torch.float64))


def test_aniso3_axes():
    values = torch.linalg.eigvalsh(targets.aniso3().covariances.exact[0]).sqrt()
    wanted = torch.tensor([[0.08, 0.5], [0.1, 0.3], [0.05, 0.4]], dtype=torch.float64)
    assert torch.allclose(values, wanted, rtol=1e-12)
    leading = targets.aniso3().covariances.basis[0, :, -1]
    assert abs(abs(leading @ torch.tensor([math.cos(0.5), math.sin(0.5)], dtype=torch.float64)) - 1) < 1e-12


def test_digits():
    target = targets.digits()
    assert target.means.shape == (1797, 64) and target.means.min() == -1 and target.means.max() == 1
    image = targets.digits(shape=(1, 8, 8))
    x = target.marginal(0.7, 0.7).sample(4)
    assert torch.equal(image.score(x.reshape(4, 1, 8, 8), 0.7, 0.7).reshape(4, 64), target.score(x, 0.7, 0.7))
    # a digit with little noise is recognised as itself
    noisy = target.means[:20] + 0.05 * torch.randn(
        20, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    assert torch.allclose(target.denoiser(noisy, 1.0, 0.05), target.means[:20], atol=1e-9)


def test_digits_mixture_is_a_model_of_the_digits():
    data, model = targets.digits(), targets.digits_mixture()
    assert torch.allclose(model.mean, data.mean, atol=1e-12)
    assert (model.covariance - data.covariance).norm() < 0.15 * data.covariance.norm()
    assert torch.linalg.eigvalsh(model.covariance)[0] > 0.005
    assert torch.equal(targets.digits_mixture().means, model.means)
    assert len(targets.digits_mixture(components=5, seed=1).means) == 5
    # better than one Gaussian with the moments of the data, by the likelihood of the data
    single = targets.Gaussian(data.mean, data.covariance + 0.1**2 * torch.eye(64, dtype=torch.float64))
    assert model.log_density(data.means).mean() > single.log_density(data.means).mean()
