"""The order of somebody's sampler without any test problem: from the elementary weights of its own table.

In the straight clock of its prediction a sampler that is consistent where the model is silent is one explicit
Runge-Kutta method over the whole interval: y_k = y_0 + sum_j a_kj N_j, one stage an evaluation. Its elementary weights
Phi(tree), divided by the length T of the interval to the power |tree|, tend to 1/gamma(tree) as its steps are made
smaller, and a method of order p falls short of them by O(h^p), whatever the model.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.exact import ExactProblem
from odekit.algebra.runge_kutta import elementary_weights
from odekit.algebra.trees import Tree, table
from odekit.exceptions import OdekitError
from odekit.plan.dense import live

GAUGES = (("velocity", "t"), ("noise", "kappa"), ("data", "alpha_over_sigma"))
STEPS = (24, 48, 96)
ROUNDING = 1e-11
UNSETTLED = 0.3  # two slopes of one tree that differ by more are no rate
COLOURS = 2
TREES = 4  # to which order they are asked where no claim says more


@dataclass(frozen=True)
class WeightsCertificate:
    """Which trees a sampler gets right, at which rate; made by `of_sampler`.

    `rates`: for each tree the last slope of |Phi/T^n - 1/gamma| against h, infinite where nothing but rounding is left;
    `left`: that difference on the finest grid. `gauge`: the prediction in whose straight clock the table was read.
    """

    name: str
    claimed: int | None
    gauge: str
    grid: str
    limit: int
    rates: dict[Tree, float]
    left: dict[Tree, float]
    off_clock: float
    family = "sampler"

    @property
    def order(self) -> int:
        """The order that all trees allow, at most `limit`."""
        return min([self.limit, *(round(rate) for rate in self.rates.values() if math.isfinite(rate))])

    @property
    def failing(self) -> tuple[str, ...]:
        """The first tree that holds the order back, with its value on the finest grid; none up to the limit."""
        if self.order >= self.limit:
            return ()
        tree = next(t for t, rate in self.rates.items() if math.isfinite(rate) and round(rate) <= self.order)
        value, wanted = 1 / tree.density + self.left[tree], f"1/{tree.density}" if tree.order > 1 else "1"
        return (f"{tree}: {value:.8g} on {STEPS[-1]} steps, not {wanted}, off like h^{round(self.rates[tree])}",)

    def findings(self) -> list[str]:
        """Claims that do not hold, and evaluations at times that are not those of their states."""
        found = []
        if self.claimed is not None and self.order < min(self.claimed, self.limit):
            found.append(f"order {self.order}, not {self.claimed} as claimed: {self.failing[0]}")
        if self.off_clock > 1e-8:
            gap = f"row sums and clock differ by up to {self.off_clock:.1e} of the interval"
            found.append(
                f"{gap}: evaluations at a noise level that is not their state's, or weights that miss the step"
            )
        return found

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        more = f"; next: {self.failing[0]}" if self.failing else f" at least, all {len(self.rates)} trees"
        apart = (
            "; _0 and _1: the variables, each moved in its own way" if max(t.colours for t in self.rates) > 1 else ""
        )
        return [
            ("route", f"elementary weights of its own tables ({self.gauge}; {self.grid}){apart}"),
            ("consistency", "yes" if self.order >= 1 else f"no: {self.failing[0]}"),
            ("order", f"{self.order}{more}"),
        ]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        rates = {str(t): None if math.isinf(rate) else rate for t, rate in self.rates.items()}
        return {
            "name": self.name, "family": self.family, "claimed_order": self.claimed, "order": self.order,
            "failing": list(self.failing), "gauge": self.gauge, "grid": self.grid, "rates": rates,
            "findings": self.findings(),
        }  # fmt: skip


def of_sampler(
    sampler: Callable, exact: ExactProblem, claim: float | None = None, name: str = "", tableau: Callable | None = None
) -> WeightsCertificate:
    """The order of sampler(model, x, times) from its own tables, on the grids of a problem.

    ``tableau`` reads the table in another gauge than those of a probability flow (see `mean_tableau`).
    Raises TraceError for what is no straight-line program, OdekitError where no straight clock makes a table of it.
    """
    tableau = tableau or _tableau
    limit = max(1, min(math.ceil(claim) + 1, 6)) if claim is not None else TREES
    columns, off, gauge = [], 0.0, ""
    for n in STEPS:
        A, b, c, length, gauge = tableau(sampler, exact, n, gauge)
        trees = table(limit, len(A))
        scale = length ** trees.orders.astype(float)
        # A leaf is the state's way from the start, or the clock's: the same unless times are wrong.
        clocks = np.broadcast_to(c, b.shape)
        both = (elementary_weights(trees, A, b, abscissae) / scale for abscissae in (None, clocks))
        gaps = [(weights - 1 / trees.density)[1:] for weights in both]
        columns.append(np.where(abs(gaps[0]) >= abs(gaps[1]), *gaps))
        behind = abs(A.sum(axis=2) - c).min(axis=0)  # variables that move in turn are never all at one time
        off = float(behind.max(initial=0.0) / abs(length))
    left = {trees[i + 1]: float(gap) for i, gap in enumerate(columns[-1])}
    rates = {trees[i + 1]: _rate(np.abs(gap)) for i, gap in enumerate(np.array(columns).T)}
    grid = exact.about().get("grid", "")
    return WeightsCertificate(name, None if claim is None else int(claim), gauge, grid, limit, rates, left, off)


def _rate(gaps: np.ndarray) -> float:
    """The slope at which three gaps fall; infinite, no evidence, where they are rounding or about to change sign.

    A gap that changes sign has a wild slope on either side: it says nothing of the rate, and other trees of the same
    rate do.
    """
    if gaps[-1] <= ROUNDING:
        return math.inf
    a, b, c = np.log2(np.maximum(gaps, ROUNDING))
    if abs((a - b) - (b - c)) > UNSETTLED:
        return math.inf
    return float(2 * (b - c) - (a - b))


@functools.lru_cache(maxsize=8)
def traced(sampler: Callable, exact: ExactProblem, n: int) -> Any:
    """The plan of sampler(model, x, times) on n steps of a problem, kept for whoever reads it in another way."""
    import odekit as ok

    field, shape = exact.field, tuple(exact.x.shape[1:])
    return ok.trace(sampler, shape, process=field.process, prediction=field.prediction, grid=exact.grid(n))


def _tableau(sampler: Callable, exact: ExactProblem, n: int, gauge: str) -> tuple[Any, Any, Any, float, str]:
    """(A, b, c, length, gauge) of the method that n steps are, over the whole interval; A and b for each colour."""
    field, times = exact.field, exact.grid(n)
    plan = traced(sampler, exact, n)
    tried = [pair for pair in GAUGES if pair[0] == gauge or not gauge]
    for prediction, clock in tried:
        if field.process is None and prediction != "velocity":
            continue
        try:
            dense = (plan.reexpress(prediction) if field.process is not None else plan).dense()
        except OdekitError:
            continue
        ends = times[[0, -1]]
        here, (first, last) = _scale(field.process, prediction, dense.times), _scale(field.process, prediction, ends)
        inputs, output = coloured(dense.inputs.numpy(), dense.output.numpy())
        alive = live(dense)  # an evaluation that nothing uses is asked anywhere
        stays = np.append((inputs[:, :, 0] * first / here)[:, alive], output[:, 0] * first / last)
        if abs(stays - 1).max() < 1e-8:
            at = [_clock(field.process, clock, t) for t in (dense.times, ends)]
            c = at[0] - at[1][0]
            A, b = inputs[:, :, 1:] / here[:, None], output[:, 1:] / last
            return A[:, alive][:, :, alive], b[:, alive], c[alive], float(at[1][1] - at[1][0]), prediction
    raise OdekitError("in no straight clock (velocity, noise, data) does its state rest where the model is silent")


def mean_tableau(sampler: Callable, exact: ExactProblem, n: int, gauge: str) -> tuple[Any, Any, Any, float, str]:
    """The same of the mean of a sampler that draws noise, whatever it draws between its evaluations.

    With l the log-SNR and D the data prediction that mean is x' = -c l' x + (alpha'/alpha) x + c l' alpha D, straight
    in y = x e^(c l)/alpha over e^(c l), c = 1 + tau^2; c is read off what the sampler does where the model is silent.
    """
    process, times = exact.field.process, exact.grid(n)
    dense = traced(sampler, exact, n).reexpress("data").dense()
    alpha, logsnr = (
        np.array([float(getattr(process, k)(t)) for t in [*dense.times.tolist(), *times[[0, -1]].tolist()]])
        for k in ("alpha", "logsnr")
    )
    inputs, output, alive = dense.inputs.numpy(), dense.output.numpy(), live(dense)
    c = -np.log(output[0] * alpha[-2] / alpha[-1]) / (logsnr[-1] - logsnr[-2])
    clock = np.exp(c * (logsnr - logsnr[-2]))
    scale = alpha / clock / alpha[-2]
    if abs(inputs[alive, 0] / scale[:-2][alive] - 1).max() > 1e-8:
        raise OdekitError("it draws noise, and its states are at the mean of no one equation where the model is silent")
    A, b = inputs[:, 1:] / scale[:-2, None], output[1:] / scale[-1]
    at = (clock - clock[-2])[:-2][alive]
    length, unit = float(clock[-1] - clock[-2]), alpha[-2]
    return A[np.ix_(alive, alive)][None] / unit, b[alive][None] / unit, at, length, f"the mean, c = {c:.2f}"


def coloured(inputs: np.ndarray, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tables (colours, n, 1 + n) and (colours, 1 + n) of a sampler: one colour for all that it treats alike.

    Numbers are one colour; of operators each variable that moves in its own way is one, as of an additive method.
    Raises OdekitError where variables enter each other's weights, and for more than two colours.
    """
    if inputs.ndim == 2:
        return inputs[None], output[None]
    if inputs.ndim == 4:
        n = inputs.shape[-1]
        beside = ~np.eye(n, dtype=bool)
        size = max(abs(inputs).max(initial=0.0), abs(output).max())
        if max(abs(inputs[..., beside]).max(initial=0.0), abs(output[..., beside]).max()) > 1e-9 * size:
            raise OdekitError("its weights mix the variables, as exponential ones do: no table of Runge-Kutta's kind")
        inputs, output = (np.diagonal(part, axis1=-2, axis2=-1) for part in (inputs, output))
    inputs, output = np.moveaxis(inputs, -1, 0), np.moveaxis(output, -1, 0)
    if np.allclose(inputs, inputs[:1], rtol=0, atol=1e-9) and np.allclose(output, output[:1], rtol=0, atol=1e-9):
        return inputs[:1], output[:1]
    if len(output) > COLOURS:
        raise OdekitError(f"{len(output)} variables that each move in a way of their own: {COLOURS} at most have trees")
    return inputs, output


def _scale(process: Any, prediction: str, times: torch.Tensor) -> np.ndarray:
    """a(t) of the straight coordinates y = x / a."""
    if prediction == "velocity":
        return np.ones(len(times))
    return np.array([float((process.alpha if prediction == "noise" else process.sigma)(t)) for t in times.tolist()])


def _clock(process: Any, name: str, times: torch.Tensor) -> np.ndarray:
    """A clock at some times."""
    if name == "t":
        return times.numpy()
    return np.array([float(getattr(process, name)(t)) for t in times.tolist()])
