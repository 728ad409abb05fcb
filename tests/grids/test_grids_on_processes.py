"""Closed-form schedules on the processes themselves."""

import math

import pytest
import torch

from odekit import grids
from odekit.exceptions import GridError
from odekit.grids import grid
from odekit.grids.closed import SCHEDULES
from odekit.processes import EDM, PSLD, VE, VP, Blurring, Cosine, DiscreteVP, RectifiedFlow, SubVP

BETAS = torch.linspace(1e-4**0.5, 0.02**0.5, 1000, dtype=torch.float64).square().tolist()
PROCESSES = [VP(), SubVP(), Cosine(), VE(), EDM(), RectifiedFlow(t_min=0.01, t_max=0.99), DiscreteVP(BETAS)]
CONTINUOUS = [name for name in grids.names() if SCHEDULES[name].needs != "table"]
MISFIT = {"edm-vp", "vp"}  # their law starts at kappa = 0 and s = 1: it fits ranges that start near no noise


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.name)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_every_schedule_on_every_process(name, process):
    options = {"epsilon_s": 0.2} if name in MISFIT and process.kappa(process.t_min) > 0.005 else {}
    for steps in (1, 2, 10, 50):
        nodes = grid(name, process, steps, **options)
        assert grids.check(nodes, process) is nodes and len(nodes) == steps + 1
        assert nodes[0].item() == process.t_max and nodes[-1].item() == process.t_min
        assert (nodes.diff() < 0).all()


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.name)
def test_laws_hold_in_the_clock_they_name(process):
    logsnr = process.logsnr(grid("logsnr", process, 20))
    assert torch.allclose(logsnr.diff(), logsnr.diff().mean().expand(20), rtol=1e-11)
    root = process.kappa(grid("edm", process, 20)) ** (1 / 7)
    assert torch.allclose(root.diff(), root.diff().mean().expand(20), rtol=1e-11)
    theta = torch.atan(process.kappa(grid("tangent", process, 20)))
    assert torch.allclose(theta.diff(), theta.diff().mean().expand(20), rtol=1e-10)


def test_ends_where_alpha_or_sigma_vanishes():
    flow = RectifiedFlow()
    u = 1 - torch.arange(6, dtype=torch.float64) / 5
    assert torch.allclose(grid("flow", flow, 5, shift=1.0), u, rtol=1e-14, atol=1e-16)
    assert torch.allclose(grid("flow", flow, 5, shift=3.0), 3 * u / (1 + 2 * u), rtol=1e-14, atol=1e-16)
    assert grid("tangent", flow, 5)[-1] == 0.0
    with pytest.raises(ValueError, match="infinite at t = 1.0"):
        grid("logsnr", flow, 5)


@pytest.mark.parametrize("process", [VP(), SubVP(), Cosine(), VE(), EDM(), DiscreteVP(BETAS)], ids=lambda p: p.name)
def test_final_zero_reaches_the_clean_end(process):
    nodes = grid("logsnr", process, 6, final="zero")
    assert len(nodes) == 7 and process.sigma(nodes[-1].item()) == 0.0 and nodes[-2].item() == process.t_min
    assert grids.check(nodes, process) is nodes


def test_spacings_land_on_the_table():
    process = DiscreteVP(BETAS)
    bar = torch.cumprod(1 - torch.tensor(BETAS, dtype=torch.float64), 0)
    for spacing in ("linspace", "leading", "trailing", "lcm"):
        nodes = grid(spacing, process, 10, final="zero")
        index = (nodes[:-1] * 1000).round().long() - 1
        assert torch.allclose(process.alpha(nodes[:-1]) ** 2, bar[index], rtol=1e-12)
        assert nodes[-1] == 0 and process.alpha(0.0) == 1.0
    assert DiscreteVP(alphas_cumprod=bar.tolist()).t_min == grid("linspace", process, 4)[-1].item()


def test_published_ranges_of_the_linear_schedule():
    """t in [1e-3, 1] spans logsnr -5.024978 .. 4.557715 and kappa 152.167 .. 0.0104860."""
    nodes = grid("logsnr", VP(), 4)
    assert VP().logsnr(nodes).tolist() == pytest.approx(torch.linspace(-5.024978, 4.557715, 5).tolist(), abs=1e-6)
    assert VP().kappa(nodes)[[0, -1]].tolist() == pytest.approx([152.167, 0.0104860], rel=1e-5)


def test_time_outside_the_process_is_refused():
    with pytest.raises(ValueError, match="outside the range"):
        grid("time-uniform", Cosine(), 4, t_start=math.pi)


@pytest.mark.parametrize("process", [PSLD(), Blurring(shape=(4,))], ids=lambda p: p.name)
@pytest.mark.parametrize("name", grids.names())
def test_processes_with_operators_are_divided_in_t_alone(process, name):
    """Alpha and sigma are no numbers there: a schedule in them is refused in a line that names those in t."""
    if name.startswith("time-"):
        assert len(grid(name, process, 5)) == 6
        return
    with pytest.raises(GridError, match="time-uniform|needs a tabulated process") as refusal:
        grid(name, process, 5)
    assert "\n" not in str(refusal.value)


def test_a_process_with_operators_has_no_clean_end():
    with pytest.raises(GridError, match="no time with sigma = 0"):
        grid("time-uniform", PSLD(), 5, final="zero")
