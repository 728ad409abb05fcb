"""Implicit methods: orders from exact starting values, coefficients against textbook loops, stiff problems."""

import dataclasses
import functools
import math

import pytest
import torch
from implicit_problems import MULTISTEP, START, TABLEAUS, TURNING, make, mixture, uneven, van_der_pol

import odekit as ok
from odekit.algebra.multistep import bdf
from odekit.algebra.multistep_rules import differentiating
from odekit.fields import VectorField, problems
from odekit.fields.coordinates import Instant
from odekit.methods import files
from odekit.methods.base import Claim
from odekit.methods.implicit import ImplicitRungeKutta


@functools.cache
def exact(problem, steps, count):
    """The grid, exact states at its first ``count`` nodes, and the exact end."""
    field, x, start, end = (TURNING, START, 0.0, 2.0) if problem == "turning" else mixture(*problem)
    nodes = uneven(start, end, steps)
    passed = ok.reference(field, x, [*nodes[1:count].tolist(), end], t_start=start).x
    return field, nodes, torch.cat([x[None], passed[:-1]]), passed[-1]


def slope(method, problem, few, many):
    """The order seen between two numbers of steps, from exact starting values."""
    errors = []
    for steps in (few, many):
        field, nodes, history, end = exact(problem, steps, 6)
        result = ok.solve(field, history[0], method, nodes, history=history[: method.history + 1])
        errors.append(float((result - end).norm()))
    return math.log(errors[0] / errors[1]) / math.log(many / few)


# Orders.


@pytest.mark.parametrize("name", TABLEAUS + MULTISTEP)
def test_order_on_a_nonlinear_nonautonomous_problem(name):
    method = make(name)
    steps = (96, 192) if name in MULTISTEP else (16, 32)
    assert slope(method, "turning", *steps) == pytest.approx(method.order.formula, abs=0.25)


@pytest.mark.parametrize(
    "name, problem",
    [
        *((name, ("noise", "vp")) for name in TABLEAUS + MULTISTEP),
        *((name, ("data", "rectified-flow")) for name in ("sdirk4", "gauss-3", "radau-iia-2", "am-5", "bdf-4")),
    ],
)
def test_order_on_a_mixture_flow(name, problem):
    method = make(name)
    steps = (48, 96) if name in MULTISTEP else (12, 24)
    assert slope(method, problem, *steps) == pytest.approx(method.order.formula, abs=0.25)


@pytest.mark.parametrize("prediction", ["noise", "data"])
@pytest.mark.parametrize("name", ["implicit-midpoint", "sdirk3", "gauss-2"])
def test_order_in_straight_coordinates(name, prediction):
    method = make(name, prediction=prediction)
    assert slope(method, ("noise", "vp"), 32, 64) == pytest.approx(method.order.formula, abs=0.25)


@pytest.mark.parametrize("name", ["am-2", "am-3", "am-4", "am-6", "bdf-2", "bdf-3", "bdf-6"])
def test_the_default_start_costs_no_order_and_a_rising_one_does(name):
    method, rising = make(name), make(name, start="rising")
    k = method.k
    assert method.order == Claim(k, k)
    assert rising.order == Claim(k, min(k, 3 if name.startswith("am") else 2))

    def observed(method, *steps):
        errors = []
        for n in steps:
            field, nodes, history, end = exact("turning", n, 6)
            errors.append(float((ok.solve(field, history[0], method, nodes) - end).norm()))
        return math.log2(errors[0] / errors[1])

    assert observed(method, 64, 128) > k - 0.3
    if rising.order.method < k:
        assert observed(rising, 256, 512) == pytest.approx(rising.order.method, abs=0.3)


def careless(points):
    """BDF3 with one coefficient wrong, the sum kept."""
    (one, first, second, third), beta = differentiating(points)
    return (one, first, second - 1e-3, third + 1e-3), beta


def test_a_wrong_bdf_coefficient_is_seen():
    assert slope(ok.methods.get(dataclasses.replace(bdf(3), rule=careless)), "turning", 64, 128) < 2


def test_a_wrong_gamma_is_seen():
    table = files.get("sdirk2")
    wrong = dataclasses.replace(
        table, c=("3/10", "1"), A=(("3/10",), ("7/10", "3/10")), b=("7/10", "3/10"), digits=None
    )
    assert slope(ImplicitRungeKutta(wrong), "turning", 64, 128) < 1.3 < slope(make("sdirk2"), "turning", 64, 128)


# Coefficients and single steps against textbook loops.


@pytest.mark.parametrize(
    "k, own, old",
    [
        (1, 1, [1]),
        (2, 2 / 3, [4 / 3, -1 / 3]),
        (3, 6 / 11, [18 / 11, -9 / 11, 2 / 11]),
        (4, 12 / 25, [48 / 25, -36 / 25, 16 / 25, -3 / 25]),
        (6, 60 / 147, [360 / 147, -450 / 147, 400 / 147, -225 / 147, 72 / 147, -10 / 147]),
    ],
)
def test_bdf_coefficients_of_equal_steps(k, own, old):
    ours, past = coefficients(k, [0.5 * i for i in range(k, -1, -1)])
    assert ours == pytest.approx(0.5 * own, rel=1e-13) and past == pytest.approx(old, rel=1e-12)


def coefficients(k, times):
    """(gamma, [a_1, ...]) of x_0 = gamma x'_0 + sum_j a_j x_j for states at these times, newest first."""
    method = make(f"bdf-{k}")
    h, alpha, own, _ = method.coefficients(method.coordinates(TURNING), tuple(map(Instant, times)), k)
    return float(h * own), [-float(a) for a in alpha]


@pytest.mark.parametrize("k", range(1, 7))
def test_bdf_coefficients_are_exact_on_polynomials_of_degree_k(k):
    times = [1.0, 0.8, 0.75, 0.3, 0.1, -0.2, -0.6][: k + 1]
    own, old = coefficients(k, times)
    for degree in range(k + 1):
        value = own * degree * times[0] ** max(degree - 1, 0) + sum(
            a * t**degree for a, t in zip(old, times[1:], strict=True)
        )
        assert value == pytest.approx(times[0] ** degree, abs=1e-12)


def test_the_same_method_by_its_three_names():
    nodes = uneven(0.0, 2.0, 10)
    ends = {n: ok.solve(TURNING, START, make(n), nodes) for n in ("implicit-euler", "am-1", "bdf-1")}
    assert (ends["am-1"] - ends["bdf-1"]).abs().max() < 1e-13
    assert (ends["am-1"] - ends["implicit-euler"]).abs().max() < 1e-13
    assert (
        ok.solve(TURNING, START, make("am-2"), nodes) - ok.solve(TURNING, START, make("trapezoidal"), nodes)
    ).abs().max() < 1e-13


@pytest.mark.parametrize("name", ["gauss-3", "radau-iia-3", "crouzeix-3", "sdirk4", "trapezoidal"])
def test_one_step_on_a_linear_problem_is_the_stability_function(name):
    """R(z) = 1 + z b (I - z A)^-1 1, computed apart; stiff z as well."""
    table = files.get(name)
    _, A, b, _ = table.exact
    A = torch.tensor([[float(a) for a in row] for row in A], dtype=torch.float64)
    b = torch.tensor([float(w) for w in b], dtype=torch.float64)
    for z in (-0.3, -30.0, -3e6):
        field = VectorField(lambda x, t, z=z: z * x)
        moved = ok.solve(field, torch.ones(1, 1).double(), make(name), torch.tensor([0.0, 1.0], dtype=torch.float64))
        solved = torch.linalg.solve(torch.eye(len(b)).double() - z * A, torch.ones(len(b)).double())
        assert moved.item() == pytest.approx(float(1 + z * (b @ solved)), abs=1e-13 * max(100, abs(z)))


# Stiffness.


@pytest.mark.parametrize("name", ["implicit-euler", "sdirk2", "sdirk4", "radau-iia-2", "radau-iia-3", *MULTISTEP[6:]])
def test_prothero_robinson_a_thousand_times_too_stiff_for_explicit_steps(name):
    problem = problems.get("prothero-robinson", rate=-1e4)
    nodes = torch.linspace(problem.t_start, problem.t_end, 41, dtype=torch.float64)
    result = ok.solve(problem.field, problem.x0, make(name), nodes)
    assert (result - problem.exact(problem.t_end)).abs().max() < 1e-5
    with pytest.raises(ok.OdekitError, match="the state overflows"):  # the negative control
        ok.solve(problem.field, problem.x0, "rk4", nodes, eager=True)


@pytest.mark.parametrize("name", ["implicit-midpoint", "trapezoidal", "gauss-2", "gauss-3", "crouzeix-3", "am-2"])
def test_a_stable_methods_do_not_grow(name):
    field = VectorField(lambda x, t: -1e4 * x)
    x = torch.ones(2, 1, dtype=torch.float64)
    assert ok.solve(field, x, make(name), torch.linspace(0, 2, 21, dtype=torch.float64)).abs().max() <= 1
    unstable = ok.solve(field, x, make("am-4"), torch.linspace(0, 2, 21, dtype=torch.float64))
    assert unstable.abs().max() > 1e3  # Dahlquist's second barrier


@pytest.mark.parametrize(
    "name, bound",
    [
        ("implicit-euler", 2e-3),
        ("sdirk2", 5e-6),
        ("sdirk4", 1e-9),
        ("radau-iia-3", 1e-9),
        ("bdf-2", 2e-4),
        ("bdf-4", 1e-6),
    ],
)
def test_van_der_pol_on_its_smooth_part(name, bound):
    field, start, end = van_der_pol()
    errors = [(ok.solve(field, start, make(name), uneven(1.0, 300.0, n)) - end).abs().max().item() for n in (20, 40)]
    assert errors[0] < bound and errors[1] < max(errors[0], 1e-10)
