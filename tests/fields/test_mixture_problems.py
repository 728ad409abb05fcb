"""Diffusion problems: started where components compete, and exciting every tree they are said to excite."""

import pytest
import torch
from test_problems import excitation

import odekit as ok


def test_problems_start_where_components_compete():
    """At the start several components share the responsibility for a typical sample; at t = 1 all do, evenly."""
    problem = ok.problems.get("ring6", batch=256)
    target, process = problem.field.target, problem.field.process
    a, s = process.alpha(problem.t_start), process.sigma(problem.t_start)
    distances = torch.cdist(problem.x0, a * target.means) ** 2 / (2 * (a**2 * 0.15**2 + s**2))
    shares = torch.softmax(target.weights.log() - distances, dim=1)
    competing = (shares.max(1).values < 0.9).double().mean()
    assert 0.2 < float(competing)
    assert problem.x0.shape == (256, 2) and problem.t_start == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("process", ["cosine", "rectified-flow", "edm", "ve", "subvp"])
def test_every_process_starts_and_ends_at_the_same_log_snr(process):
    found, vp = ok.problems.get("aniso3", process=process, prediction="velocity"), ok.problems.get("aniso3")
    for t, s in ((found.t_start, vp.t_start), (found.t_end, vp.t_end)):
        assert found.field.process.logsnr(t) == pytest.approx(vp.field.process.logsnr(s), abs=1e-10)
    assert found.field.prediction == "velocity"


def _vp_flow(target, covariances):
    """The flow of a mixture under VP in plain torch operations, which nested forward derivatives can pass through."""

    def field(x, t):
        log_alpha = -19.9 * t * t / 4 - 0.05 * t
        alpha, variance, beta = log_alpha.exp(), -torch.expm1(2 * log_alpha), 0.1 + 19.9 * t
        C = alpha**2 * covariances + variance * torch.eye(2, dtype=torch.float64)
        away = x[:, None] - alpha * target.means
        solved = torch.einsum("kij,bkj->bki", torch.linalg.inv(C), away)
        weight = -0.5 * (away * solved).sum(-1) - 0.5 * torch.logdet(C) + target.weights.log()
        score = -(torch.softmax(weight, 1)[..., None] * solved).sum(1)
        return -0.5 * beta * (x + score)

    return field


def test_the_planar_mixtures_excite_every_tree_to_order_six():
    target = ok.targets.ring6()
    field = _vp_flow(target, torch.eye(2, dtype=torch.float64).repeat(6, 1, 1) * 0.15**2)
    problem = ok.problems.get("ring6", batch=60)
    times = torch.linspace(0.15, 0.4, 60, dtype=torch.float64)
    exact = problem.field(problem.x0[:1], float(times[0]))
    assert float((field(problem.x0[:1], times[0]) - exact).abs().max()) < 1e-12
    assert excitation(field, problem.x0, times, 6) == (None, set())


def test_a_single_gaussian_does_not():
    """Negative control: its flow is linear in x, so trees with two branching children are unseen."""
    target = ok.GaussianMixture([[0.3, -0.2]], [0.5], [1.0])
    field = _vp_flow(target, torch.eye(2, dtype=torch.float64)[None] * 0.25)
    states = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, unseen = excitation(field, states, torch.linspace(0.15, 0.4, 60, dtype=torch.float64), 5)
    assert found is not None and found <= 4 and unseen


def test_diffusion_problems_have_references_and_pickle():
    import pickle

    problem = ok.problems.get("ring6", batch=2)
    x, error = problem.solution(problem.t_end)
    other = ok.reference(problem.field, problem.x0, problem.t_end, t_start=problem.t_start)
    assert float((x - other.x).abs().max()) < 1e-11 and float(error.max()) < 1e-10
    again = pickle.loads(pickle.dumps(problem))
    assert torch.equal(again.x0, problem.x0) and again.field.process == problem.field.process
