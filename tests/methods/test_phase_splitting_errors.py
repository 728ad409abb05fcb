"""Splitting and conjugate integrators in phase space: tables of errors and orders, and compositions of sub-flows."""

import functools
import math

import numpy as np
import pytest
import torch
from phase_space_flows import MIXTURE, PROBLEMS, Problem, numbers, problem, states
from phase_space_in_print import Psld

import odekit as ok
from odekit import algebra, methods
from odekit.algebra.splitting import Splitting
from odekit.methods.flow_splitting import FlowSplitting
from odekit.processes import VP, Blurring, LinearSDE

SPLITTINGS = {  # error at 64, 64, 128, 100 steps and order at the end of the ladder, on the four problems
    ("euler", ()): ((6.03e-1, 0.91), (1.46e-1, 1.00), (3.09e-1, 1.07), (3.55e-1, 1.03)),
    ("heun2", ()): ((4.20e-2, 2.00), (4.60e-3, 2.00), (1.26e-2, 2.00), (8.85e-2, 2.04)),
    ("nse", ()): ((1.07e-1, 0.97), (4.57e-2, 1.00), (4.86e-2, 1.02), (8.83e-2, 1.01)),
    ("nse", (("first", "x"),)): ((1.15e-1, 0.95), (4.94e-2, 1.00), (5.20e-2, 1.01), (1.10e-1, 1.01)),
    ("rse", ()): ((1.07e-1, 0.97), (4.63e-2, 1.00), (4.87e-2, 1.02), (8.84e-2, 1.01)),
    ("nvv", ()): ((9.41e-2, 0.96), (3.85e-2, 1.00), (3.80e-2, 1.02), (1.02e-1, 1.00)),
    ("nvv", (("corrected", True),)): ((1.44e-2, 1.01), (2.79e-2, 0.99), (6.73e-3, 1.04), (1.33e-1, 1.15)),
    ("rvv", ()): ((1.44e-2, 1.01), (2.76e-2, 0.99), (6.77e-3, 1.04), (1.33e-1, 1.15)),
    ("rvv", (("corrected", False),)): ((9.41e-2, 0.96), (3.82e-2, 1.00), (3.80e-2, 1.02), (1.02e-1, 1.00)),
    ("velocity-verlet", ()): ((1.37e-2, 2.00), (1.81e-3, 1.99), (3.93e-3, 2.00), (4.01e-3, 2.00)),
}
FIRST, LAST = {"P1": 64, "P1b": 64, "P2": 128, "P2u": 100}, {"P1": 512, "P1b": 512, "P2": 1024, "P2u": 1600}


@pytest.mark.parametrize("which", PROBLEMS)
@pytest.mark.parametrize("key", SPLITTINGS, ids=lambda key: "-".join([key[0], *(f"{k}={v}" for k, v in key[1])]))
def test_table_of_splittings(key, which):
    (name, options), expected = key, dict(zip(PROBLEMS, SPLITTINGS[key], strict=True))
    method = methods.get(name, **dict(options))
    error, order = expected[which]
    assert problem(which).error(method, FIRST[which]) == pytest.approx(error, rel=0.05)
    if which != "P2u" or name == "rvv":
        assert problem(which).order(method, LAST[which]) == pytest.approx(order, abs=0.1)


CONJUGATE = {  # errors at 32, 64 and 512 steps, order of the last two, on P1 and P2; 16 starts
    ("lambda-ddim-1", 0.0, "L"): ((1.30, 0.847, 0.0988, 0.91), (1.59, 1.11, 0.156, 0.89)),
    ("lambda-ddim-1", 0.5, "L"): ((1.24, 0.828, 0.0970, 0.91), (1.53, 1.08, 0.153, 0.90)),
    ("lambda-ddim-1", 2.0, "L"): ((1.11, 0.754, 0.0918, 0.95), (1.37, 0.993, 0.142, 0.94)),
    ("lambda-ddim-2", 0.5, "L"): ((1.12, 0.694, 0.0826, 0.92), (1.46, 0.987, 0.130, 0.93)),
    ("lambda-ddim-2", 1.0, "L"): ((0.921, 0.489, 0.0648, 0.95), (1.14, 0.758, 0.101, 0.97)),
    ("lambda-ddim-2", 2.0, "L"): ((0.464, 0.293, 0.0316, 1.09), (0.629, 0.335, 0.0426, 1.00)),
    ("lambda-ddim-2", 4.0, "L"): ((1.25, 0.650, 0.138, 0.81), (1.40, 0.917, 0.107, 0.98)),
    ("lambda-ddim-1", 0.0, "R"): ((0.294, 0.171, 0.0221, 1.00), (0.175, 0.0951, 0.0131, 0.98)),
    ("lambda-ddim-2", 0.5, "R"): ((0.475, 0.282, 0.0421, 1.06), (0.504, 0.248, 0.0359, 0.92)),
    ("cse", 0.5, "L"): ((1.09, 0.640, 0.0765, 0.93), (1.44, 0.952, 0.120, 0.94)),
    ("cse", 2.0, "L"): ((0.501, 0.302, 0.0275, 1.10), (0.526, 0.293, 0.0281, 1.07)),
    ("cvv", 0.0, "L"): ((0.653, 0.449, 0.0689, 1.1), (0.908, 0.439, 0.0782, 1.0)),
    ("cvv", 0.5, "L"): ((0.678, 0.458, 0.0793, 1.1), (0.931, 0.456, 0.0826, 0.95)),
    ("cvv", 2.0, "L"): ((0.866, 0.508, 0.119, 0.83), (0.998, 0.552, 0.101, 0.83)),
}


@pytest.mark.parametrize("key", CONJUGATE, ids=lambda key: "-".join(map(str, key)))
def test_table_of_conjugate_integrators(key):
    name, rate, frame = key
    method = methods.get(name, rate=rate, prediction="l-noise" if frame == "L" else "r-noise")
    for which, (*errors, order) in zip(("P1", "P2"), CONJUGATE[key], strict=True):
        here = problem(which, 16)
        for steps, expected in zip((32, 64, 512), errors, strict=True):
            assert here.error(method, steps) == pytest.approx(expected, rel=0.05)
        assert here.order(method, 256) == pytest.approx(order, abs=0.1)


def test_reduced_verlet_bends():
    """It looks like order two before N = 1000, and is of order one."""
    here, method = problem("P2"), methods.get("rvv")
    slopes = [here.order(method, steps) for steps in (32, 64, 128, 256, 512, 1024)]
    assert slopes == pytest.approx([2.10, 1.65, 1.38, 1.19, 1.09, 1.04], abs=0.1)
    assert slopes[-1] < 1.1 < 1.6 < slopes[0]


# ------------------------------------------------------------ compositions of sub-flows

COMPOSED = {  # scheme, parts, sub-flow, steps to measure at, order
    "Lie-Trotter by Euler": ("trotter", "linear-score", "euler", 512, 1),
    "Strang by Euler": ("strang", "linear-score", "euler", 512, 1),
    "Strang by midpoint": ("strang", "linear-score", "midpoint", 128, 2),
    "Strang by rk4": ("strang", "linear-score", "rk4", 128, 2),
    "Ruth by Kutta": ("ruth-3", "linear-score", "kutta3", 128, 3),
    "Suzuki by rk4": ("suzuki-4", "linear-score", "rk4", 128, 4),
    "Blanes-Moan by rk4": ("blanes-moan-4", "linear-score", "rk4", 64, 4),
    "Blanes-Moan, position and momentum": ("blanes-moan-4", "position-momentum", "rk4", 64, 4),
    "Forest-Ruth, position and momentum": ("forest-ruth", "position-momentum", "rk4", 256, 4),
    "Blanes-Moan 6": ("blanes-moan-6", "linear-score", "verner6", 24, 6),
}


@functools.cache
def smooth():
    """P1b from t = 0.6 to 0.1: away from the narrow end, where high orders show with few steps."""
    here = Problem.__new__(Problem)
    plain = Psld(0.5, 2.5, 1.0)
    z = np.random.default_rng(0).standard_normal((2, 8))
    here.start, here.flow = torch.from_numpy(z.T.copy())[:, :, None], problem("P1b").flow
    here.exact = torch.from_numpy(plain.exact(z, 0.6, 0.1).T.copy())[:, :, None]
    return here


@pytest.mark.parametrize("case", COMPOSED)
def test_orders_of_compositions(case):
    scheme, parts, flow, steps, order = COMPOSED[case]
    method, here = FlowSplitting(scheme, parts, flow), smooth()
    assert method.order == (order, order)

    def error(count):
        got = ok.solve(here.flow, here.start, method, torch.linspace(0.6, 0.1, count + 1, dtype=torch.float64))
        return (got - here.exact).abs().max().item()

    assert math.log2(error(steps // 2) / error(steps)) == pytest.approx(order, abs=0.25)


def test_every_carrier_has_the_splitting_of_linear_part_and_score():
    """Scalars and diagonals, not blocks alone: Strang is of order two on VP and on blurring."""
    blurring = Blurring(shape=(3,), blur=2.0)
    signals = ok.GaussianMixture(numbers([-1.0, 0.3, 0.2], [0.8, -0.4, 0.5]), numbers(0.4, 0.5), numbers(0.4, 0.6))
    for process, target, x in ((VP(), MIXTURE, states(5)[:, 0]), (blurring, signals, states(6)[:, 0].expand(6, 3))):
        prediction = "noise" if process.name == "vp" else "r-noise"
        flow = ok.ProbabilityFlow(process, target, prediction=prediction)
        exact = ok.reference(flow, x, 0.2, t_start=0.7).x
        errors = []
        for steps in (160, 320):
            grid = torch.linspace(0.7, 0.2, steps + 1, dtype=torch.float64)
            errors.append((ok.solve(flow, x, "strang-linear-score", grid, inner="midpoint") - exact).norm().item())
        assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.15)


def test_a_wrong_coefficient_shows():
    """Strang with steps that still add up to one claims order two; slope and proof say one."""
    wrong = Splitting("wrong", (("A", "2/5"), ("B", "1"), ("A", "3/5")), 2)
    method, here = FlowSplitting(wrong, "position-momentum", "midpoint"), smooth()
    errors = []
    for steps in (128, 256):
        grid = torch.linspace(0.6, 0.1, steps + 1, dtype=torch.float64)
        errors.append((ok.solve(here.flow, here.start, method, grid) - here.exact).abs().max().item())
    assert method.order.formula == 2 and math.log2(errors[0] / errors[1]) < 1.3
    assert algebra.certificate(method).order == 1


def test_a_drift_that_varies_is_split_too():
    """Time-dependent coefficients: Strang with exact linear flows keeps order two; B = rate I has a closed A."""
    import sympy

    t = sympy.Symbol("t")
    beta = 2 + 4 * t
    F = beta * sympy.Matrix([[0, 2], [sympy.Rational(-1, 2), -2]])
    G = sympy.Matrix([0, sympy.sqrt(beta)])
    process = LinearSDE(F, G, initial=(0, sympy.Rational(1, 25)))
    flow = ok.ProbabilityFlow(process, MIXTURE, prediction="score")
    x = states(4)
    exact = ok.solve(flow, x, "verner6", torch.linspace(0.7, 0.2, 33, dtype=torch.float64))
    for method, steps, order in (
        (methods.get("strang-linear-score", inner="midpoint"), 20, 2),
        (methods.get("velocity-verlet"), 16, 2),
        (methods.get("rvv"), 128, 1),
        (methods.get("lambda-ddim-1", rate=1.0), 128, 1),
        (methods.get("lambda-ddim-2", rate=1.0), 128, 1),
    ):
        errors = []
        for count in (steps, 2 * steps):
            grid = torch.linspace(0.7, 0.2, count + 1, dtype=torch.float64)
            errors.append((ok.solve(flow, x, method, grid) - exact).norm().item())
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25), method.name
