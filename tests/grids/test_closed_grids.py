"""Closed-form schedules: ends to the bit, strict monotonicity, and the laws that identify each formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from odekit import grids
from odekit.exceptions import GridError, UnknownNameError
from odekit.grids import check, grid
from odekit.grids.closed import SCHEDULES


class StandIn:
    """The part of a process that grids use, written independently in plain formulas."""

    domain = (0.0, math.inf)

    def sigma(self, t):
        return self.kappa(t) * math.exp(-self.logsnr(t)) if t else 0.0

    def logsnr(self, t):
        kappa = self.kappa(t)
        return -kappa.log() if isinstance(t, torch.Tensor) else (-math.log(kappa) if kappa else math.inf)

    def time_at_logsnr(self, value):
        return self.time_at_kappa((-value).exp())


class LinearVP(StandIn):
    name, t_min, t_max = "vp", 1e-3, 1.0

    def kappa(self, t):
        exponent = 0.5 * 19.9 * t**2 + 0.1 * t
        return exponent.expm1().sqrt() if isinstance(t, torch.Tensor) else math.sqrt(math.expm1(exponent))

    def time_at_kappa(self, kappa):
        level = torch.as_tensor(kappa, dtype=torch.float64).square().log1p()
        return 2 * level / ((0.1**2 + 2 * 19.9 * level).sqrt() + 0.1)


class Variance(StandIn):
    name, t_min, t_max = "edm", 0.002, 80.0

    def kappa(self, t):
        return t

    def time_at_kappa(self, kappa):
        return kappa


class Flow(StandIn):
    name, t_min, t_max, domain = "rectified-flow", 0.0, 1.0, (0.0, 1.0)

    def kappa(self, t):
        return t / (1 - t) if isinstance(t, torch.Tensor) or t < 1 else math.inf

    def time_at_kappa(self, kappa):
        return kappa / (1 + kappa)


class Table(LinearVP):
    name, t_min, domain = "discrete-vp", 1 / 1000, (0.0, 1.0)
    parameters = {"betas": (0.01,) * 1000}


VP, EDM, RF, DISCRETE = LinearVP(), Variance(), Flow(), Table()
BY_NEED = {need: [n for n in grids.names() if SCHEDULES[n].needs == need] for need in ("interval", "process", "table")}
CONTINUOUS = BY_NEED["interval"] + BY_NEED["process"]
laws = settings(deadline=None, max_examples=30)


def close(a, b, tol=1e-12):
    assert torch.allclose(a, torch.as_tensor(b, dtype=torch.float64), rtol=tol, atol=0), (a, b)


def test_the_literatures_table_is_complete():
    table = """time-uniform logsnr time-quadratic time-power edm karras edm-vp edm-ve edm-iddpm exponential
    polyexponential vp lu-lambdas beta linspace leading trailing flow lcm tangent kappa-uniform""".split()
    assert set(table) <= set(grids.names())
    assert all(grids.get(name).__doc__ for name in grids.names())


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("process", [VP, EDM], ids=["vp", "edm"])
@pytest.mark.parametrize("steps", [1, 2, 10, 137])
def test_ends_are_exact_and_nodes_strictly_monotone(name, process, steps):
    nodes = grid(name, process, steps)
    assert nodes.shape == (steps + 1,) and nodes.dtype == torch.float64
    assert nodes[0].item() == process.t_max and nodes[-1].item() == process.t_min  # bitwise
    assert (nodes.diff() < 0).all()


@pytest.mark.parametrize("name", CONTINUOUS)
@laws
@given(ends=st.tuples(st.floats(2e-3, 1.0), st.floats(2e-3, 1.0)), steps=st.integers(1, 12))
def test_any_two_ends_in_either_direction(name, ends, steps):
    start, end = ends
    assume(abs(start - end) > 0.05 and (name != "edm-iddpm" or steps < 4))
    # The law of edm-vp starts at kappa = 0, so its epsilon_s has to know how far up the range lies.
    options = {"epsilon_s": min(ends) / max(ends)} if name in ("edm-vp", "vp") else {}
    nodes = grid(name, VP, steps, t_start=start, t_end=end, **options)
    assert nodes[0].item() == start and nodes[-1].item() == end
    assert (nodes.diff() * (end - start) > 0).all()


@pytest.mark.parametrize("name", BY_NEED["interval"])
@laws
@given(ends=st.tuples(st.floats(0, 50), st.floats(0, 50)), steps=st.integers(1, 40))
def test_intervals_without_a_process(name, ends, steps):
    assume(abs(ends[0] - ends[1]) > 1e-2)
    nodes = grid(name, ends, steps)
    assert (nodes[0].item(), nodes[-1].item()) == ends and len(nodes) == steps + 1
    assert ((ends[1] - ends[0]) * nodes.diff() > 0).all()


def test_formulas_in_time():
    k = torch.arange(6, dtype=torch.float64) / 5
    close(grid("time-uniform", (3.0, -1.0), 5), 3 - 4 * k)
    close(grid("time-quadratic", (4.0, 1.0), 5), (2 - k) ** 2)
    close(grid("time-power", (4.0, 1.0), 5, rho=3.0), 1 + 3 * (1 - k) ** 3)
    close(grid("time-power", VP, 5, rho=1.0), grid("time-uniform", VP, 5))


def test_formulas_in_the_noise_level():
    k = torch.arange(9, dtype=torch.float64) / 8
    close(grid("edm", EDM, 8), (80 ** (1 / 7) + k * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7)
    for name in ("logsnr", "exponential", "edm-ve", "lu-lambdas", "polyexponential"):
        close(grid(name, EDM, 8), 80 * (0.002 / 80) ** k)
    close(grid("polyexponential", EDM, 8, rho=2.0), torch.exp(math.log(0.002) + (1 - k) ** 2 * math.log(80 / 0.002)))
    close(grid("kappa-uniform", EDM, 8)[:-1], (80 + k * (0.002 - 80))[:-1])
    assert torch.equal(grid("karras", EDM, 8), grid("edm", EDM, 8))
    for name in ("logsnr", "edm", "tangent", "kappa-uniform", "beta", "flow"):  # the law is one of kappa alone
        ends = {"t_start": VP.time_at_kappa(80.0).item(), "t_end": VP.time_at_kappa(0.002).item()}
        close(VP.kappa(grid(name, VP, 8, **ends)), grid(name, EDM, 8), 1e-11)


def test_published_numbers_of_edm():
    """The first of EDM's 18 levels, 0.002 to 80 with rho = 7, before the zero it appends."""
    nodes = grid("edm", EDM, 17)
    expected = [80.0, 57.58598, 40.78557, 28.37458]
    assert nodes[:4].tolist() == pytest.approx(expected, rel=1e-6)


def test_limits_of_karras():
    """rho = 1 is linear in kappa; rho to infinity is geometric, and approaches it like 1/rho."""
    close(grid("edm", EDM, 7, rho=1.0), grid("kappa-uniform", EDM, 7))
    geometric = grid("logsnr", EDM, 7)
    predicted = math.log(80 / 0.002) ** 2 * (3 / 7) * (4 / 7) / 2  # u (1 - u) L^2 / (2 rho), largest at u = 3/7
    for rho in (1e4, 1e5):
        gap = (grid("edm", EDM, 7, rho=rho) / geometric).log().abs().max().item()
        assert gap * rho == pytest.approx(predicted, rel=20 / rho)


def test_edm_vp_is_uniform_time_on_vp():
    close(grid("edm-vp", VP, 20), grid("time-uniform", VP, 20), 1e-11)
    assert not torch.allclose(grid("edm-vp", VP, 20, epsilon_s=0.1), grid("time-uniform", VP, 20), rtol=1e-3)
    assert torch.equal(grid("vp", EDM, 20), grid("edm-vp", EDM, 20))


def test_limits_of_tangent():
    """theta = atan(kappa/c): wide data make it linear in kappa, narrow data linear in 1/kappa."""
    close(grid("tangent", EDM, 9, c=1e7), grid("kappa-uniform", EDM, 9), 1e-9)
    inverse = 1 / (1 / 80 + torch.arange(10, dtype=torch.float64) / 9 * (1 / 0.002 - 1 / 80))
    close(grid("tangent", EDM, 9, c=1e-7), inverse, 1e-6)
    theta = torch.atan(VP.kappa(grid("tangent", VP, 9, c=0.7)) / 0.7)
    close(theta.diff(), theta.diff().mean().expand(9), 1e-9)


@pytest.mark.parametrize("name, worse", [("time-uniform", 0.2797), ("logsnr", 0.2879), ("edm", 0.3288)])
def test_tangent_is_the_best_grid_of_ddim_for_a_gaussian(name, worse):
    """Endpoint error 1 - prod cos(theta_k - theta_{k+1}), N = 7, c = 0.7, VP."""

    def error(nodes):
        return 1 - torch.atan(VP.kappa(nodes) / 0.7).diff().cos().prod().item()

    best = error(grid("tangent", VP, 7, c=0.7))
    assert best == pytest.approx(0.1591, abs=6e-5) and error(grid(name, VP, 7)) == pytest.approx(worse, abs=6e-5)


def test_ends_without_noise_or_without_data():
    """RectifiedFlow goes from kappa = infinity to 0: some laws reach both, the others refuse by name."""
    u = 1 - torch.arange(6, dtype=torch.float64) / 5
    close(grid("flow", RF, 5, shift=1.0), u)
    close(grid("flow", RF, 5), 3 * u / (1 + 2 * u))
    assert grid("tangent", RF, 5).isfinite().all() and grid("time-uniform", RF, 5)[-1] == 0
    for name in ("logsnr", "edm", "kappa-uniform", "beta", "edm-vp", "edm-iddpm"):
        with pytest.raises(GridError, match=r"infinite at t = 1.0 of 'rectified-flow'.*t_start"):
            grid(name, RF, 5)
        assert grid(name, RF, 3, t_start=0.99, t_end=0.01)[0] == 0.99
    assert grid("edm", RF, 3, t_start=0.99)[-1] == 0.0  # no noise left is no obstacle to a law of kappa itself
    with pytest.raises(GridError, match="finite logsnr.*infinite at t = 0.0"):
        grid("logsnr", RF, 3, t_start=0.99)


def test_iddpm_levels_agree_with_an_independent_recursion():
    """EDM's generate.py in numpy: the levels themselves, and which of them are taken."""
    u = np.zeros(1001)
    abar = np.sin(0.5 * np.pi * np.arange(1001) / 1000 / 1.008) ** 2
    for j in range(1000, 0, -1):
        u[j - 1] = np.sqrt((u[j] ** 2 + 1) / np.clip(abar[j - 1] / abar[j], 0.001, None) - 1)
    u = u[(u >= 0.002) & (u <= 80)]
    taken = u[((len(u) - 1) / 10 * np.arange(11)).round().astype(int)]
    close(grid("edm-iddpm", EDM, 10)[1:-1], taken[1:-1], 1e-11)
    with pytest.raises(GridError, match="levels in this range and cannot be cut into 2000 steps"):
        grid("edm-iddpm", EDM, 2000)


def test_beta_of_one_and_one_is_uniform():
    close(grid("beta", EDM, 9, alpha=1.0, beta=1.0), grid("kappa-uniform", EDM, 9), 1e-11)
    nodes = grid("beta", EDM, 9)  # dense at both ends
    assert nodes.diff().abs().argmax() in (3, 4, 5)


def test_a_last_step_to_zero_is_explicit():
    for process in (VP, EDM):
        nodes = grid("edm", process, 8, final="zero")
        assert len(nodes) == 9 and nodes[-1] == 0 and nodes[-2].item() == process.t_min
        assert torch.equal(nodes[:-1], grid("edm", process, 7))
    assert grid("logsnr", EDM, 1, final="zero").tolist() == [80.0, 0.0]
    with pytest.raises(GridError, match="leave final= out"):
        grid("time-uniform", RF, 5, final="zero")
    with pytest.raises(GridError, match="no time with sigma = 0"):
        grid("time-uniform", (1.0, 0.0), 5, final="zero")


# The spacings of training indices, against the schedulers they come from.


def indices(nodes, levels=1000):
    values = (nodes * levels).round()
    assert torch.equal(values / levels, nodes)  # times are (i + 1)/M exactly
    return [int(v) - 1 for v in values]


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 17, 50, 100, 250])
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_spacings_are_those_of_diffusers(spacing, steps):
    schedulers = pytest.importorskip("diffusers.schedulers")
    dpm = schedulers.DPMSolverMultistepScheduler(timestep_spacing=spacing)
    dpm.set_timesteps(steps)
    ours = indices(grid(spacing, DISCRETE, steps, final="zero"))
    assert ours == [*dpm.timesteps.tolist(), -1]
    assert indices(grid(spacing, DISCRETE, steps)) == [*dpm.timesteps.tolist(), 0]
    if spacing != "trailing" and steps > 1:
        ddim = schedulers.DDIMScheduler(timestep_spacing=spacing)
        ddim.set_timesteps(steps)
        assert indices(grid(spacing, DISCRETE, steps, final="zero", family="ddim")) == [*ddim.timesteps.tolist(), -1]


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 50])
def test_lcm_is_that_of_diffusers(steps):
    scheduler = pytest.importorskip("diffusers.schedulers").LCMScheduler()
    scheduler.set_timesteps(steps)
    assert indices(grid("lcm", DISCRETE, steps, final="zero")) == [*scheduler.timesteps.tolist(), -1]


def test_offset_of_leading():
    ours = indices(grid("leading", DISCRETE, 4, family="ddim", offset=1))
    assert ours == [751, 501, 251, 1, 0]


@pytest.mark.parametrize("spacing", ["linspace", "trailing", "lcm"])
def test_spacings_cross_the_whole_table(spacing):
    nodes = grid(spacing, DISCRETE, 20)
    assert nodes[0].item() == DISCRETE.t_max and nodes[-1].item() == DISCRETE.t_min


# Refusals: each names what was wrong and the way out.


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: grid("linspace", DISCRETE, 1000), "repeat|goes from index 0 to 0|fewer steps"),
        (lambda: grid("trailing", DISCRETE, 1500), "index 999 to 999|fewer steps"),
        (lambda: grid("linspace", DISCRETE, 10, family="ddim"), "index 0 to 0 at node 10; pass final='zero'"),
        (lambda: grid("linspace", DISCRETE, 10, family="dpmpp"), "expected 'dpm'"),
        (lambda: grid("linspace", DISCRETE, 10, t_start=0.5), "takes no t_start"),
        (lambda: grid("linspace", VP, 10), "DiscreteVP"),
        (lambda: grid("leading", DISCRETE, 10, offset=500), "goes from index 1400"),
        (lambda: grid("lcm", DISCRETE, 60), "fewer steps"),
        (lambda: grid("lcm", DISCRETE, 5, origin_steps=2000), "between 1 and 1000"),
        (lambda: grid("logsnr", (1.0, 0.0), 10), "needs a process.*'time-uniform'"),
        (lambda: grid("time-uniform", (1.0, 1.0), 10), "no length"),
        (lambda: grid("time-uniform", (1.0, 0.0, 2.0), 10), "both of its ends"),
        (lambda: grid("time-uniform", (1.0, 0.0), 10, t_end=0.5), "both of its ends"),
        (lambda: grid("time-uniform", (1.0, "x"), 10), "two numbers"),
        (lambda: grid("time-uniform", (1.0, math.nan), 10), "no finite time"),
        (lambda: grid("time-uniform", 3.0, 10), "process or an interval"),
        (lambda: grid("time-uniform", VP, 0), "whole number"),
        (lambda: grid("time-uniform", VP, 2.0), "whole number"),
        (lambda: grid("time-uniform", VP, True), "whole number"),
        (lambda: grid("time-uniform", VP, 5, t_end=-0.5), r"outside the range \[0.0, inf\] of 'vp'"),
        (lambda: grid("time-uniform", (1.0, 1.0 + 1e-15), 100), "repeats"),
        (lambda: grid("time-quadratic", (1.0, -1.0), 10), "roots of times"),
        (lambda: grid("time-quadratic", (1.0, 0.0), 10, order=0), "positive"),
        (lambda: grid("edm", VP, 10, rho=-7.0), "positive"),
        (lambda: grid("edm", VP, 10, final="zeros"), "expected None"),
        (lambda: grid("edm-vp", VP, 10, epsilon_s=1.5), "between 0 and 1"),
        (lambda: grid("edm-vp", VP, 10, t_end=0.5), "turns back inside.*epsilon_s"),
        (lambda: grid("lu-lambdas", VP, 10, rho=2.0), "roots of ln kappa"),
        (lambda: grid("tangent", VP, 10, c=math.nan), "positive"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(GridError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_unknown_names_say_what_is_near():
    with pytest.raises(UnknownNameError, match="did you mean 'logsnr'"):
        grid("logsnt", VP, 10)
    with pytest.raises(UnknownNameError, match="parameter of grid 'edm' 'rh'; did you mean 'rho'"):
        grid("edm", VP, 10, rh=7)


@pytest.mark.parametrize(
    "bad, says",
    [
        ([1.0, 0.5, 0.5, 0.2], r"grid\[2\] = 0.5 repeats grid\[1\]"),
        ([1.0, 0.5, 0.7, 0.2], r"grid\[2\] = 0.7 turns back after grid\[1\] = 0.5"),
        ([0.1, 0.5, 0.3], r"grid\[2\] = 0.3 turns back"),
        ([1.0, math.nan, 0.2], r"grid\[1\] = nan is no finite"),
        ([math.inf, 1.0], r"grid\[0\] = inf"),
        ([1.0, 0.5, -0.1], r"grid\[2\] = -0.1 lies outside"),
        ([1.0], "at least two"),
        ([[1.0, 0.5]], r"shape \(1, 2\)"),
    ],
)
def test_check_names_index_and_values(bad, says):
    with pytest.raises(GridError, match=says):
        check(torch.tensor(bad, dtype=torch.float64), VP)


def test_check_returns_the_grid_and_keeps_its_graph():
    nodes = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64, requires_grad=True)
    assert check(nodes, VP) is nodes
    assert check(torch.tensor([0.25, 1.0])).dtype == torch.float64
    for wrong in ("logsnr", [[1.0, 0.5]], torch.tensor([2, 1])):
        with pytest.raises(GridError, match="1-D floating tensor"):
            check(wrong)
