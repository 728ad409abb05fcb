"""Orders and constants of the methods compared: error ~ C N^-p, with an interval for both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from analysis.exact import rms_norm
from analysis.figures import COLOURS
from analysis.order import estimate_order
from analysis.studies.budgets import ABOUT, CONTENDERS, STOCHASTIC, bench
from analysis.studies.comparison import Bench, Table
from analysis.weak import DATA, distance, law, pushed

COUNTS = (16, 32, 64, 128, 256, 512, 1024)
STARTS = 16
SLACK = 0.1  # between an interval and the claim
TOL = 1e-13  # of the reference
FLOOR = 1e-12  # times the size of a state: errors below it are rounding, or the reference's


def orders(process: str = "psld", counts: Sequence[int] = COUNTS) -> Table:
    """The measured order of every contender and its constant; of those with noise, the weak order on Gaussian data."""
    table = Table(
        "orders" if process == "psld" else f"orders-{process}",
        f"Orders and constants: {process}",
        _orders(process, counts),
        f"error ~ C N^-p. {ABOUT[process]}, {STARTS} starts from the exact law, N = {counts[0]} to"
        f" {counts[-1]} doubling, error: rms over trajectories; with noise: of mean and covariance, exact, for data"
        " N(0.7, 0.25). order: measured slope, with the interval of its last values and their limit. p: the nearest"
        " whole number; C: error N^p at the finest N above rounding, with the interval of its last three values and"
        " their limit.",
    )
    less = [row["method"] for row in table.rows if row["high"] + SLACK < row["claim"]]
    more = [row["method"] for row in table.rows if row["low"] - SLACK > row["claim"]]
    for kind, methods in (("less", less), ("more", more)):
        table.findings.append(
            f"{kind} than claimed at these N, of {len(table.rows)} methods: {', '.join(methods) or 'none'}"
        )
    return table


def _orders(process: str, counts: Sequence[int]) -> list[dict[str, Any]]:
    problem, gaussian = bench(process, STARTS, tol=TOL), _gaussian(process)
    rows = []
    for contender in CONTENDERS[process]:
        noisy = contender.family == STOCHASTIC
        method = contender.method(problem)
        errors = [(_weak_error(gaussian, method, n) if noisy else problem.error(method, n)) for n in counts]
        floor = FLOOR * max(1.0, rms_norm(problem.exact))
        estimate = estimate_order([1 / n for n in counts], errors, floor=floor)
        row = {"method": contender.label, "evaluations a step": method.evaluations}
        row |= {"claim": method.order.method, "order": estimate.slope, "low": estimate.low, "high": estimate.high}
        rows.append(row | _constant(counts, errors, estimate))
        rows[-1] |= {f"N = {n}": error for n, error in zip(counts, errors, strict=True)}
    return rows


def _constant(counts: Sequence[int], errors: Sequence[float], estimate: Any) -> dict[str, Any]:
    """p, C at the finest N of the window, and what its last three values and their limit span."""
    if len(estimate.window) < 3:
        return {"p": None, "C": math.nan, "C low": math.nan, "C high": math.nan, "at N": None}
    p, last = round(estimate.slope), estimate.window[-1]
    before, one, finest = (errors[i] * counts[i] ** p for i in range(last - 2, last + 1))
    reach = (before, one, finest, 2 * finest - one)
    return {"p": p, "C": finest, "C low": min(reach), "C high": max(reach), "at N": counts[last]}


def _gaussian(process: str) -> Bench:
    """The problem on Gaussian data."""
    import odekit as ok

    found = bench(process, 1)
    d = found.mixture.dimension
    mean, variance = DATA[0][0], DATA[1][0][0]
    data = ok.Gaussian([mean] * d, torch.eye(d, dtype=torch.float64) * variance)
    return Bench(found.process, data, found.x, found.t_end, found.schedule, found.t_start)


def _weak_error(problem: Bench, method: Any, steps: int) -> float:
    """How far mean and covariance at the end are from the exact ones."""
    import odekit as ok

    sde = problem.sde
    start, exact = (law(sde, t) for t in (problem.t_start, problem.t_end))
    plan = ok.plan(method, sde, problem.grid(steps))
    return distance(pushed(plan, sde.model, sde.shape, start), exact)


def draw_orders(table: Table, axes: Any) -> None:
    """Order and constant of every method, each with its interval."""
    rows = sorted(table.rows, key=lambda row: (row["order"], -row["C"]))
    places = range(len(rows))
    for axis, (name, low, high) in zip(axes, (("order", "low", "high"), ("C", "C low", "C high")), strict=True):
        for place, row in zip(places, rows, strict=True):
            colour = COLOURS[int(row["p"] or 0)]
            axis.plot([max(row[low], 1e-12), row[high]], [place, place], color=colour, linewidth=3, alpha=0.4)
            axis.plot([row[name]], [place], "o", color=colour)
            if name == "order":
                axis.plot([row["claim"]], [place], "|", color="black", markersize=8)
    axes[0].set_yticks(list(places), [row["method"] for row in rows], fontsize=7)
    axes[1].set_yticks(list(places), [""] * len(rows))
    axes[1].set_xscale("log")
    axes[0].set_xlim(0.4, 5.0)
    axes[0].set_xlabel("order (bar: the one claimed)")
    axes[1].set_xlabel("constant C of error ~ C N$^{-p}$")
    for axis in axes:
        axis.set_ylim(-0.7, len(rows) - 0.3)
