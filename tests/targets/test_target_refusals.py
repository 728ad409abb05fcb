"""What is no distribution, and what is no state of one, is refused in one line that says what was expected."""

import pytest
import torch

from odekit.exceptions import OdekitError, TargetError, UnknownNameError
from odekit.targets import Empirical, Gaussian, GaussianMixture, LowRank, get, ring6

MEANS = [[0.0, 0.0], [1.0, 1.0]]
EVEN = [0.5, 0.5]
EYES = torch.eye(2).expand(2, 2, 2)


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: GaussianMixture(MEANS, [1.0, 1.0], [1.5, -0.5]), "weights must be positive, entry 1 is -0.5"),
        (lambda: GaussianMixture(MEANS, [1.0, 1.0], [1.0, 0.0]), "weights must be positive, entry 1"),
        (lambda: GaussianMixture(MEANS, [1.0, 1.0], [float("nan"), 0.5]), "weights must be finite"),
        (lambda: GaussianMixture(MEANS, [1.0, 1.0], [0.5, 0.6]), "sum to 1, they sum to 1.1"),
        (lambda: GaussianMixture(MEANS, [1.0, 1.0], [1.0]), r"weights of 2 components must be \(2,\)"),
        (lambda: GaussianMixture([0.0, 1.0], [1.0, 1.0], EVEN), r"means must be \(components, dimension\)"),
        (lambda: GaussianMixture([[float("inf"), 0.0]], [1.0], [1.0]), r"means must be finite, entry \[0, 0\] is inf"),
        (lambda: GaussianMixture(MEANS, [1.0, -1.0], EVEN), "must not be negative"),
        (lambda: GaussianMixture(MEANS, [[1.0, 1.0], [1.0, -0.1]], EVEN), r"scales\[1, 1\] is -0.1"),
        (lambda: GaussianMixture(MEANS, [1.0, 1.0, 1.0], EVEN), r"got shape \(3,\)"),
        (lambda: GaussianMixture(MEANS, "wide", EVEN), "scales must be an array of numbers"),
        (lambda: GaussianMixture(MEANS, [[1.0], [1.0, 2.0]], EVEN), "scales must be an array of numbers"),
        (lambda: GaussianMixture(MEANS, -EYES, EVEN), "covariance 0 is not positive"),
        (lambda: GaussianMixture(MEANS, torch.tensor([[1.0, 2], [2, 1]]).expand(2, 2, 2), EVEN), "smallest eigenvalue"),
        (
            lambda: GaussianMixture(MEANS, EYES + torch.tensor([[0, 0.1], [0, 0]]), EVEN),
            "covariance 0 is not symmetric",
        ),
        (lambda: GaussianMixture(MEANS, LowRank(torch.ones(2, 3, 1), [1.0, 1.0]), EVEN), r"needs factors \(2, 2, r\)"),
        (lambda: GaussianMixture(MEANS, LowRank(torch.ones(2, 2, 1), [1.0, -1.0]), EVEN), "entry 1 is -1"),
        (lambda: GaussianMixture(MEANS, [1.0, 1.0], EVEN, shape=(3,)), "holds 3 numbers, means have 2"),
        (lambda: Gaussian([0.0, 0.0], [1.0, 1.0]), r"covariance must be \(2, 2\)"),
        (lambda: Empirical([1.0, 2.0]), "points must be"),
        (lambda: Empirical(torch.zeros(0, 2)), "points must be"),
        (lambda: Empirical(MEANS, bandwidth=-1.0), "must not be negative"),
        (lambda: get("digits", shape=(8, 9)), "shape must be"),
    ],
)
def test_no_distribution(build, words):
    with pytest.raises(TargetError, match=words) as caught:
        build()
    assert "\n" not in str(caught.value) and isinstance(caught.value, OdekitError)


def test_rounding_in_the_weights_is_normalised_silently():
    target = GaussianMixture(MEANS, [1.0, 1.0], [0.5, 0.5 + 1e-7])
    assert abs(target.weights.sum() - 1) < 1e-15


@pytest.mark.parametrize(
    "x, words",
    [
        (torch.zeros(3), r"states must be \(batch, 2\), got shape \(3,\)"),
        (torch.zeros(2), r"states must be \(batch, 2\)"),
        (torch.zeros(4, 3), r"states must be \(batch, 2\), got shape \(4, 3\)"),
        (torch.zeros(4, 2, 1), r"states must be \(batch, 2\)"),
        (torch.zeros(4, 2, dtype=torch.int64), r"floating point, \(batch, 2\), got torch.int64"),
        ([[0.0, 0.0]], r"torch tensor \(batch, 2\), got list"),
    ],
)
def test_no_state(x, words):
    target = ring6()
    call = target.prepare([1.0], [1.0], [(0.0, 1.0, 0.0)])
    for function in (target.score, target.denoiser, target.noise, target.log_density):
        with pytest.raises(TargetError, match=words):
            function(x, 1.0, 1.0)
    with pytest.raises(TargetError, match=words):
        call(0, x)
    with pytest.raises(TargetError, match=words):
        target.score_jvp(torch.zeros(4, 2), x, 1.0, 1.0)


def test_directions_must_match_states():
    with pytest.raises(TargetError, match="one shape"):
        ring6().score_jvp(torch.zeros(4, 2), torch.zeros(3, 2), 1.0, 1.0)


@pytest.mark.parametrize("alpha, sigma", [(1.0, 0.0), (0.0, 0.0), (1.0, 1e-200)])
def test_point_masses_have_no_score_without_noise(alpha, sigma):
    target = GaussianMixture(MEANS, [0.0, 1.0], EVEN)
    x = torch.zeros(1, 2, dtype=torch.float64)
    for function in (target.score, target.denoiser, target.noise, target.log_density):
        with pytest.raises(TargetError, match="zero variance"):
            function(x, alpha, sigma)
    with pytest.raises(TargetError, match="zero variance"):
        target.prepare([alpha], [sigma], [(0.0, 1.0, 0.0)])


@pytest.mark.parametrize("alpha, sigma", [(1.0, -0.1), (float("nan"), 1.0), (1.0, float("inf"))])
def test_no_noise_level(alpha, sigma):
    x = torch.zeros(1, 2, dtype=torch.float64)
    with pytest.raises(TargetError, match="alpha and sigma must be finite"):
        ring6().score(x, alpha, sigma)
    with pytest.raises(TargetError, match="alpha and sigma must be finite"):
        ring6().marginal(alpha, sigma)


def test_unknown_name_says_what_is_near():
    with pytest.raises(UnknownNameError, match="did you mean 'ring6'"):
        get("ring-6")
