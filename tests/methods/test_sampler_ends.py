"""What the first and last steps of samplers cost, and what extrapolation gains."""

import math

import pytest
import torch
from isotropic_samplers import FLOWS, PROCESSES, VP, gap, rough, start

import analysis
import odekit as ok
from odekit.algebra.certificates import certificate
from odekit.exceptions import MethodError
from odekit.methods import ends
from odekit.methods.corrected import Corrected
from odekit.methods.extrapolation import richardson

# Starts and ends.


@pytest.mark.parametrize("name", ["rk4", "sa-solver", "unipc-3", "fon"])
def test_a_last_step_of_order_one_caps_at_two(name):
    method = ok.methods.get(name, last="lower")
    assert method.order.method == 2 < method.order.formula
    assert analysis.convergence(method).verdict == "pass"
    assert analysis.convergence(method, claim=3).verdict == "fail"
    rows = dict(certificate(method).rows())
    assert "order is two at most" in rows["last step"]


@pytest.mark.parametrize(("process", "cap"), [("vp", 1), ("rectified-flow", 2)])
def test_a_step_to_sigma_zero_caps_at_what_the_grid_makes_of_it(process, cap):
    """On equal steps in time sigma/alpha of the node before falls like N^(-1/2) on VP, like 1/N on rectified flow."""
    own, flow = PROCESSES[process], FLOWS[process]
    assert ends.cap_at_zero(own) == cap

    def solved(method, steps, power):
        grid = 0.4 * torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** power
        return ok.solve(flow, start(), method, grid)

    exact = solved("deis-rhork-4rk", 1500, 2)  # in sigma/alpha the flow is smooth to the end
    errors = [float((solved("dpmpp-3s", n, 1) - exact).norm()) for n in (256, 512, 1024)]
    slopes = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert all(abs(slope - cap) < 0.1 for slope in slopes)


@pytest.mark.parametrize(("start_", "order"), [("rising", 2), ("rk4", 4)])
def test_a_first_step_of_order_one_caps_at_two(start_, order):
    method = ok.methods.get("deis-rhoab-3", start=start_)
    assert method.order == (4, order) and analysis.convergence(method).verdict == "pass"
    assert f"order {order} with it" in dict(certificate(method).rows())["start"]


@pytest.mark.parametrize("name", ["unipc-3", "dpmpp-2m", "dpmpp-2s", "sa-solver", "heun-edm"])
def test_denoising_is_a_step_of_order_one_to_sigma_zero(name):
    nodes = rough(VP)
    to_zero = torch.cat([nodes, torch.zeros(1, dtype=torch.float64)])
    flow = FLOWS["vp"]
    assert ok.same(ok.plan(ok.methods.get(name, last="denoise"), flow, nodes), ok.plan(name, flow, to_zero))


def test_rules_that_do_not_exist_are_refused_with_their_neighbours():
    for name in ("rk4", "unipc-3"):
        with pytest.raises(ok.OdekitError, match="did you mean 'lower'"):
            ok.methods.get(name, last="lowr")
    with pytest.raises(MethodError, match="cannot end"):
        ok.methods.get("strang", last="lower")
    with pytest.raises(MethodError, match="nothing is free to correct"):
        Corrected(ok.methods.get("unipc-2"))
    with pytest.raises(MethodError, match="nothing is free to correct"):
        Corrected(ok.methods.get("bs3"))


# Extrapolation.


@pytest.mark.parametrize("name", ["ddim", "rk4", "dpm-solver-3", "dpmpp-2m", "deis-tab-2", "plms-4", "unipc-3"])
def test_extrapolation_gains_an_order(name):
    method = richardson(name)
    assert method.order.method == ok.methods.get(name).order.method + 1
    assert analysis.convergence(method).verdict == "pass"
    assert analysis.convergence(method, claim=method.order.method + 1).verdict == "fail"


@pytest.mark.parametrize("name", ["ddim", "heun-edm", "rk4"])
def test_extrapolation_is_written_out(name):
    """Two runs combined by hand: every step of a one-step method."""
    flow, times, x = FLOWS["vp"], rough(VP), start()
    p = ok.methods.get(name).order.method
    for s, t in zip(times[:-1], times[1:], strict=True):
        long = ok.solve(flow, x, name, torch.stack([s, t]))
        short = ok.solve(flow, x, name, torch.stack([s, (s + t) / 2, t]))
        x = (2**p * short - long) / (2**p - 1)
    assert gap(ok.solve(flow, start(), richardson(name), times), x) < 1e-12


@pytest.mark.parametrize("name", ["dpmpp-2m", "ab-3", "unipc-2"])
def test_extrapolation_of_a_method_with_history_is_two_whole_runs(name):
    flow, times, p = FLOWS["vp"], rough(VP), ok.methods.get(name).order.method
    halved = torch.stack([times[:-1], (times[:-1] + times[1:]) / 2], dim=1).flatten()
    fine = ok.solve(flow, start(), name, torch.cat([halved, times[-1:]]))
    expected = (2**p * fine - ok.solve(flow, start(), name, times)) / (2**p - 1)
    assert gap(ok.solve(flow, start(), richardson(name), times), expected) < 1e-12


def test_removing_the_wrong_order_gains_nothing():
    assert richardson("rk4", order=3).order == (4, 4)
    assert analysis.convergence(richardson("rk4", order=3)).verdict == "pass"
    with pytest.raises(MethodError, match="no extrapolation removes"):
        richardson("unipc-3", last="lower")
