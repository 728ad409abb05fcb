"""A tabulated process has kinks in time: weights with the clock t are integrated from kink to kink."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import odekit as ok

LEVELS = 40
TABLE = ok.DiscreteVP(betas=[0.004 * (i + 1) for i in range(LEVELS)])


def lagrange(nodes, j, t):
    return math.prod((t - nodes[k]) / (nodes[j] - nodes[k]) for k in range(len(nodes)) if k != j)


def integral(nodes, j, begin, end):
    """alpha(end) int l_j(t) dkappa, cell by cell, with kappa from the products of 1 - beta alone."""
    bars = np.cumprod([1.0] + [1 - 0.004 * (i + 1) for i in range(LEVELS)])

    def kappa_rate(t, cell):
        slope = math.log(bars[cell + 1] / bars[cell]) * LEVELS
        bar = bars[cell] * math.exp(slope * (t - cell / LEVELS))
        return -slope / (2 * bar * math.sqrt(1 / bar - 1))

    edges = [begin, *(k / LEVELS for k in range(LEVELS, -1, -1) if end < k / LEVELS < begin), end]
    total = 0.0
    for a, b in zip(edges, edges[1:], strict=False):
        cell = min(int((a + b) / 2 * LEVELS), LEVELS - 1)
        total += quad(lambda t, c=cell: kappa_rate(t, c) * lagrange(nodes, j, t), a, b, epsabs=0, epsrel=1e-12)[0]
    return float(TABLE.alpha(end)) * total


@pytest.mark.parametrize("q", [1, 2, 3])
def test_deis_in_time_against_cell_by_cell_integrals(q):
    flow = ok.ProbabilityFlow(TABLE, lambda x, t: x, prediction="noise")
    grid = ok.grid("karras", TABLE, 7)
    last = ok.plan(f"deis-tab-{q}", flow, grid).segments[-1]
    for step, i in ((last.steps - 1, 6), (last.steps - 2, 5)):
        nodes = [float(grid[i - j]) for j in range(q + 1)]
        row = dict(zip((*last.slots, "new"), last.outputs[step, 0].tolist(), strict=True))
        found = [row["new"], *(row[f"N.{j}"] for j in range(q))]
        assert found == pytest.approx(
            [integral(nodes, j, nodes[0], float(grid[i + 1])) for j in range(q + 1)], rel=1e-9
        )


def test_many_digits_agree_and_the_grid_has_gradients():
    flow = ok.ProbabilityFlow(ok.DiscreteVP(betas=[0.02, 0.1, 0.3, 0.5]), lambda x, t: x, prediction="noise")
    grid = torch.tensor([1.0, 0.8, 0.55, 0.3]).double()
    exact, plain = (ok.plan("deis-tab-2", flow, grid, precision=p).dense() for p in (30, None))
    np.testing.assert_allclose(np.array(exact.output, dtype=float), plain.output.numpy(), rtol=1e-13)

    def total(nodes):
        return ok.plan("deis-tab-2", flow, nodes).dense().output.square().sum()

    nodes = grid.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total(nodes), nodes)
    h = torch.zeros(4).double()
    h[2] = 1e-6
    assert float(slope[2]) == pytest.approx(float(total(grid + h) - total(grid - h)) / 2e-6, rel=1e-6)
