"""Implicit methods by name, and problems to solve with them: smooth, on a mixture, and stiff."""

import functools
import math

import torch
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.fields import VectorField
from odekit.methods import files
from odekit.methods.implicit import implicit_runge_kutta
from odekit.methods.multistep import named

TABLEAUS = [
    *("implicit-euler", "implicit-midpoint", "trapezoidal", "sdirk2", "sdirk3", "sdirk4", "crouzeix-3"),
    *("gauss-2", "gauss-3", "radau-iia-2", "radau-iia-3"),
]
MULTISTEP = [f"{kind}-{k}" for kind in ("am", "bdf") for k in range(1, 7)]


def make(name, **options):
    return implicit_runge_kutta(files.get(name), **options) if name in TABLEAUS else named(name)(**options)


def turning(x, t):
    """Nonlinear, non-autonomous, two components that feel each other."""
    c, s = math.cos(float(t)), math.sin(2 * float(t))
    a, b = x[:, 0], x[:, 1]
    return torch.stack([c * b - 0.5 * a * b + 0.3 * a * a * s, -c * a + 0.4 * a * b * b - 0.2 * b], 1)


TURNING = VectorField(turning, name="turning")
START = torch.tensor([[1.0, 0.5], [0.3, -0.7]], dtype=torch.float64)


@functools.cache
def mixture(prediction, kind):
    process = {"vp": ok.VP(), "rectified-flow": ok.RectifiedFlow()}[kind]
    flow = ok.ProbabilityFlow(process, ok.targets.ring6(), prediction=prediction)
    generator = torch.Generator().manual_seed(0)
    x = flow.target.sample(4, seed=1)
    x = process.alpha(0.5) * x + process.sigma(0.5) * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return flow, x, 0.5, 0.25


def uneven(start, end, steps):
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    nodes = start + (end - start) * (u + 0.15 * u * torch.sin(math.pi * u) ** 2)
    nodes[-1] = end
    return nodes


@functools.cache
def van_der_pol():
    """mu = 1000 on its smooth part, [1, 300], started there; the reference is SciPy's Radau."""
    mu = 1000.0
    field = VectorField(lambda x, t: torch.stack([x[:, 1], mu * (1 - x[:, 0] ** 2) * x[:, 1] - x[:, 0]], 1))
    run = solve_ivp(
        lambda t, y: [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]], (0.0, 300.0), [2.0, 0.0],
        method="Radau", rtol=1e-11, atol=1e-14, t_eval=[1.0, 300.0],
    )  # fmt: skip
    return field, *(torch.from_numpy(run.y[:, [i]].T.copy()) for i in range(2))
