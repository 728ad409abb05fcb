"""Two modes on a line under PSLD: flows, starts, an uneven grid, and the published problems with their exact ends."""

import functools
import math

import numpy as np
import torch
from phase_space_in_print import DEVIATIONS, MEANS, WEIGHTS, Psld, ScoreModel

import odekit as ok
from odekit.processes import PSLD


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


MIXTURE = ok.GaussianMixture(numbers([MEANS[0]], [MEANS[1]]), numbers(*DEVIATIONS), numbers(*WEIGHTS))
UNEVEN = numbers(0.8, 0.62, 0.51, 0.33, 0.2, 0.16)


def flow_of(process=None, prediction="score"):
    return ok.ProbabilityFlow(process or PSLD(), MIXTURE, prediction=prediction)


def states(count, seed=1):
    return torch.randn(count, 2, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


PROBLEMS = {  # Gamma, nu, kappa, time of the end, power of the grid
    "P1": (0.01, 4.01, 1.0, 0.02, 1),
    "P1b": (0.5, 2.5, 1.0, 0.02, 1),
    "P2": (0.01, 4.01, 0.04, 1e-3, 2),
    "P2u": (0.01, 4.01, 0.04, 1e-3, 1),
}


class Problem:
    """Starts from N(0, Q), and how far a method ends from the exact flow."""

    def __init__(self, name, count):
        Gamma, nu, kappa, self.end, self.power = PROBLEMS[name]
        plain, rng = Psld(Gamma, nu, kappa), np.random.default_rng(0)
        z = np.stack([rng.standard_normal(count), rng.standard_normal(count) * math.sqrt(plain.M)])
        self.start = torch.from_numpy(z.T.copy())[:, :, None]
        self.exact = torch.from_numpy(plain.exact(z, 1.0, self.end).T.copy())[:, :, None]
        process = PSLD(Gamma=Gamma, nu=nu, momentum_variance=kappa)
        self.flow = ok.ProbabilityFlow(process, ScoreModel(plain), prediction="score")
        self.known = {}

    def error(self, method, steps):
        if (method, steps) in self.known:
            return self.known[method, steps]
        share = 1 - torch.arange(steps + 1, dtype=torch.float64) / steps
        grid = self.end + (1 - self.end) * share**self.power
        got = ok.solve(self.flow, self.start, method, grid)
        self.known[method, steps] = (got - self.exact).square().sum((1, 2)).mean().sqrt().item()
        return self.known[method, steps]

    def order(self, method, steps):
        return math.log2(self.error(method, steps) / self.error(method, 2 * steps))


@functools.cache
def problem(name, count=32):
    return Problem(name, count)
