"""Where a solver steps: the closed-form schedules of the literature, with one convention for all of them.

N steps have N+1 nodes, a strictly monotone 1-D float64 tensor of times t of the process, and the ends are the caller's
numbers to the bit: by default from `process.t_max` down to `process.t_min`.

>>> import odekit.grids as grids
>>> grids.grid("time-uniform", (1.0, 0.0), steps=4)
tensor([1.0000, 0.7500, 0.5000, 0.2500, 0.0000], dtype=torch.float64)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from odekit.exceptions import GridError, unknown
from odekit.grids.closed import SCHEDULES, Span

__all__ = ["check", "get", "grid", "names"]


def names() -> list[str]:
    """The names `grid` knows, sorted.

    >>> "logsnr" in names()
    True
    """
    return sorted(SCHEDULES)


def get(name: str) -> Callable[..., Any]:
    """The function behind a name, whose docstring holds its formula and source; raises `UnknownNameError`.

    >>> get("edm").__doc__
    'kappa^(1/rho) linear (EDM, arXiv 2206.00364, equation 5).'
    """
    return _schedule(name).function


def grid(
    name: str,
    over: Any,
    steps: int,
    *,
    t_start: float | None = None,
    t_end: float | None = None,
    final: str | None = None,
    **parameters: Any,
) -> torch.Tensor:
    """N+1 strictly monotone times, float64, of N = `steps` steps from one end to the other.

    `over` is a process, or an interval (t0, t1) in either direction for the schedules in t alone ("time-uniform",
    "time-quadratic", "time-power"). A process is crossed from t_max down to t_min unless `t_start` or `t_end` say
    otherwise; both are hit exactly. `final="zero"` spends the last of the N steps on going from t_end to sigma = 0, as
    much of the literature does: the node appended is the time where the process has no noise. `parameters` are the
    schedule's own, see `get(name).__doc__`.

    The spacings of training indices ("linspace", "leading", "trailing", "lcm") serve `DiscreteVP` and its whole table
    only: N indices and then a final node, index 0 or with `final="zero"` the clean end. As in the literature, "leading"
    starts below t_max.

    Raises `GridError` (nodes that coincide, ends outside the process, parameters out of range) and `UnknownNameError`.

    >>> from odekit.processes import EDM
    >>> grid("edm", EDM(), steps=3)
    tensor([8.0000e+01, 9.7232e+00, 4.6998e-01, 2.0000e-03], dtype=torch.float64)
    """
    entry = _schedule(name)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise GridError(f"steps = {steps!r}, expected a whole number of at least 1")
    known = list(inspect.signature(entry.function).parameters)[1:]
    for key in parameters:
        if key not in known:
            raise unknown(f"parameter of grid {name!r}", key, known)
    if final not in (None, "zero"):
        raise GridError(f"final = {final!r}, expected None (stop at t_end) or 'zero' (a last step to sigma = 0)")
    process, start, end = _ends(name, over, entry.needs, t_start, t_end)
    clean = [] if final is None else [_clean_end(name, process, end)]

    if entry.needs == "table":
        span = Span(name, process, start, end, steps, levels=_levels(process))
        nodes = _spaced(span, entry.function(span, **parameters), final)
    else:
        span = Span(name, process, start, end, steps - len(clean))
        inner = entry.function(span, **parameters).tolist() if span.steps > 1 else []
        nodes = torch.tensor([start, *inner] + [end] * (span.steps > 0) + clean, dtype=torch.float64)
    try:
        return check(nodes)
    except GridError as error:
        raise GridError(f"grid {name!r} of {steps} steps from {start!r} to {end!r} is none: {error}") from None


def check(grid: Any, process: Any = None) -> torch.Tensor:
    """The grid on the host in float64 (a tensor's graph kept), or a `GridError` naming the index and the values.

    `grid` is a tensor, an array or a sequence of floats (N+1,). Refused: what is not a 1-D floating tensor of at least
    two nodes, NaN and infinity, nodes that repeat or turn back, and times outside `process.domain`.

    >>> check(torch.tensor([1.0, 0.5, 0.5]))
    Traceback (most recent call last):
    odekit.exceptions.GridError: grid[2] = 0.5 repeats grid[1]; nodes must be strictly monotone: use fewer steps
    """
    if isinstance(grid, Sequence | np.ndarray) and not isinstance(grid, str):
        try:
            grid = torch.tensor(np.asarray(grid, dtype=float))
        except (TypeError, ValueError):
            raise GridError(f"a grid is a sequence of times, got one that holds something else: {grid!r:.60}") from None
    if not isinstance(grid, torch.Tensor) or not grid.is_floating_point() or grid.ndim != 1 or len(grid) < 2:
        shown = f"{grid.dtype} of shape {tuple(grid.shape)}" if isinstance(grid, torch.Tensor) else type(grid).__name__
        raise GridError(f"a grid is a 1-D floating tensor of at least two times, got {shown}")
    grid = grid.to("cpu", torch.float64)
    times = grid.tolist()
    low, high = (-math.inf, math.inf) if process is None else process.domain
    for k, time in enumerate(times):
        if not math.isfinite(time):
            raise GridError(f"grid[{k}] = {time} is no finite time")
        if not low <= time <= high:
            raise GridError(f"grid[{k}] = {time!r} lies outside the range [{low}, {high}] of {process.name!r}")
        if k and time == times[k - 1]:
            raise GridError(
                f"grid[{k}] = {time!r} repeats grid[{k - 1}]; nodes must be strictly monotone: use fewer steps"
            )
        if k and (time > times[k - 1]) != (times[1] > times[0]):
            raise GridError(f"grid[{k}] = {time!r} turns back after grid[{k - 1}] = {times[k - 1]!r}")
    return grid


def _schedule(name: str) -> Any:
    if name not in SCHEDULES:
        raise unknown("grid", name, SCHEDULES)
    return SCHEDULES[name]


def _ends(name: str, over: Any, needs: str, t_start: Any, t_end: Any) -> tuple[Any, float, float]:
    """The process (None for an interval) and both ends, checked."""
    simple = ", ".join(repr(key) for key, entry in SCHEDULES.items() if entry.needs == "interval")
    if isinstance(over, (tuple, list)):
        if needs != "interval":
            raise GridError(f"grid {name!r} needs a process; an interval (t0, t1) is divided by {simple}")
        if len(over) != 2 or t_start is not None or t_end is not None:
            raise GridError(f"an interval states both of its ends, (t0, t1), and no t_start= or t_end=; got {over!r}")
        process, ends = None, over
    else:
        if not hasattr(over, "t_max"):
            raise GridError(f"grid {name!r} goes over a process or an interval (t0, t1), got {type(over).__name__}")
        process = over
        if needs == "table" and not _levels(process):
            raise GridError(f"grid {name!r} spaces training indices: it needs a tabulated process (DiscreteVP)")
        if needs == "process" and getattr(process, "carrier", "scalar") != "scalar":
            raise GridError(
                f"grid {name!r} spaces alpha and sigma, numbers that {process.name!r} has none of (its coefficients are"
                f" operators); it is divided in t, by {simple}"
            )
        if needs == "table" and (t_start is not None or t_end is not None):
            raise GridError(f"grid {name!r} spaces the whole table and takes no t_start= or t_end=; use 'time-uniform'")
        ends = (process.t_max if t_start is None else t_start, process.t_min if t_end is None else t_end)
    try:
        start, end = (float(value) for value in ends)
    except (TypeError, ValueError):
        raise GridError(f"the ends of a grid are two numbers, got {tuple(ends)!r}") from None
    if start == end:
        raise GridError(f"a grid from {start!r} to {end!r} has no length")
    check(torch.tensor([start, end], dtype=torch.float64), process)
    return process, start, end


def _clean_end(name: str, process: Any, end: float) -> float:
    """The time where the process has no noise; refused where there is none or the grid ends there anyway."""
    where = "an interval" if process is None else repr(process.name)
    scalar = hasattr(process, "time_at_kappa")  # no interval, and no process whose coefficients are operators
    time = float(process.time_at_kappa(0.0)) if scalar else math.nan
    if not (math.isfinite(time) and float(process.sigma(time)) == 0.0):
        raise GridError(f"grid {name!r} cannot end with final='zero': {where} has no time with sigma = 0")
    if time == end:
        raise GridError(f"grid {name!r} ends at sigma = 0 as it is (t_end = {end!r} of {where}); leave final= out")
    return time


def _levels(process: Any) -> int:
    """The number M of training levels of a tabulated process, 0 for any other."""
    parameters = getattr(process, "parameters", {})
    return len(parameters.get("betas", parameters.get("alphas_cumprod", ())))


def _spaced(span: Span, indices: list[int], final: str | None) -> torch.Tensor:
    """Times (i + 1)/M of the N spaced indices and the final node."""
    indices = [*indices, -1 if final == "zero" else 0]
    for k in range(1, span.steps + 1):
        if not indices[k] < indices[k - 1] < span.levels:
            only_last = k == span.steps and final is None
            raise GridError(
                f"spacing {span.name!r} of {span.levels} levels into {span.steps} steps goes from index "
                f"{indices[k - 1]} to {indices[k]} at node {k}; "
                + ("pass final='zero'" if only_last else "ask for fewer steps, or for 'time-uniform'")
            )
    return torch.tensor([index + 1 for index in indices], dtype=torch.float64) / span.levels
