"""Plans: straight-line programs over model evaluations, built from methods, run, compared, compressed, stored."""

from __future__ import annotations

from typing import Any

import torch

from odekit import grids, methods
from odekit.plan.build import segments
from odekit.plan.gauge import Comparison, same
from odekit.plan.program import Plan, Table

__all__ = ["Comparison", "Plan", "Table", "plan", "same"]


def plan(method: Any, flow, grid: torch.Tensor, network_times=None, precision: int | None = None, **options) -> Plan:
    """The Plan of a method on a grid.

    ``method``: a name of the catalogue (with its ``options``), a Method, or a tableau. ``flow``: a ProbabilityFlow or
    VectorField. ``grid``: (N+1,) strictly monotone times; a grid that requires gradients gives a differentiable table.
    ``network_times``: (N+1,) what the network is told instead of the grid's times. ``precision``: decimal digits.

    >>> import odekit as ok
    >>> flow = ok.ProbabilityFlow(ok.VP(), ok.targets.bimodal(), prediction="noise")
    >>> ok.plan("ddim", flow, ok.grid("logsnr", ok.VP(), 10)).evaluations
    10
    """
    method = methods.get(method, **options)
    grid = grids.check(grid, flow.process)
    built = segments(method, flow, grid, network_times, precision)
    return Plan(tuple(built), flow.prediction, flow.process, precision=precision or "float64", name=method.name)
