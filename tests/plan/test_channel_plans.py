"""Methods, plans and traces on three channels: third-order Langevin dynamics with an exact mixture."""

import math

import pytest
import sympy
import torch

import odekit as ok
from odekit.exceptions import MethodError, OdekitError, TraceError
from odekit.expressions import FLOAT64
from odekit.fields.coordinates import Instant
from odekit.fields.matrix import MatrixCoordinates
from odekit.fields.operator_weights import weights
from odekit.plan import Plan
from odekit.targets import under

CHAIN = sympy.Matrix([[0, 1, 0], [-1, 0, 2], [0, -2, -3]]) * 2
PROCESS = ok.LinearSDE(CHAIN, sympy.Matrix([0, 0, sympy.sqrt(12)]), initial=(0, 0.04, 0.04))
MODES = ok.GaussianMixture([[-1.0, 0.3], [1.2, 0.0]], [0.4, 0.5], [0.4, 0.6])
LAW = under(PROCESS, MODES)
START = LAW.sample(6, 1.0, seed=0)
FLOW = ok.ProbabilityFlow(PROCESS, MODES, "r-noise")
GRID = ok.grid("time-quadratic", PROCESS, 7)


ORDERS = {
    "gddim-0": 1, "gddim-1": 2, "gddim-2": 2, "gddim-3": 2, "gddim-pec-1": 2, "lambda-ddim-1": 1,
    "euler": 1, "heun2": 2, "rk4": 4, "ab-2": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def exact():
    return ok.reference(FLOW, START, 0.2, tol=1e-9).x


def errors_of(solve, exact):
    """Root mean square errors at 0.2 from t = 1, on uniform grids of 32 and 64 steps."""
    grids = [torch.linspace(1.0, 0.2, steps + 1, dtype=torch.float64) for steps in (32, 64)]
    return [(solve(grid) - exact).square().mean().sqrt().item() for grid in grids]


@pytest.mark.parametrize("name", ORDERS)
def test_slopes(name, exact):
    """Between the order with the start (rising degrees leave h^2 at the first step) and that of the formula."""
    errors = errors_of(lambda grid: ok.solve(FLOW, START, name, grid), exact)
    order = ok.methods.get(name).order
    assert order.method == ORDERS[name]
    assert order.method - 0.2 < math.log2(errors[0] / errors[1]) < order.formula + 0.35, errors


def test_a_wrong_frame_has_no_order(exact):
    """The control: weights for noise in the frame of R, outputs in the frame of L."""
    model = ok.ProbabilityFlow(PROCESS, MODES, "l-noise").model
    errors = errors_of(lambda grid: ok.plan("gddim-1", FLOW, grid)(model, START), exact)
    assert errors[1] > 0.5 * errors[0] > 0.05


@pytest.mark.parametrize("q", range(4))
def test_weights_integrate_polynomials_of_their_degree(q):
    """sum_j C_j p(t_j) = int Psi G G^T R^-T p/2 dr for p of degree q and none higher: order q + 1 as a formula."""
    f = MatrixCoordinates(FLOW, "r-noise")
    times = torch.tensor([0.3, 0.42, 0.5, 0.63, 0.7], dtype=torch.float64)
    to, *nodes = (Instant(t) for t in times[: q + 2].unbind())
    found = torch.stack([one.operator.value for one in weights(f, to, nodes[0], tuple(nodes), "t", "interpolating")])
    points, masses = (torch.tensor(row, dtype=torch.float64) for row in FLOAT64.gauss_legendre(24))
    r = times[1] + points * (times[0] - times[1])
    factors = PROCESS.factor(r).inverse().transpose()
    density = 0.5 * (PROCESS.transition(times[0], r) @ PROCESS.diffusion(r) @ factors).value
    for k in range(q + 2):
        power = masses * r**k * (times[0] - times[1])
        integral = (power[:, None, None] * density).sum(0)
        gap = ((times[1 : q + 2, None, None] ** k * found).sum(0) - integral).abs().max().item()
        assert gap < 2e-13 if k <= q else gap > 1e-7


class TestPoints:
    """Data at one point: the R-noise is constant along solutions, so that one step of any length is exact."""

    flow = ok.ProbabilityFlow(PROCESS, ok.Empirical([[0.7, -0.4]]), "r-noise")

    def path(self, t):
        """psi_t x_0 + R_t R_1^-1 (u_1 - psi_1 x_0)."""
        x = PROCESS.embed(torch.tensor([[0.7, -0.4]], dtype=torch.float64).expand(6, 2))
        means = [PROCESS.mean(s).apply(x) for s in (t, 1.0)]
        return means[0] + (PROCESS.factor(t) @ PROCESS.factor(1.0).inverse()).apply(START - means[1])

    @pytest.mark.parametrize("end", [0.5, 0.05, 1e-3])
    def test_one_step(self, end):
        grid = torch.tensor([1.0, end], dtype=torch.float64)
        found = ok.solve(self.flow, START, "gddim-0", grid)
        assert (found - self.path(end)).abs().max() < 1e-10
        assert (ok.solve(self.flow, START, "gddim-0", grid, factor="L") - self.path(end)).abs().max() > 0.05

    def test_the_path_is_the_flow(self):
        found = ok.reference(self.flow, START, 0.5, tol=1e-8).x
        assert (found - self.path(0.5)).abs().max() < 1e-7

    def test_many_steps(self):
        for name in ("gddim-2", "gddim-pece-2"):
            found = ok.solve(self.flow, START, name, ok.grid("time-quadratic", PROCESS, 12))
            assert (found - self.path(1e-3)).abs().max() < 1e-8


@pytest.mark.parametrize("name", ["gddim-2", "gddim-pece-1", "lambda-ddim-1", "rk4", "ab-2"])
def test_plans_traces_and_files(name, tmp_path):
    """One program: planned, run, traced, compressed, written and read."""
    plan = ok.plan(name, FLOW, GRID)
    assert (plan(FLOW.model, START) - ok.solve(FLOW, START, name, GRID)).abs().max() < 1e-9
    traced = ok.trace(plan)
    assert ok.same(plan, traced) and ok.same(plan, plan.compress())
    if plan.form:
        assert plan.form == (3, 3) and plan.dense().inputs.shape[-2:] == (3, 3)
    plan.save(tmp_path / "plan.json")
    found = Plan.load(tmp_path / "plan.json")
    assert found.process == PROCESS and ok.same(plan, found)
    assert torch.equal(found(FLOW.model, START), plan(FLOW.model, START))
    assert not ok.same(plan, ok.plan("gddim-1", FLOW, GRID))


def test_a_file_holds_matrices_as_texts_and_no_others(tmp_path):
    t = sympy.Symbol("tau", positive=True)
    F = sympy.Matrix([[-t, sympy.Rational(1, 3)], [-1, -2 - sympy.exp(-t / 2) * sympy.cos(3 * t)]])
    process = ok.LinearSDE(F, sympy.Matrix([0.5, sympy.sqrt(1 + t**2)]), initial=(0.1, sympy.Rational(1, 3)), t_max=1.5)
    flow, u = ok.ProbabilityFlow(process, MODES, "r-noise"), torch.ones(2, 2, 2, dtype=torch.float64)
    plan = ok.plan("gddim-1", flow, ok.grid("time-uniform", process, 3))
    plan.save(tmp_path / "plan.json")
    found = Plan.load(tmp_path / "plan.json")
    assert found.process.texts() == process.texts() and found.process.t_max == 1.5
    assert torch.equal(found.process.covariance(0.7).value, process.covariance(0.7).value)
    assert ok.same(plan, found) and ok.same(plan.reexpress("score"), found.reexpress("score"))
    assert torch.equal(found(flow.model, u), plan(flow.model, u))
    text = (tmp_path / "plan.json").read_text()
    for entry in ("__import__(t)", "exp(exp(exp(9)))", "s"):
        (tmp_path / "hostile.json").write_text(text.replace(process.texts()["F"][0][0], entry, 1))
        with pytest.raises(OdekitError, match="is no plan: .*(unknown|of a function|beyond)"):
            Plan.load(tmp_path / "hostile.json")
    strange = ok.LinearSDE(sympy.Matrix([[-1, sympy.erf(t)], [-1, -2]]), sympy.Matrix([1, 1]))
    with pytest.raises(
        OdekitError, match=r"a file cannot hold: unknown function 'erf'.*; save plan\.replaced"
    ) as caught:
        plan.replaced(process=strange).save(tmp_path / "plan.json")
    assert "\n" not in str(caught.value)


def test_total_of_the_weights():
    """sum_j C_j = R_s - Psi(s, t) R_t for every degree."""
    for q in range(4):
        last = ok.plan(f"gddim-{q}", FLOW, GRID).segments[-1].outputs[-1, 0]
        R = PROCESS.factor(GRID[-2:]).value
        psi = PROCESS.transition(GRID[-1], GRID[-2]).value
        assert (last[0] - psi).abs().max() < 1e-14
        assert (last[1:].sum(0) - (R[1] - psi @ R[0])).abs().max() < 1e-13


def test_predictions_change_on_a_plan():
    other = ok.plan("gddim-2", FLOW, GRID).reexpress("l-noise")
    model = ok.ProbabilityFlow(PROCESS, MODES, "l-noise").model
    assert (other(model, START) - ok.solve(FLOW, START, "gddim-2", GRID)).abs().max() < 1e-9


def test_somebodys_sampler():
    def sampler(model, u, times):
        for t, s in zip(times[:-1], times[1:], strict=True):
            psi = PROCESS.transition(s, t)
            u = psi.apply(u) + (PROCESS.factor(s) - psi @ PROCESS.factor(t)).apply(model(u, t))
        return u

    traced = ok.trace(sampler, grid=GRID, process=PROCESS, prediction="r-noise")
    assert traced.registers == 1 and ok.same(traced, ok.plan("gddim-0", FLOW, GRID))
    assert not ok.same(traced, ok.plan("gddim-1", FLOW, GRID))
    bare = ok.trace(sampler, grid=GRID, shape=(3,), carrier="block", prediction="r-noise")
    assert ok.same(bare, traced)


def test_one_channel():
    rate = sympy.Symbol("t") * 10 + 1
    process = ok.LinearSDE(sympy.Matrix([[-rate / 2]]), sympy.Matrix([[sympy.sqrt(rate)]]))
    flow, grid = ok.ProbabilityFlow(process, MODES, "r-noise"), ok.grid("time-quadratic", process, 7)
    u = under(process, MODES).sample(4, 1.0)
    plan = ok.plan("gddim-2", flow, grid)
    assert plan.form == (1, 1) and plan(flow.model, u).shape == (4, 1, 2) and ok.same(plan, ok.trace(plan))


REFUSED = {
    **{
        name: (lambda name=name: ok.solve(FLOW, START, name, GRID), MethodError, "position and momentum")
        for name in ("rse", "rvv", "cse", "cvv", "velocity-verlet")
    },
    "lambda-ddim-2": (
        lambda: ok.solve(FLOW, START, "lambda-ddim-2", GRID), MethodError, "2x2 matrix.* or a LinearSDE of two",
    ),
    "a state of two channels": (
        lambda: ok.plan("gddim-0", FLOW, GRID)(FLOW.model, START[:, :2]), OdekitError, r"are \(batch, 3, ...\)",
    ),
    "of a plan alone": (
        lambda: ok.plan("gddim-0", FLOW, GRID).replaced(process=None)(FLOW.model, START[:, :2]),
        OdekitError, r"3x3 blocks on \(B, 3, \*shape\); got a tensor \(6, 2, 2\)",
    ),
    "a trace on two channels": (
        lambda: ok.trace(lambda model, u: model(u, 1.0), shape=(2,), process=PROCESS, prediction="r-noise"),
        TraceError, r"are \(B, 3, ...\): expected shape=\(3, ...\), got \(2,\)",
    ),
    "fifty digits of R": (
        lambda: ok.plan("gddim-0", FLOW, GRID, precision=30), OdekitError, "R_t of 3 channels is tabulated in float64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, error, words = REFUSED[name]
    with pytest.raises(error, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_two_channels_are_another_program():
    two = ok.ProbabilityFlow(ok.PSLD(), MODES, "r-noise")
    plans = [ok.plan("gddim-0", flow, GRID).replaced(process=None) for flow in (FLOW, two)]
    assert str(ok.same(*plans)).startswith("different: coefficients (3, 3) against (2, 2)")
