"""Implicit methods: orders from exact starting values, stiff problems, and the tolerance of their equations."""

import dataclasses
import functools
import math

import pytest
import torch
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.algebra.multistep import bdf
from odekit.algebra.multistep_rules import differentiating
from odekit.exceptions import DivergenceError, MethodError, ModelError, OdekitError
from odekit.fields import VectorField, problems
from odekit.fields.coordinates import Instant
from odekit.methods import files
from odekit.methods.base import Claim
from odekit.methods.implicit import ImplicitRungeKutta, implicit_runge_kutta, solve_stages
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


# The equations.


def test_the_equations_are_solved_to_the_stated_tolerance():
    x, h = START, 0.25
    moved = ok.solve(TURNING, x, make("implicit-euler"), torch.tensor([0.0, h], dtype=torch.float64))
    assert (moved - x - h * turning(moved, h)).abs().max() < 1e-15 * 4
    rough = ok.solve(TURNING, x, make("implicit-euler", tol=1e-3), torch.tensor([0.0, h], dtype=torch.float64))
    assert 1e-12 < (rough - moved).abs().max() < 1e-3


def test_a_rate_flattered_by_the_first_correction_is_not_believed():
    """Van der Pol's first correction lies where the equations are linear: one rate alone stops 1e-11 too early."""
    field, start, _ = van_der_pol()
    for name in ("implicit-midpoint", "sdirk3", "radau-iia-3"):
        nodes = uneven(1.0, 300.0, 80)
        ends = [ok.solve(field, start, make(name, tol=tol), nodes) for tol in (1e-14, 1e-16)]
        assert (ends[0] - ends[1]).abs().max() < 80 * 1e-14 * 2.5  # steps, tolerance, |x| and what it grows by


def test_equations_without_a_solution_name_the_time():
    explosive = VectorField(lambda x, t: x * x + 1)
    with pytest.raises(DivergenceError, match=r"bdf-1 at t = 1\.5: .*did not converge.*smaller steps"):
        ok.solve(explosive, torch.ones(2, 1).double(), make("bdf-1"), torch.tensor([0.5, 1.5], dtype=torch.float64))


def test_nan_from_the_model_is_the_models():
    field = VectorField(lambda x, t: -x if float(t) < 0.6 else x * math.nan)
    with pytest.raises(ModelError, match=r"NaN.*|.*t = 0\.75"):
        ok.solve(field, torch.ones(2, 1).double(), make("radau-iia-2"), torch.linspace(0, 1, 5, dtype=torch.float64))


def test_one_sample_does_not_disturb_another():
    nodes = uneven(0.0, 2.0, 12)
    for name in ("gauss-2", "sdirk4", "bdf-3", "am-4"):
        together = ok.solve(TURNING, START, make(name), nodes)
        alone = torch.cat([ok.solve(TURNING, x[None], make(name), nodes) for x in START])
        assert (together - alone).abs().max() < 1e-14


@pytest.mark.parametrize("name", ["gauss-2", "sdirk3", "am-3", "bdf-3"])
def test_dtype_and_shape_are_kept(name):
    nodes = torch.linspace(0, 1, 9, dtype=torch.float64)
    field = VectorField(lambda x, t: -(x**3) - x.flip(-1) * float(t))
    x = torch.linspace(0.2, 1.0, 12, dtype=torch.float64).reshape(2, 2, 3)
    double = ok.solve(field, x, make(name), nodes)
    single = ok.solve(field, x.float(), make(name), nodes)
    assert double.shape == x.shape and single.dtype == torch.float32
    assert (double - single).abs().max() < 1e-5
    line = VectorField(lambda x, t: -(x**3))
    assert ok.solve(line, x[:, 0, 0], make(name), nodes).shape == (2,)


def test_gradients_pass_through_the_iteration():
    x = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    field = VectorField(lambda x, t: -3 * x - x**3)
    moved = ok.solve(field, x, make("implicit-euler"), torch.tensor([0.0, 0.5], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(moved.sum(), x)
    y = moved.detach()
    assert gradient.item() == pytest.approx((1 / (1 + 0.5 * (3 + 3 * y**2))).item(), rel=1e-10)


def test_jacobians_cost_d_evaluations_and_are_kept_while_they_serve():
    asked = []
    field = VectorField(lambda x, t: asked.append(float(t)) or -100 * x + torch.tensor([1.0, 2.0, 3.0]).double())
    ok.solve(field, torch.ones(5, 3).double(), make("sdirk2"), torch.tensor([0.0, 1.0], dtype=torch.float64))
    # Two stages, each one Jacobian (3) and iterations until two corrections agree that the third is nothing.
    assert 2 * (3 + 2) <= len(asked) <= 2 * (3 + 3)


def test_stages_of_a_coupled_system_against_a_direct_solve():
    A, h = torch.tensor([[-2.0, 1.0], [0.5, -50.0]], dtype=torch.float64), 0.3
    M = [[h * a for a in row] for row in [[5 / 12, -1 / 12], [3 / 4, 1 / 4]]]
    y = torch.tensor([[1.0, -1.0], [0.2, 3.0]], dtype=torch.float64)
    stages = solve_stages([lambda u: u @ A.T] * 2, [y, y], M, y, 1e-14, "here")
    system = torch.eye(4).double() - torch.kron(torch.tensor(M, dtype=torch.float64), A)
    direct = torch.linalg.solve(system, torch.cat([y, y], 1).T).T
    assert (torch.cat(stages, 1) - direct).abs().max() < 1e-14


# What they are not.


@pytest.mark.parametrize(
    "name, variant", [("am-3", "abm-3"), ("am-1", "abm-2"), ("bdf-2", "abm-2"), ("gauss-2", "rk4")]
)
def test_a_plan_is_refused_and_the_variant_named(name, variant):
    flow, x, start, end = mixture("noise", "vp")
    method = make(name)
    nodes = uneven(start, end, 8)
    with pytest.raises(MethodError, match=f"{name} runs eagerly.*'{variant}'"):
        ok.plan(method, flow, nodes)
    assert ok.plan(variant, flow, nodes).evaluations > 0
    assert torch.equal(ok.solve(flow, x, method, nodes), ok.solve(flow, x, method, nodes, eager=True))


@pytest.mark.parametrize(
    "build, says",
    [
        (lambda: implicit_runge_kutta(files.get("rk4")), "explicit"),
        (lambda: named("bdf-7"), "zero-stable"),
        (lambda: named("am-0"), "am-1"),
        (lambda: make("bdf-2", tol=0.0), "tol = 0"),
        (lambda: make("bdf-2", start="sdirk9"), "sdirk"),
    ],
)
def test_refusals(build, says):
    with pytest.raises(OdekitError, match=says):
        build()


def test_an_infinite_clock_is_refused():
    flow = ok.ProbabilityFlow(ok.RectifiedFlow(), ok.targets.ring6(), prediction="velocity")
    with pytest.raises(OdekitError, match="infinite between t = 0.1 and 0"):
        ok.solve(flow, torch.ones(1, 2).double(), make("gauss-2", prediction="data"), torch.tensor([0.1, 0.0]).double())


def test_keys_tell_methods_apart():
    keys = [make(n).key() for n in TABLEAUS + MULTISTEP] + [
        make("bdf-3", start="rising").key(),
        make("am-3", tol=1e-9).key(),
    ]
    assert len({repr(key) for key in keys}) == len(keys)


def test_phases_and_history():
    assert make("bdf-3").phases(4) == ["start", "start", 3, 3]
    assert make("bdf-3", start="rising").phases(4) == [1, 2, 3, 3]
    assert make("am-4", start="rising").phases(4) == [2, 3, 4, 4]
    assert make("am-4").phases(1) == ["start"] and make("am-2").phases(2) == [2, 2]
    f = make("am-3").coordinates(TURNING)
    carry = make("am-3").carry_from(f, [Instant(0.1), Instant(0.0)], [START, START])
    assert len(carry["N"]) == 2 and torch.equal(carry["N"][1], turning(START, 0.0))


def test_a_singular_system_is_not_a_solution():
    """From x = 1/2, 1 - h f' = 0 exactly for x^2 + 1 and h = 1: the inverse is infinite, and so is every tolerance."""
    explosive = VectorField(lambda x, t: x * x + 1)
    with pytest.raises(DivergenceError, match="t = 1"):
        ok.solve(explosive, torch.full((1, 1), 0.5).double(), make("am-1"), torch.tensor([0.0, 1.0]).double())
