"""Which method of the catalogue somebody's sampler is: found by comparing coefficient tables, not results."""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from analysis.exact import ExactProblem
from odekit.exceptions import GridError, OdekitError, TraceError
from odekit.plan.dense import live, whole
from odekit.plan.realisation import equilibrated

NEAR = 0.5  # tables that differ by more, relative to their largest coefficients, resemble each other in nothing
EVEN = {"log-SNR": "logsnr", "time": "time-uniform", "sigma/alpha": "kappa-uniform"}


def recognise(sampler: Callable, exact: ExactProblem, steps: int = 6) -> tuple[str | None, list[str]]:
    """The name of the method that sampler(model, x, times) is, or is nearest to, and findings in words.

    It is a method of the catalogue when their tables are equal on three uneven grids. Failing that it is compared on
    equal steps in each clock (a formula for equal steps is at home there), and then by how long two tables agree.
    Nothing is found for a sampler that is no straight-line program; the findings say why.
    """
    uneven = [_uneven(exact, steps, seed) for seed in range(3)]
    try:
        traced = [_traced(sampler, exact, times) for times in uneven]
    except TraceError as error:
        return None, [f"not a straight-line program: {error}"]
    except Exception as error:  # the sampler's own code, on inputs it did not expect
        return None, [f"could not be traced: {type(error).__name__}: {' '.join(str(error).split())[:200]}"]
    findings = []
    alive = live(traced[0].dense())
    if wasted := len(alive) - int(alive.sum()):
        findings.append(f"{wasted} of {len(alive)} evaluations on a grid of {steps} steps do not reach the result")
    if names := _equal(traced, uneven, exact):
        return names[0], [f"the same method as {', '.join(names)} (equal tables on three uneven grids)", *findings]
    for clock, even in _even(exact, steps):
        if names := _equal([_traced(sampler, exact, even)], [even], exact):
            found = f"equals {', '.join(names)} on equal steps in {clock}, and no known method on uneven ones"
            return names[0], [found, *findings]
    nearest = max(_resembling(traced[0], uneven[0], exact), default=None)
    if nearest is None:
        hint = "is the model's prediction the one it expects? --prediction velocity, data, ... says otherwise"
        return None, [f"resembles no method of the catalogue: {hint}", *findings]
    *_, name, difference = nearest
    return name, [f"equals no method of the catalogue; nearest is {name}: {difference}", *findings]


def parting(traced: Any, name: str, grid: torch.Tensor, tolerance: float = 1e-4) -> tuple[int, int] | None:
    """(k, n): the first of n live evaluations whose input is not that of a known method on a grid; k = n is the result.

    (n + 1, n) where they part nowhere; None where they cannot be compared. Times are not: an evaluation at a wrong time
    is another finding.
    """
    import odekit as ok

    method = _known().get(name)
    if method is None or traced.process is None:
        return None
    try:
        flow = ok.ProbabilityFlow(traced.process, lambda x, t: x, prediction=traced.prediction)  # never asked
        tables = [plan.reexpress(state_scale=(1.0, 1.0)).dense() for plan in (traced, ok.plan(method, flow, grid))]
    except OdekitError:
        return None
    rows = []
    for dense in tables:
        alive = live(dense)
        rows.append(whole(dense)[np.ix_([*np.flatnonzero(alive), -1], [0, *(1 + np.flatnonzero(alive))])])
    if rows[0].shape != rows[1].shape:
        return None
    scale, columns = equilibrated(np.maximum(*(_sizes(np.abs(part)) for part in rows)))
    gaps = (_sizes(np.abs(rows[0] - rows[1])) / scale[:, None] / columns).max(axis=1)
    off = np.flatnonzero(gaps > tolerance)
    n = len(gaps) - 1
    return (int(off[0]) if len(off) else n + 1), n


def _sizes(table: np.ndarray) -> np.ndarray:
    """Numbers for a table of sizes (R, C, *own): the largest entry of each operator."""
    return table.reshape(*table.shape[:2], -1).max(axis=2)


def _traced(sampler: Callable, exact: ExactProblem, times: torch.Tensor) -> Any:
    import odekit as ok

    field = exact.field
    shape = tuple(exact.x.shape[1:])
    return ok.trace(sampler, shape, process=field.process, prediction=field.prediction, grid=times)


def _equal(traced: list, grids: list[torch.Tensor], exact: ExactProblem) -> list[str]:
    import odekit as ok

    names = []
    for name in _known():
        known = (_plan(exact, name, tuple(grid.tolist())) for grid in grids)
        if all(b is not None and ok.same(a, b) for a, b in zip(traced, known, strict=True)):
            names.append(name)
    return names


def _resembling(traced: Any, grid: torch.Tensor, exact: ExactProblem) -> Iterator[tuple[int, float, str, str]]:
    """(evaluations in common, minus the largest difference, name, where they part) of methods that are near."""
    import odekit as ok

    for name in _known():
        known = _plan(exact, name, tuple(grid.tolist()))
        if known is None:
            continue
        gap, parting = ok.same(traced, known, tol=math.inf).gap, ok.same(traced, known).first_difference
        if gap < NEAR:
            place = re.match(r"evaluation (\d+) ", parting)
            yield int(place[1]) if place else len(grid), -gap, name, parting


@functools.lru_cache(maxsize=4096)
def _plan(exact: ExactProblem, name: str, times: tuple[float, ...]) -> Any:
    """A known method's plan on a grid, kept for the next sampler; None where it cannot be built there."""
    import odekit as ok

    try:
        return ok.plan(_known()[name], exact.field, torch.tensor(times, dtype=torch.float64))
    except OdekitError:  # a method that cannot be built there is not the one
        return None


@functools.cache
def _known() -> dict[str, Any]:
    """Every method that runs as a Plan, and those that can with a last step of order one."""
    import odekit as ok

    known = {}
    for name in ok.methods.names():
        method = ok.methods.get(name)
        if method.is_plannable:
            known[name] = method
            if method.history:
                with contextlib.suppress(OdekitError):
                    known[f"{name} with last='lower'"] = ok.methods.get(name, last="lower")
    return known


def _even(exact: ExactProblem, steps: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Equal steps in every clock that the process has."""
    import odekit as ok

    for clock, name in EVEN.items() if exact.field.process is not None else ():
        with contextlib.suppress(GridError):
            yield clock, ok.grid(name, exact.field.process, steps, t_start=exact.t_start, t_end=exact.t_end)


def _uneven(exact: ExactProblem, steps: int, seed: int) -> torch.Tensor:
    """A random strictly monotone grid with the problem's ends."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.rand(steps, generator=generator, dtype=torch.float64) + 0.3
    places = torch.cat([torch.zeros(1, dtype=torch.float64), parts.cumsum(0) / parts.sum()])
    times = exact.t_start + (exact.t_end - exact.t_start) * places
    times[-1] = exact.t_end
    return times
