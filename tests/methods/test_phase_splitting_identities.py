"""Identities of splitting and conjugate integrators in phase space: leading errors, what is exact, what coincides."""

import math

import pytest
import torch
from phase_space_flows import MIXTURE, UNEVEN, flow_of, numbers, states

import odekit as ok
from odekit import methods
from odekit.fields.operator_predictions import OperatorPrediction
from odekit.processes import CLD, PSLD, LinearSDE
from odekit.targets import under


def velocity_along(flow, u, t, delta=1e-3):
    """d/d(reverse time) of states, scores and the score along the flow: total derivatives at (u, t)."""
    law = under(flow.process, MIXTURE)

    def on_path(step):
        end = ok.solve(flow, u, "verner6", torch.linspace(t, t - step, 5, dtype=torch.float64)) if step else u
        return end, law.score(end, t - step)

    ends = {k: on_path(k * delta) for k in (-2, -1, 1, 2)}
    return [(8 * (ends[1][i] - ends[-1][i]) - (ends[2][i] - ends[-2][i])) / (12 * delta) for i in (0, 1)]


@pytest.mark.parametrize("name", ["euler", "rse", "rvv"])
def test_leading_errors(name):
    """The h^2 terms of one step, by Richardson, are those of the expansion along the flow."""
    process = PSLD(Gamma=0.5, nu=2.5)
    flow, t, u = flow_of(process), 0.3, numbers([[0.5], [-0.2]], [[-0.7], [0.4]])
    Gamma, nu, beta, M = map(float, process.constants)
    (xd, md), (sxd, smd) = (d.unbind(1) for d in velocity_along(flow, u, t))
    law = under(process, MIXTURE)
    unit = torch.zeros_like(u)
    unit[:, 1] = 1
    slope = law.score_jvp(u, unit, t)[:, 1]
    expected = {
        "euler": (beta / 4 * (Gamma * xd - md / M + Gamma * sxd), beta / 4 * (xd + nu * md + M * nu * smd)),
        "rse": (beta / 4 * (Gamma * xd + md / M + Gamma * sxd), beta / 4 * (xd + nu * md + M * nu * smd)),
        "rvv": (beta / 4 * Gamma * (xd + sxd), beta / 8 * nu * (1 + M * slope) * md),
    }[name]

    def scaled(h):
        exact = ok.solve(flow, u, "verner6", torch.linspace(t, t - h, 9, dtype=torch.float64))
        return (exact - ok.solve(flow, u, name, numbers(t, t - h))) / h**2

    levels = [scaled(0.004 / 2**k) for k in range(3)]
    once = [2 * fine - coarse for coarse, fine in zip(levels[:-1], levels[1:], strict=True)]
    found = (4 * once[1] - once[0]) / 3
    assert (found - torch.stack(expected, 1)).abs().max() < 1e-4 * torch.stack(expected, 1).abs().max()


@pytest.mark.parametrize("name", ["PSLD", "CLD"])
def test_a_point_is_reached_in_one_step_in_the_frame_of_r(name):
    """Of a single point, eps_R is constant along the flow: B = 0 is exact for any step; in the Cholesky frame not."""
    process = {"PSLD": PSLD(), "CLD": CLD()}[name]
    flow = ok.ProbabilityFlow(process, ok.Gaussian(numbers(0.7), numbers([0.0])), prediction="score")
    z, t, s = states(4), 1.0, 0.02
    mean = process.embed(numbers([0.7])).expand(4, 2, 1)
    (there, here), (R, back) = ((process.mean(v).apply(mean) for v in (s, t)), (process.factor(v) for v in (s, t)))
    exact = there + (R @ back.inverse()).apply(z - here)
    for steps in (1, 3):
        grid = torch.linspace(t, s, steps + 1, dtype=torch.float64)
        got, other = (
            ok.solve(flow, z, "lambda-ddim-1", grid, rate=0.0, prediction=frame) for frame in ("r-noise", "l-noise")
        )
        growth = process.transition(s, t).value.abs().max()
        assert (got - exact).abs().max() < 1e-15 * growth * z.abs().max()
        assert (other - exact).abs().max() > 0.1


def test_a_gaussian_is_reached_in_one_step_with_its_own_score_taken_out():
    """C_skip = -S^-1, S the covariance of the marginal: nothing is left to the network."""
    process, spread = PSLD(), PSLD(position_variance=0.25)
    taken_out = OperatorPrediction(
        "preconditioned",
        out=lambda p, t: -p.factor(t, "L").inverse().transpose(),
        skip=lambda p, t: -spread.covariance(t).inverse(),
        propagator=lambda p, s, t: spread.factor(s) @ spread.factor(t).inverse(),
    )
    flow = ok.ProbabilityFlow(process, ok.Gaussian(numbers(0.0), numbers([0.25])), prediction="score")
    z = states(4)
    exact = (spread.factor(0.02) @ spread.factor(1.0).inverse()).apply(z)
    for prediction in (taken_out, ok.Preconditioned(0.25)):
        got = ok.solve(flow, z, "exponential-ab-1", numbers(1.0, 0.02), prediction=prediction, clock="t")
        assert (got - exact).abs().max() < 8e-13
    plain = ok.solve(flow, z, "lambda-ddim-1", numbers(1.0, 0.02), rate=0.0)
    assert (plain - exact).abs().max() > 0.1


def apart(first, second):
    """How far two programs are apart, in units of their largest coefficient."""
    one, other = (ok.plan(method, flow_of(), UNEVEN).dense().output for method in (first, second))
    return ((one - other).abs().max() / one.abs().max()).item()


def test_what_coincides_at_rate_zero():
    still = methods.get("lambda-ddim-1", rate=0.0)
    assert apart(still, methods.get("lambda-ddim-2", rate=0.0)) < 5e-16
    assert apart(still, methods.get("cse", rate=0.0)) < 5e-16
    assert apart(still, methods.get("exponential-ab-1", prediction="l-noise", clock="t")) < 1e-13
    frame = methods.get("lambda-ddim-1", rate=0.0, prediction="r-noise")
    assert apart(frame, methods.get("gddim-0")) < 1e-13
    assert apart(still, frame) > 1e-2


def test_b_equal_to_the_drift_is_euler_up_to_quadrature():
    """P = 1: z' = z - h F z + (mean of C_out over the step) eps."""
    process = PSLD()
    rows = process.drift(0.3).value.tolist()
    method = methods.get("cse", rate=1.0, shape=rows)
    lawson = type(method)("b = F", "", "euler", 1.0, rows)
    gaps = []
    for h in (0.02, 0.01):
        grid = numbers(0.3, 0.3 - h)
        own, euler = (ok.solve(flow_of(), states(5), m, grid) for m in (lawson, "euler"))
        table = ok.plan(lawson, flow_of(), grid).dense().output[0]
        assert (table - (torch.eye(2, dtype=torch.float64) - h * process.drift(0.3).value)).abs().max() < 1e-13
        gaps.append((own - euler).abs().max().item())
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.1)


def test_without_noise_on_positions_reuse_costs_nothing():
    flow = flow_of(CLD())
    x = states(4)
    for first, second in (("nse", "rse"), (methods.get("nvv", corrected=True), "rvv")):
        one, other = (ok.solve(flow, x, method, UNEVEN) for method in (first, second))
        assert (one - other).abs().max() < 1e-13 * one.abs().max()


@pytest.mark.parametrize(("name", "order"), [("nse", 1), ("rse", 1), ("nvv", 2), ("rvv", 2)])
def test_on_an_oscillator_they_are_the_classical_methods(name, order):
    """Gamma = nu = 0 with the mass set free: symplectic Euler and Verlet, which keep area."""
    import sympy

    process = LinearSDE(sympy.Matrix([[0, 4], [-1, 0]]), sympy.zeros(2, 1), initial=(1, 1))
    flow = ok.ProbabilityFlow(process, lambda x, t: 0 * x, prediction="score")
    x, errors = states(3), []
    exact = process.transition(0.2, 1.0).apply(x)
    for steps in (100, 200):
        grid = torch.linspace(1.0, 0.2, steps + 1, dtype=torch.float64)
        plan = ok.plan(name, flow, grid)
        assert torch.linalg.det(plan.segments[0].outputs[:, 0, 0]).sub(1).abs().max() < 1e-14
        errors.append((plan(flow.model, x) - exact).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)
    h = 0.8 / 200
    step = plan.segments[0].outputs[0, 0, 0]
    kick, drift = numbers([1, 0], [h, 1]), numbers([1, -4 * h], [0, 1])
    half = numbers([1, 0], [h / 2, 1])
    assert (step - (drift @ kick if order == 1 else half @ drift @ half)).abs().max() < 1e-15
