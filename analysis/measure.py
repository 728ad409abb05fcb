"""The order of a method on a problem: of its formula from exact history, of the whole method, and of a single step."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from analysis.exact import ExactProblem, exact_problem, flow_problem, of_problem, rms_norm
from analysis.ladder import Ladder, climb, rungs
from analysis.order import PASS, UNDETERMINED, local_slopes
from analysis.problems import BATCH, Case
from odekit.exceptions import DivergenceError, ModelError, OdekitError
from odekit.fields.matrix import is_isotropic
from odekit.fields.problems import Problem

FORMULA, WITH_START, LOCAL = "formula", "with start", "local"
FEW = (5, 10, 20)  # evaluations at which the report quotes an error
BENT, FLAT = 0.5, 0.1  # how far above the claim the first slope lies that bends, and how near to it the last


@dataclass(frozen=True)
class Study:
    """One measured ladder with its verdict; `.row` is its entry in results.json.

    `.slope`, from `.low` to `.high`, `.verdict` and `.reason` are what the ladder says.
    """

    row: dict[str, Any]
    ladder: Ladder

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [self.row]

    slope, low, high, verdict, reason = (
        property(attrgetter(f"ladder.estimate.{name}")) for name in ("slope", "low", "high", "verdict", "reason")
    )

    def plot(self, axes: Any = None) -> Any:
        """Errors against steps on logarithmic axes; returns the matplotlib axes (new ones without `axes`)."""
        from analysis.figures import plot_rows

        return plot_rows(self.rows, axes)


def convergence(
    method: Any,
    problem: Any = None,
    claim: float | None = None,
    steps: Sequence[int] | None = None,
    kind: str = WITH_START,
    budget: int = 4000,
    t_start: float | None = None,
    t_end: float | None = None,
    grid: str = "logsnr",
    batch: int = BATCH,
    seed: int = 0,
) -> Study:
    """Measure the order of a method: the rate at which its error at t_end falls as the grid is refined.

    method: a catalogue name or a Method. problem: a Case, a Problem, or a ProbabilityFlow with a target (then
    t_start, t_end in its process's time, grid, batch and seed apply). claim: the order claimed (default: the method's
    own, of this kind). kind: "formula" (exact history, no special last step) or "with start". steps: step counts
    (default: in ratio sqrt 2 until the slope has settled, rounding is reached or `budget` evaluations are spent).
    The error is the root mean square over the batch of the 2-norm. Raises OdekitError for input that does not fit.
    """
    method, exact = method_of(method), _exact(problem, t_start, t_end, grid, batch, seed)
    if kind not in (FORMULA, WITH_START):
        raise OdekitError(f"kind {kind!r}: expected {FORMULA!r} or {WITH_START!r}")
    claim = claim if claim is not None else (method.order.formula if kind == FORMULA else method.order.method)
    counts = _counts(steps, 1 + history_of(method), method.name, exact.period)
    runner = without_last(method) if kind == FORMULA else method

    def error_at(n: int) -> tuple[float, int]:
        history = exact.history(n, 1 + history_of(method)) if kind == FORMULA else None
        return _error(runner, exact, n, history)

    budget = round(budget * exact.share)
    ladder = climb(error_at, counts, claim, exact.floor, exact.scale, budget, adapt=steps is None, period=exact.period)
    row = covered({"method": method.name, **as_row(exact, kind, claim, ladder)}, exact, method)
    if not is_isotropic(exact.field.process):
        row["findings"] += bend(ladder, claim)
    if kind == WITH_START:
        row |= {"few": few_evaluations(method, exact), "round_trip": round_trip(method, exact)}
    return Study(row, ladder)


def local_error(
    method: Any,
    problem: Any = None,
    claim: float | None = None,
    steps: Sequence[int] | None = None,
    t_start: float | None = None,
    t_end: float | None = None,
    grid: str = "logsnr",
    batch: int = BATCH,
    seed: int = 0,
) -> Study:
    """The error of one step from exact points, which falls like h^(p+1) for a formula of order p.

    The step is the first after the exact history, on the same grids as `convergence`; its end point is compared with
    the exact one there. Arguments as in `convergence`; claim: of the local error (default: formula order + 1).
    """
    method, exact = method_of(method), _exact(problem, t_start, t_end, grid, batch, seed)
    claim = claim if claim is not None else method.order.formula + 1
    known = 1 + history_of(method)
    runner = without_last(method)

    def error_at(n: int) -> tuple[float, int]:
        states = exact.history(n, known + 1)
        nodes = exact.grid(n)[: known + 1]
        x, used = _run(runner, exact, nodes, states[:known] if known > 1 else None)
        return rms_norm(x - states[known]), used

    counts = _counts(steps, known + 1, method.name)
    ladder = climb(error_at, counts, claim, lambda n: exact.floor(1), exact.scale, budget=400, adapt=steps is None)
    return Study({"method": method.name, **as_row(exact, LOCAL, claim, ladder)}, ladder)


def few_evaluations(method: Any, exact: ExactProblem) -> list[dict[str, Any]]:
    """Errors at 5, 10 and 20 evaluations: the largest number of steps that costs no more; null where none does."""
    points = []
    for evaluations in FEW:
        n, error, used = evaluations // max(1, method.evaluations), math.nan, None
        while n > history_of(method):
            error, used = _error(method, exact, n, None)
            if used <= evaluations:
                break
            n -= max(1, (used - evaluations) // max(1, method.evaluations))  # what its start costs more than its steps
            error, used = math.nan, None
        points.append({"evaluations": evaluations, "used": used, "error": error})
    return points


def round_trip(method: Any, exact: ExactProblem, evaluations: int = FEW[-1]) -> dict[str, Any] | None:
    """How far a solve and the same grid turned round (inversion) miss the starting points; None where one blows up.

    Both run with as many steps as cost about `evaluations`, at least two more than the formula looks back.
    """
    steps = max(evaluations // max(1, method.evaluations), history_of(method) + 2)
    grid = exact.grid(steps)
    try:
        there, _ = _run(method, exact, grid, None)
        back, _ = _run(method, exact, grid.flip(0), None, there)
    except (DivergenceError, ModelError):
        return None
    return {"steps": steps, "error": rms_norm(back - exact.x)}


def method_of(method: Any) -> Any:
    """A Method from a Method, a catalogue name or the path of a method file."""
    import odekit as ok

    if not isinstance(method, str):
        return method
    return ok.methods.load(method) if method.endswith(".toml") else ok.methods.get(method)


def history_of(method: Any) -> int:
    """How many old states the formula needs beside the current one."""
    return int(getattr(method, "history", 0))


def has_start_or_last(method: Any) -> bool:
    """Whether the method as a whole differs from its formula: it needs history, or its last step is special."""
    return history_of(method) > 0 or without_last(method) is not method


def without_last(method: Any) -> Any:
    """The method without a special last step, which is not part of its formula."""
    if getattr(method, "last", "full") == "full":
        return method
    plain = copy.copy(method)
    plain.last = "full"
    return plain


def _exact(problem, t_start, t_end, grid, batch, seed) -> ExactProblem:
    if problem is None:
        problem = Case()
    if isinstance(problem, Case):
        return exact_problem(problem)
    if isinstance(problem, ExactProblem):
        return problem
    if isinstance(problem, Problem):
        return of_problem(problem, grid if problem.field.process else "time-uniform")
    process = getattr(problem, "process", None)
    if process is None:
        kind = type(problem).__name__
        raise OdekitError(f"cannot measure on {kind}: expected a ProbabilityFlow with a target, a Problem, or a Case")
    case = Case()
    t_start = float(process.time_at_logsnr(case.logsnr_start)) if t_start is None else t_start
    t_end = float(process.time_at_logsnr(case.logsnr_end)) if t_end is None else t_end
    return flow_problem(problem, t_start, t_end, grid, batch, seed)


def _counts(steps: Sequence[int] | None, least: int, name: str, period: int = 1) -> list[int]:
    counts = rungs(4) if steps is None else sorted(set(int(n) for n in steps))
    if steps is not None and (not counts or counts[0] < max(1, least)):
        raise OdekitError(f"steps {list(steps)}: {name} needs whole numbers of at least {max(1, least)}")
    counts = dict.fromkeys(period * max(1, round(n / period)) for n in counts)
    return [n for n in counts if steps is not None or n > least]


def _error(method: Any, exact: ExactProblem, n: int, history: torch.Tensor | None) -> tuple[float, int]:
    if history is not None and len(history) == 1:
        history = None
    try:
        x, used = _run(method, exact, exact.grid(n), history)
    except (DivergenceError, ModelError):  # the exact model answers any sensible state: the solve blew up
        return math.nan, method.evaluations * n
    return exact.error(x), used


def _run(
    method: Any, exact: ExactProblem, grid: torch.Tensor, history: torch.Tensor | None, x: torch.Tensor | None = None
) -> tuple[torch.Tensor, int]:
    import odekit as ok

    x = exact.x if x is None else x
    solution = ok.solve(exact.field, x, method=method, grid=grid, history=history, full=True)
    return solution.x, int(solution.statistics.evaluations)


def covered(row: dict[str, Any], exact: ExactProblem, method: Any = None) -> dict[str, Any]:
    """The row, its verdict withheld where the problem cannot testify to the claim: it passes wrong methods too."""
    claim, excitation = row["claimed_order"], exact.testimony(method)
    if row["verdict"] != PASS or excitation is None or excitation.covers(claim):
        return row
    limit = f"{row['problem']} testifies to order {excitation.max_order} at most: {excitation.reason}"
    return {**row, "verdict": UNDETERMINED, "reason": f"{row['reason']}, but {limit}"}


def bend(ladder: Ladder, claim: float | None) -> list[str]:
    """A finding where slopes fall, rung after rung, by half an order and more to the claim: coarse grids flatter it."""
    slopes = local_slopes(1 / np.array(ladder.steps, dtype=float), np.array(ladder.errors))
    if claim is None or len(slopes) < 5 or not (np.diff(slopes) < 0).all() or slopes[0] < claim + BENT:
        return []
    if abs(slopes[-1] - claim) > FLAT:
        return []
    first, last = ladder.steps[1], ladder.steps[-1]
    return [f"the slope bends: {slopes[0]:.2f} up to N = {first}, {slopes[-1]:.2f} at N = {last}"]


def as_row(exact: ExactProblem, kind: str, claim: float | None, ladder: Ladder) -> dict[str, Any]:
    """What results.json says of a ladder, but for the name of the method."""
    estimate = ladder.estimate
    return {
        **exact.about(),
        "kind": kind,
        "claimed_order": claim,
        "observed_order": estimate.slope,
        "order_low": estimate.low,
        "order_high": estimate.high,
        "verdict": estimate.verdict,
        "reason": estimate.reason,
        "asymptotic_from": ladder.asymptotic_from,
        "asymptotic_to": ladder.asymptotic_to,
        "steps": list(ladder.steps),
        "errors": list(ladder.errors),
        "nfe": list(ladder.evaluations),
        "findings": list(estimate.findings),
    }
