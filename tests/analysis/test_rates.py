"""The choice of lambda and the factors of true steps, against what is known of both."""

import math

import pytest
import torch

import analysis
import odekit as ok
from odekit.exceptions import DivergenceError, MethodError, OdekitError

MODES = ok.GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6])
SCORES = ok.Preconditioned("1.3756")


def test_the_best_rate_is_the_least_error_of_those_tried():
    flow = ok.ProbabilityFlow(ok.PSLD(), MODES, "l-noise")
    about = {"batch": 4, "t_start": 0.9, "t_end": 0.1}
    found = analysis.choose_rate("lambda-ddim-2", flow, 20, rates=(-1.0, 0.0, 2.0, 6.0), **about)
    assert found.rate == 2.0 and found.error == min(found.errors) and not found.at_end
    assert found.undamped == found.errors[1] > 1.5 * found.error and found.evaluations == found.steps == 20
    end = analysis.choose_rate("lambda-ddim-2", flow, 20, rates=(0.0, 1.0), **about)
    assert end.rate == 1.0 and end.at_end
    skipped = analysis.choose_rate("lambda-ddim-2", flow, 20, rates=(0.0, 2.0), prediction=SCORES, **about)
    assert skipped.rate == 0.0 and skipped.error < 0.3 * found.error


def test_rates_are_refined_on_the_length_of_the_solve():
    """On VP, from 0.5 to 0.1: rates from -2 to 6 over 0.4; a function of the rate does as well as a name."""
    flow = ok.ProbabilityFlow(ok.VP(), MODES, "noise")
    about = {"t_start": 0.5, "t_end": 0.1, "grid": "time-uniform", "batch": 8}
    found = analysis.choose_rate("lambda-ddim-1", flow, 5, prediction="noise", **about)
    assert found.rates[0] == -5 and found.rates[-1] == 15 and len(found.rates) > 20
    assert found.error <= found.undamped and found.error == min(e for e in found.errors if math.isfinite(e))
    make = lambda rate: ok.methods.get("lambda-ddim-1", rate=rate, prediction="noise")  # noqa: E731
    assert analysis.choose_rate(make, flow, 5, **about) == found


def test_rates_too_large_for_a_step_are_listed_as_failed():
    """At 1e4 the integrals of the weights do not converge, at 1e3 states overflow; a wrong method is raised."""
    flow = ok.ProbabilityFlow(ok.PSLD(), MODES, "l-noise")
    about = {"batch": 2, "t_start": 0.9, "t_end": 0.1}
    found = analysis.choose_rate("lambda-ddim-2", flow, 2, rates=(0.0, 1e3, 1e4), **about)
    assert found.errors[0] < math.inf and found.errors[1:] == (math.inf, math.inf) and found.rate == 0.0
    with pytest.raises(OdekitError, match="no rate of 10000 to 10000 gives a finite solve"):
        analysis.choose_rate("lambda-ddim-2", flow, 2, rates=(1e4,), **about)
    with pytest.raises(MethodError, match="cvv"):
        analysis.choose_rate("cvv", ok.ProbabilityFlow(ok.VP(), MODES), 6, rates=(0.0, 1.0), batch=2)


def test_a_picture_on_request():
    from matplotlib.figure import Figure

    found = analysis.RateChoice("m", 1.0, 0.1, 0.2, (0.0, 1.0, 2.0), (0.2, 0.1, 0.3), 5, 5)
    axes = found.plot(Figure().subplots())
    assert axes.get_yscale() == "log" and len(axes.lines) == 2


def test_no_rate_at_all(monkeypatch):
    flow = ok.ProbabilityFlow(ok.VP(), MODES, "noise")

    def diverged(*arguments):
        raise DivergenceError("infinite")

    monkeypatch.setattr(ok, "solve", diverged)
    with pytest.raises(OdekitError, match="no rate of -1 to 1"):
        analysis.choose_rate("lambda-ddim-1", flow, 2, rates=(-1, 0, 1), prediction="noise", batch=2)


@pytest.mark.parametrize("prediction", ["l-noise", SCORES], ids=str)
@pytest.mark.parametrize("name", ["lambda-ddim-1", "lambda-ddim-2", "cse", "cvv"])
def test_factors_are_derivatives_of_steps(name, prediction):
    flow = ok.ProbabilityFlow(ok.PSLD(), MODES, prediction)
    grid = torch.tensor([0.6, 0.55, 0.48], dtype=torch.float64)
    states = torch.tensor([[[0.5], [-0.2]], [[-0.7], [0.4]]], dtype=torch.float64)
    method = ok.methods.get(name, rate=2.0, prediction=prediction)
    found = analysis.step_factors(method, flow, states, grid)
    for i, d in ((0, 1e-5), (1, 1e-5)):
        for j in (0, 1):
            shift = torch.zeros(1, 2, 1, dtype=torch.float64)
            shift[0, j] = d
            ends = [ok.solve(flow, states[i : i + 1] + sign * shift, method, grid[i : i + 2]) for sign in (1, -1)]
            assert (found[i, :, j] - (ends[0] - ends[1])[0, :, 0] / (2 * d)).abs().max() < 1e-8
    back = analysis.conjugate_factors(method, flow, states, grid)
    P = torch.linalg.solve(back[0].T, found[0].T).T
    assert (found[0] - back[0]).abs().max() > 1e-2 and (P @ back[0] - found[0]).abs().max() < 1e-12


def test_the_shift_is_there_in_the_conjugate_variable_and_undone_in_u():
    """Of B = lambda I the eigenvalues of P^-1 times the factor move by -h lambda, to O(h^2); those of the factor do
    not; for Gaussian data preconditioned, lambda = 0 has those of the flow."""
    flow = ok.ProbabilityFlow(ok.PSLD(), ok.Gaussian([0.0], [[0.3]]), ok.Preconditioned("0.3"))
    zero, rate = torch.zeros(1, 2, 1, dtype=torch.float64), 3.0
    method = lambda rate: ok.methods.get("lambda-ddim-1", rate=rate, prediction=flow.prediction)  # noqa: E731
    gaps, undone = [], []
    for h in (0.01, 0.005):
        grid = torch.tensor([0.5, 0.5 - h], dtype=torch.float64)
        still, moved = (analysis.step_factors(method(r), flow, zero, grid)[0] for r in (0.0, rate))
        shifted = analysis.conjugate_factors(method(rate), flow, zero, grid)[0]
        gaps.append((shifted - (1 - h * rate) * torch.eye(2, dtype=torch.float64)).abs().max().item())
        undone.append((moved - still).abs().max().item())
        exact = flow_matrix(flow, 0.5, 0.5 - h)
        assert (still - exact).abs().max() < 1e-11 < 1e-5 < (moved - exact).abs().max()
    assert gaps[0] < 1e-10 and math.log2(undone[0] / undone[1]) == pytest.approx(2, abs=0.1)


def flow_matrix(flow, t, s):
    unit = torch.eye(2, dtype=torch.float64)[:, :, None]
    return ok.solve(flow, unit, "dop853", torch.linspace(t, s, 5, dtype=torch.float64))[:, :, 0].T


def test_a_method_with_a_memory_has_no_factor_of_one_step():
    flow = ok.ProbabilityFlow(ok.VP(), MODES, "noise")
    with pytest.raises(OdekitError, match="one-step"):
        analysis.step_factors("deis-tab-1", flow, torch.zeros(2, 1, dtype=torch.float64), torch.tensor([0.5, 0.4, 0.3]))
    grid = torch.tensor([0.5, 0.4], dtype=torch.float64)
    assert analysis.step_factors("ddim", flow, torch.zeros(1, 1, dtype=torch.float64), grid).shape == (1, 1, 1)
