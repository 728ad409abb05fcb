"""The front door: exact history, statistics, trajectories, references, both directions."""

import math

import pytest
import torch

import odekit as ok

PROCESS = ok.VP()
FLOW = ok.ProbabilityFlow(PROCESS, ok.targets.ring6(), prediction="noise")


def grid(steps, start=0.4, end=0.05):
    ends = [float(PROCESS.logsnr(t)) for t in (start, end)]
    nodes = PROCESS.time_at_logsnr(torch.linspace(*ends, steps + 1, dtype=torch.float64))
    nodes[0], nodes[-1] = start, end
    return nodes


def start(count=6):
    return FLOW.target.marginal(PROCESS.alpha(0.4), PROCESS.sigma(0.4)).sample(count, seed=1, dtype=torch.float64)


@pytest.mark.parametrize("method", ["ab-4", "deis-tab-3", "abm-4", "rk4"])
def test_exact_history_gives_the_order_of_the_formula_planned_and_eager(method):
    errors = []
    for steps in (64, 128):
        nodes = grid(steps)
        k = ok.methods.get(method).history + 1
        exact = ok.reference(FLOW, start(), nodes[[*range(1, k), -1]].tolist(), t_start=0.4)
        history = torch.cat([start()[None], exact.x[:-1]])
        planned = ok.solve(FLOW, start(), method, nodes, history=history)
        eager = ok.solve(FLOW, start(), method, nodes, history=history, eager=True)
        assert float((planned - eager).abs().max()) < 1e-13
        errors.append(float((planned - exact.x[-1]).norm()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(ok.methods.get(method).order.formula, abs=0.4)


def test_a_rising_start_costs_order_where_components_compete():
    def slope(**options):
        errors = []
        for steps in (128, 256):
            exact = ok.reference(FLOW, start(), 0.05, t_start=0.4).x
            errors.append(float((ok.solve(FLOW, start(), "deis-rhoab-3", grid(steps), **options) - exact).norm()))
        return math.log2(errors[0] / errors[1])

    assert slope(start="kutta3") > 3.6
    assert slope(start="rising") < 3.0


def test_history_too_short_is_refused():
    with pytest.raises(ok.OdekitError, match="history holds 2 states; ab-4 looks back over 4 nodes"):
        ok.solve(FLOW, start(), "ab-4", grid(8), history=torch.stack([start(), start()]))


def test_full_returns_times_trajectory_and_statistics():
    solution = ok.solve(FLOW, start(), "rk4", grid(8), full=True)
    assert solution.trajectory.shape == (9, 6, 2) and solution.statistics.evaluations == 32
    assert torch.equal(solution.trajectory[-1], solution.x)
    assert torch.equal(solution.times, grid(8))


def test_inversion_and_back_is_a_round_trip_of_the_methods_order():
    gaps = []
    for steps in (40, 80):
        back = ok.solve(FLOW, ok.solve(FLOW, start(), "rk4", grid(steps)), "rk4", grid(steps).flip(0))
        gaps.append(float((back - start()).norm()))
    assert math.log2(gaps[0] / gaps[1]) > 3.5


def test_reference_matches_the_closed_flow_of_a_gaussian():
    flow = ok.ProbabilityFlow(PROCESS, ok.Gaussian([0.0], [[0.25]]), prediction="data")
    x = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)
    found = ok.reference(flow, x, 0.01, t_start=0.9)
    spread = [math.sqrt(0.25 * PROCESS.alpha(t) ** 2 + PROCESS.sigma(t) ** 2) for t in (0.9, 0.01)]
    assert float((found.x - x * spread[1] / spread[0]).abs().max()) < 2e-13
    assert found.error.shape == (2,) and float(found.error.max()) < 1e-12


def test_reference_says_when_it_is_worse_than_asked():
    """Lorenz over a long time: no float64 integrator is right to 1e-13, and the two disagree."""

    def lorenz(x, t):
        a, b, c = x.unbind(-1)
        return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)

    x = torch.tensor([[1.0, 1.0, 1.0]], dtype=torch.float64)
    assert float(ok.reference(ok.VectorField(lorenz), x, 15.0, t_start=0.0).error) > 1e-11


def test_reference_of_a_sequence_of_times_passes_through_all_of_them():
    times = [0.3, 0.2, 0.1]
    chain = ok.reference(FLOW, start(), times, t_start=0.4)
    assert chain.x.shape == (3, 6, 2) and chain.error.shape == (3, 6)
    assert float((chain.x[-1] - ok.reference(FLOW, start(), 0.1, t_start=0.4).x).abs().max()) < 1e-12
