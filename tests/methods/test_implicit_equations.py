"""The equations of implicit methods: solved to their tolerance, or said not to be; and what such methods are not."""

import math

import pytest
import torch
from implicit_problems import MULTISTEP, START, TABLEAUS, TURNING, make, mixture, turning, uneven, van_der_pol

import odekit as ok
from odekit.exceptions import DivergenceError, MethodError, ModelError, OdekitError
from odekit.fields import VectorField
from odekit.fields.coordinates import Instant
from odekit.methods import files
from odekit.methods.implicit import implicit_runge_kutta, solve_stages
from odekit.methods.multistep import named


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
