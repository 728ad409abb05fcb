"""Weak orders without Monte Carlo: of Gaussian data every law is a mean and a covariance, and a step maps them exactly.

The score of Gaussian data is affine in the state, so a plan is an affine map of its start and its draws. One run on
basis vectors, an element of the batch for each direction of the start and of every draw, gives that map, and with it
mean and covariance of the result. This testifies for affine scores only: a method may do worse on others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from analysis.certificate import ABSENT, ROUTES, CertificatePage, Route, route_of
from analysis.ladder import Ladder, climb
from analysis.measure import Study, as_row, method_of
from analysis.problems import Case
from analysis.subjects import Subject
from analysis.verify import Row, refused
from odekit.exceptions import OdekitError

STEPS = (16, 23, 32, 45, 64, 91, 128)
FINER = (181, 256, 362, 512)  # steps that follow where the slope of those has not settled
WIDE = 0.05  # width of its interval, whatever is claimed
END = 0.02  # of the default problem: its laws are wide enough there to tell methods apart on coarse grids
ROUNDING = 1e-13
WEAK, GRID, GAUSSIAN = "weak", "time-uniform", "gaussian"
DATA = ([0.7], [[0.25]])  # mean and covariance

Law = tuple[torch.Tensor, torch.Tensor]
"""Mean (D,) and covariance (D, D) of states with D numbers."""


def weak_order(
    method: Any,
    sde: Any = None,
    claim: float | None = None,
    steps: Sequence[int] | None = None,
    grid: str = GRID,
    t_start: float | None = None,
    t_end: float | None = None,
) -> Study:
    """Measure the weak order of a method: the rate at which mean and covariance at t_end become exact.

    method: a catalogue name or a Method that is a plan. sde: a ReverseSDE whose target is one Gaussian (default: PSLD
    with Gamma = 0.5, nu = 2.5 and data N(0.7, 0.25), until t = 0.02). claim: the order claimed (default: the method's
    own). steps: step counts of a ladder of grids called `grid` (default: 16 to 128, on to 512 where the slope has not
    settled), from t_start to t_end in the process's time (default: its t_max and t_min). The error is the root of
    |mean - exact|^2 + |covariance - exact|^2, from the exact law at t_start. Raises OdekitError for data that are not
    Gaussian and methods that are no plan.
    Source: Kloeden & Platen 1992, section 9.7, for the notion.

    >>> study = weak_order("sscs-midpoint", steps=(16, 23, 32, 45))
    >>> study.verdict, round(study.slope, 2)
    ('pass', 1.95)
    """
    import odekit as ok

    method = method_of(method)
    if sde is None:
        sde, t_end = default_sde(), END if t_end is None else t_end
    process = sde.process
    ends = (process.t_max if t_start is None else t_start, process.t_min if t_end is None else t_end)
    start, exact = (law(sde, t) for t in ends)

    def error_at(n: int) -> tuple[float, int]:
        plan = ok.plan(method, sde, ok.grid(grid, process, n, t_start=ends[0], t_end=ends[1]))
        return distance(pushed(plan, sde.model, sde.shape, start), exact), plan.evaluations

    claim = method.order.method if claim is None else claim
    known = functools.cache(error_at)

    def ladder_of(counts: Sequence[int]) -> Ladder:
        return climb(known, sorted(set(map(int, counts))), claim, lambda n: ROUNDING, budget=10**9, adapt=False)

    ladder = ladder_of(steps or STEPS)
    if steps is None and ladder.estimate.width > WIDE:
        ladder = ladder_of(STEPS + FINER)
    row = as_row(_Problem(sde, grid, *ends), WEAK, claim, ladder)
    return Study({"method": method.name, **row}, ladder)


def default_sde() -> Any:
    """PSLD with noise on the position too, and Gaussian data."""
    import odekit as ok

    process = ok.PSLD(Gamma=0.5, nu=2.5, momentum_variance=1.0)
    return ok.ReverseSDE(process, ok.Gaussian(*DATA), prediction="score")


def law(sde: Any, t: float) -> Law:
    """Mean and covariance of the process at time t, for data that are one Gaussian."""
    from odekit.fields.matrix import is_isotropic
    from odekit.operators import Scalar

    process, data = sde.process, sde.target
    if len(getattr(data, "means", ())) != 1:
        raise OdekitError(
            f"moments propagate exactly for one Gaussian; expected ReverseSDE(process, Gaussian(...)), got {data!r:.60}"
        )
    scalar = is_isotropic(process)
    carry = Scalar(process.alpha(t)) if scalar else process.mean(t)
    embed = (lambda x: x) if scalar else process.embed
    clean = torch.cat([data.mean.reshape(1, -1), torch.eye(data.dimension, dtype=torch.float64)])
    images = carry.apply(embed(clean.reshape(-1, *data.shape))).flatten(1)
    mean, columns = images[0], images[1:]
    size = len(mean)
    noise = process.covariance(t).apply(torch.eye(size, dtype=torch.float64).reshape(size, *sde.shape)).flatten(1)
    return mean, columns.T @ data.covariance @ columns + noise


def pushed(plan: Any, model: Any, shape: tuple[int, ...], start: Law) -> Law:
    """The law of a plan's result for a Gaussian start, with a model that is affine in states (B, *shape)."""
    mean, covariance = start
    size = len(mean)
    factor = torch.linalg.cholesky(covariance)
    x = mean.repeat(1 + size * (1 + plan.draws), 1)
    x[1 : 1 + size] += factor.T

    def noise(k: int) -> torch.Tensor:
        z, first = torch.zeros_like(x), 1 + size * (1 + k)
        z[first : first + size] = torch.eye(size, dtype=x.dtype)
        return z.reshape(-1, *shape)

    result = plan(model, x.reshape(-1, *shape), noise).flatten(1)
    deviations = result[1:] - result[0]
    return result[0], deviations.T @ deviations


def distance(a: Law, b: Law) -> float:
    """How far two laws are apart in their moments."""
    return math.hypot(*(float((one - other).norm()) for one, other in zip(a, b, strict=True)))


@dataclass(frozen=True)
class _Problem:
    """What a row says of the problem; the laws it is measured against are closed formulas."""

    sde: Any
    grid: str
    t_start: float
    t_end: float

    def about(self) -> Row:
        eta = "" if self.sde.eta == 1 else f", eta={self.sde.eta:g}"
        return {
            "process": f"{self.sde.process.name}{eta}",
            "prediction": str(self.sde.prediction),
            "problem": GAUSSIAN,
            "grid": self.grid,
            "seed": None,
            "t_start": self.t_start,
            "t_end": self.t_end,
            "reference_error": 0.0,
        }


@dataclass(frozen=True)
class WeakOrderTask:
    """The weak order that one stochastic method claims. method: a catalogue name; case: its process, prediction and
    grid (default: PSLD, see `weak_order`), with Gaussian data whatever its mixture is; claim: by default its own."""

    method: str
    case: Case | None = None
    steps: tuple[int, ...] | None = None
    claim: float | None = None

    @property
    def label(self) -> str:
        return f"{self.method}, weak order"

    def description(self) -> Mapping[str, Any]:
        method = method_of(self.method)
        case = self.case and self.case.description()
        return {
            "weak order": method.key(),
            "claim": self.claim or method.order.method,
            "case": case,
            "steps": self.steps,
        }

    def run(self) -> list[Row]:
        """One row: a method that draws noise has no history, so that its formula is the whole method."""
        method, case = method_of(self.method), self.case
        where = {"process": case.process, "prediction": case.prediction, "grid": case.grid} if case else {"grid": GRID}
        try:
            sde = case and gaussian_sde(case)
            return [weak_order(method, sde, self.claim, self.steps, where["grid"]).row]
        except OdekitError as error:
            about = {
                "method": method.name,
                "problem": GAUSSIAN,
                "kind": WEAK,
                "claimed_order": self.claim or method.order.method,
            }
            return [refused({"process": None, "prediction": None, **about, **where, "seed": None}, error)]


def gaussian_sde(case: Case) -> Any:
    """The reverse SDE of a case's process and prediction, with the Gaussian data of the default problem."""
    import odekit as ok

    signal = {"shape": (1,)} if case.process == "blurring" else {}
    process = ok.processes.get(case.process, **signal, **dict(case.parameters))
    return ok.ReverseSDE(process, ok.Gaussian(*DATA), prediction=case.prediction)


def page(subject: Subject, case: Case | None, steps: Sequence[int] | None) -> CertificatePage:
    """The certificate of a stochastic method: its weak order is measured, not proved."""
    rows = WeakOrderTask(subject.method, case, steps, subject.claim).run()
    routes = (
        Route(ROUTES[0], None, ABSENT, "no weak order conditions of splittings with noise here"),
        Route(ROUTES[1], None, ABSENT, "laws are compared at the end alone"),
        route_of(ROUTES[2], rows, subject.claim),
    )
    told = "Gaussian data: testifies for affine scores only"
    return CertificatePage(subject, None, {route.name: route for route in routes}, told)
