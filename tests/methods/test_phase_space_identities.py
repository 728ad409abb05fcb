"""The identities of matrix diffusions and their integrators: where each is tested, and here those of scalar processes
and of stochastic samplers."""

import ast
import math
from pathlib import Path

import pytest
import torch
from phase_space_flows import numbers

import odekit as ok
from analysis.weak import distance, pushed
from odekit.processes import VP

TESTS = Path(__file__).parent.parent
PROCESS, SCORES = "processes/test_matrix_phase_space.py", "targets/test_matrix_scores.py"
GDDIM, SPLITTING, HERE = "methods/test_gddim.py", "methods/test_phase_splitting.py", "methods/" + Path(__file__).name
LAWS = "methods/test_phase_splitting_identities.py"

IDENTITIES = {
    "1 exp(b F), F Q + Q F^T + D = 0, Sigma_t": [
        (PROCESS, "test_transition_is_the_matrix_exponential"),
        (PROCESS, "test_equilibrium_is_kept"),
        (PROCESS, "test_covariance_solves_the_lyapunov_equation"),
    ],
    "2 R R^T = Sigma_t along the equation of R": [
        (PROCESS, "test_factors_square_to_the_covariance"),
        (PROCESS, "test_r_solves_its_equation"),
    ],
    "3 a point: eps_R constant, exact in one step; not with L": [
        (SCORES, "test_r_noise_is_constant_on_paths_of_a_point"),
        (GDDIM, "test_exact_in_one_step_and_in_several_with_r"),
        (GDDIM, "test_not_with_l"),
        (LAWS, "test_a_point_is_reached_in_one_step_in_the_frame_of_r"),
    ],
    "4 scalar VP: L = R, DDIM exact on a point": [(HERE, "test_ddim_is_exact_on_a_point")],
    "5 a Gaussian: C_skip = -S^-1, exact in one step": [
        (SCORES, "test_gaussian_data_flow_in_one_step"),
        (LAWS, "test_a_gaussian_is_reached_in_one_step_with_its_own_score_taken_out"),
    ],
    "6 CSE(0) = lambda-DDIM(0)": [(LAWS, "test_what_coincides_at_rate_zero")],
    "7 lambda-DDIM-I(0) = II(0)": [(LAWS, "test_what_coincides_at_rate_zero")],
    "8 B = F: P = 1, Euler up to quadrature": [(LAWS, "test_b_equal_to_the_drift_is_euler_up_to_quadrature")],
    "9 Gamma = 0: NVV = RVV, RSE = NSE": [(LAWS, "test_without_noise_on_positions_reuse_costs_nothing")],
    "10 an oscillator: symplectic Euler, Verlet, det = 1": [
        (LAWS, "test_on_an_oscillator_they_are_the_classical_methods")
    ],
    "11 ROBA without noise = RSE": [(HERE, "test_reduced_oba_without_noise_is_reduced_symplectic_euler")],
    "12 SSCS keeps the equilibrium, EM and ROBA do not": [(HERE, "test_who_keeps_the_equilibrium")],
    "13 second Tweedie component zero": [
        (SCORES, "test_tweedie"),
        (SCORES, "test_a_wrong_score_fails_the_second_tweedie_component"),
    ],
    "14 evaluations a step": [
        (SPLITTING, "test_evaluations_a_step"),
        (GDDIM, "test_evaluations"),
        ("methods/test_stochastic_splitting.py", "test_evaluations_and_draws_a_step"),
    ],
    "15 leading error constants": [(LAWS, "test_leading_errors")],
    "16 Euler on v minus DDIM is O(h^2), never zero": [(HERE, "test_euler_on_v_is_no_ddim")],
}


@pytest.mark.parametrize("identity", IDENTITIES)
def test_every_identity_has_a_test(identity):
    for path, name in IDENTITIES[identity]:
        tree = ast.parse((TESTS / path).read_text())
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, (path, name)


# ------------------------------------------------------------ 4


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", ["ddim", "gddim-0 in R", "gddim-0 in L", "gddim-2 in L"])
def test_ddim_is_exact_on_a_point(name, steps):
    """x_s = alpha_s mu + sigma_s (x_t - alpha_t mu)/sigma_t, whichever factor of a scalar covariance is meant."""
    process, mu = VP(), 0.7
    flow = ok.ProbabilityFlow(process, ok.GaussianMixture(numbers([mu]), numbers(0.0), numbers(1.0)), "noise")
    (t, s), x = (0.8, 0.01), torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    method, _, factor = name.partition(" in ")
    grid = torch.linspace(t, s, steps + 1, dtype=torch.float64)
    found = ok.solve(flow, x, method, grid, **({"factor": factor} if factor else {}))
    noise = (x - process.alpha(t) * mu) / process.sigma(t)
    assert (found - process.alpha(s) * mu - process.sigma(s) * noise).abs().max() < 1e-14 / process.alpha(t)


def test_ddim_is_not_exact_on_a_gaussian():
    """The control: data with a spread leaves an error that one step shows."""
    flow = ok.ProbabilityFlow(VP(), ok.GaussianMixture(numbers([0.7]), numbers(0.5), numbers(1.0)), "noise")
    exact = ok.reference(flow, numbers([1.0]), 0.1, t_start=0.8).x
    assert (ok.solve(flow, numbers([1.0]), "ddim", numbers(0.8, 0.1)) - exact).abs().max() > 1e-2


# ------------------------------------------------------------ 11

UNEVEN = numbers(0.9, 0.62, 0.51, 0.33, 0.2, 0.16)
PHASE = {"psld": ok.PSLD(), "damped": ok.PSLD(Gamma=0.5, nu=2.5), "cld": ok.CLD()}


@pytest.mark.parametrize("process", PHASE.values(), ids=PHASE)
@pytest.mark.parametrize("name, steps_of", [("roba", "rse"), ("noba", "nse"), ("robab", "rvv")])
def test_reduced_oba_without_noise_is_reduced_symplectic_euler(process, name, steps_of):
    modes = ok.GaussianMixture(numbers([-1.0], [1.2]), numbers(0.4, 0.5), numbers(0.4, 0.6))
    u = torch.randn(4, 2, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    sde = ok.ReverseSDE(process, modes, eta=0.0, prediction="score")
    expected = ok.solve(sde.flow, u, steps_of, UNEVEN)
    for noise in (torch.zeros_like(u), torch.ones_like(u)):  # without eta draws do not count
        found = ok.solve(sde, u, name, UNEVEN, noise=lambda k, z=noise: z)
        assert (found - expected).abs().max() < 1e-14 * expected.abs().max()
    assert ok.same(ok.plan(name, sde, UNEVEN), ok.plan(steps_of, sde.flow, UNEVEN))
    loud = ok.ReverseSDE(process, modes, prediction="score")
    assert (ok.solve(loud, u, name, UNEVEN, noise=lambda k: 0 * u) - expected).abs().max() > 1e-2


# ------------------------------------------------------------ 12


def drift_from_equilibrium(process, name, steps, eta=1.0):
    """How far N(0, diag(1, M)) is carried by a plan whose score is that law's own."""
    variances = numbers(*process.equilibrium_variances)
    sde = ok.ReverseSDE(process, lambda u, t: -u / variances[:, None], eta=eta, prediction="score")
    plan = ok.plan(name, sde, torch.linspace(1.0, 1e-3, steps + 1, dtype=torch.float64))
    law = torch.zeros(2, dtype=torch.float64), torch.diag(variances)
    return distance(pushed(plan, sde.model, (2, 1), law), law)


@pytest.mark.parametrize("process", PHASE.values(), ids=PHASE)
def test_who_keeps_the_equilibrium(process):
    """The kick of SSCS, G G^T (s + Q^-1 u), vanishes; Euler-Maruyama and ROBA err by O(h)."""
    for eta in (0.0, 0.5, 1.0):
        for name in ("sscs", "sscs-midpoint"):
            assert max(drift_from_equilibrium(process, name, steps, eta) for steps in (1, 7, 64)) < 1e-13
    for name in ("euler-maruyama", "roba"):
        errors = [drift_from_equilibrium(process, name, steps) for steps in (128, 256)]
        assert errors[1] > 1e-3 and math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.2)


# ------------------------------------------------------------ 16


def euler_on_v(times):
    """The conjugate integrator of v: A = 1 and Phi = arccos(alpha), so that B = 0 is x' = x - (phi - phi') v."""
    flow = ok.ProbabilityFlow(VP(), ok.targets.bimodal(), "v")
    first, second = (
        ok.plan(method, flow, times, **options).dense().output
        for method, options in (("exponential-ab-1", {"prediction": "v", "clock": "t"}), ("ddim", {}))
    )
    return first, second


def test_euler_on_v_is_no_ddim():
    """DDIM turns (x, v) by the angle phi - phi', Euler goes along the tangent: apart by the angle squared over two."""
    gaps, process = [], VP()
    for h in (0.04, 0.02, 0.01):
        tangent, turn = euler_on_v(numbers(0.5, 0.5 - h))
        angle = math.acos(process.alpha(0.5)) - math.acos(process.alpha(0.5 - h))
        assert tangent.tolist() == pytest.approx([1, -angle], abs=1e-14)
        assert turn.tolist() == pytest.approx([math.cos(angle), -math.sin(angle)], abs=1e-14)
        gaps.append((tangent - turn).abs().max().item())
        assert gaps[-1] == pytest.approx(angle**2 / 2, rel=1e-3)
    slopes = [math.log2(a / b) for a, b in zip(gaps[:-1], gaps[1:], strict=True)]
    assert slopes == pytest.approx([2, 2], abs=0.1) and min(gaps) > 0


def test_euler_on_v_is_of_order_one():
    flow = ok.ProbabilityFlow(VP(), ok.targets.bimodal(), "v")
    x = torch.linspace(-1.5, 1.5, 6, dtype=torch.float64)[:, None]
    exact, errors = ok.reference(flow, x, 0.1, t_start=0.7, tol=1e-11).x, []
    for steps in (200, 400):
        grid = torch.linspace(0.7, 0.1, steps + 1, dtype=torch.float64)
        found = ok.solve(flow, x, "exponential-ab-1", grid, prediction="v", clock="t")
        errors.append((found - exact).abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.05)
